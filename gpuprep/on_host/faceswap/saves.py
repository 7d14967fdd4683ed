"""Whole saves of a model: Faceswap rewrites its files in place, model first, state last.

Whoever ends it in between leaves a torn model, or one that is ahead of its state. So the last whole
save is kept as a copy of our own; links would be rewritten with the original.
"""

import json
import os
import shutil
import zipfile

SAFE = "safe"
PARTS = ("%s.keras", "%s_state.json")  # in the order in which Faceswap writes them


def paths(folder, model):
    """Return the files of a save."""
    return [os.path.join(folder, part % model) for part in PARTS]


def state(folder, model):
    """Return the state that Faceswap left beside a model, None where there is none to read."""
    try:
        with open(paths(folder, model)[1], encoding="utf-8") as handle:
            found = json.load(handle)
    except (OSError, ValueError):
        return None
    good = isinstance(found, dict) and isinstance(found.get("iterations"), int)
    return found if good else None


def iterations(folder, model):
    """Return how far a model is trained."""
    found = state(folder, model)
    return found["iterations"] if found else 0


def any_state(folder, store):
    """Return whether there is the state of any model, in its folder or in the store."""
    places = [folder] + [os.path.join(store, name) for name in (SAFE, SAFE + ".old")]
    names = [name for place in places if os.path.isdir(place) for name in os.listdir(place)]
    return any(name.endswith("_state.json") for name in names)


def whole(folder, model, *, thorough=True):
    """Return whether a save came to its end: the state is younger than a sound model."""
    model_file, state_file = paths(folder, model)
    if state(folder, model) is None:
        return False
    try:
        if os.stat(state_file).st_mtime_ns < os.stat(model_file).st_mtime_ns:
            return False
        with zipfile.ZipFile(model_file) as archive:
            return not (thorough and archive.testzip())
    except (OSError, zipfile.BadZipFile, EOFError, ValueError):
        return False


def _stamps(files):
    return [(os.stat(name).st_mtime_ns, os.stat(name).st_size) for name in files]


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(source, target):
    """Copy a file whole or not at all, with its time, by which a copy is known again."""
    found = os.stat(source)
    shutil.copyfile(source, target + ".new")
    os.utime(target + ".new", ns=(found.st_atime_ns, found.st_mtime_ns))
    _sync(target + ".new")
    os.rename(target + ".new", target)


def keep(folder, model, store):
    """Copy the current save into the store; return whether it was whole, before and after.

    Nothing is copied when that save is there already.
    """
    originals = paths(folder, model)
    if not whole(folder, model, thorough=False):
        return False
    kept = os.path.join(store, SAFE)
    if whole(kept, model, thorough=False) and _stamps(paths(kept, model)) == _stamps(originals):
        return True
    fresh = os.path.join(store, SAFE + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    os.makedirs(fresh)
    before = _stamps(originals)
    for original, copy in zip(originals, paths(fresh, model)):
        _copy(original, copy)
    if _stamps(originals) != before or not whole(fresh, model, thorough=False):
        shutil.rmtree(fresh, ignore_errors=True)
        return False
    old = os.path.join(store, SAFE + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if os.path.isdir(kept):
        os.rename(kept, old)
    os.rename(fresh, kept)
    _sync(store)
    shutil.rmtree(old, ignore_errors=True)
    return True


def settle(folder, model, store):
    """Make the model's folder whole before a run; return what had to be done, in words.

    A current save that is whole stays, whatever is in the store.
    """
    os.makedirs(folder, exist_ok=True)
    os.makedirs(store, exist_ok=True)
    files = paths(folder, model)
    if whole(folder, model):
        keep(folder, model, store)
        return ""
    left = [name for name in files if os.path.exists(name)]
    for name in (SAFE, SAFE + ".old"):  # the second while a copy was being exchanged
        kept = os.path.join(store, name)
        if whole(kept, model):
            for copy, target in zip(paths(kept, model), files):
                _copy(copy, target)
            reached = iterations(folder, model)
            return "the last save was cut off; restored the one of iteration %d" % reached
    for name in left:
        os.remove(name)
    return "the first save was cut off; training begins anew" if left else ""
