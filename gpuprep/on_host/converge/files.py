"""Managed files: content or a verified key, owner and mode, replaced as a whole."""

import base64
import contextlib
import grp
import io
import json
import os
import pwd
import re
import stat
import tempfile
import time

from .. import labels, openpgp
from . import family, folders
from .base import Later, OperationError, command, done, last_lines, listed

fetch = Later("fetch")

MAX_FILE = 1 << 20  # bytes; what is larger is not ours
MAX_KEY = 1 << 16
KEY_SECONDS = 120
REPOSITORY_KINDS = ("key", "repository", "pin")
LINKER_CACHE = "/etc/ld.so.cache"
DISABLED = ".disabled"  # package managers do not read such files
REPLACED_SECONDS = 7200
WRITE_SECONDS = 60  # no file of ours takes longer to write
REPLACED = "replaced.json"  # in the run's directory: what these files were before


def _open(name, folder):
    """Return a descriptor of a regular file in a directory, None when there is none."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    return None


def current(path):
    """Return content and status of a file; (None, None) when there is no regular file."""
    folder, name = os.path.split(path)
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None, None
    try:
        handle = _open(name, directory)
        if handle is None:
            return None, None
        with os.fdopen(handle, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
            return (data if len(data) <= MAX_FILE else None), os.fstat(stream.fileno())
    finally:
        os.close(directory)


def _as_stored(packets, path):
    """Return key packets in the form that the file's name promises."""
    return packets if path.endswith(".gpg") else openpgp.armor(packets)


def _verified(data, setting):
    """Return what the file should be, from a key file; ValueError when that is another key's."""
    key = setting["key"]
    if key.get("fingerprint"):
        return _as_stored(openpgp.only_key(data, key["fingerprint"]), setting["path"])
    return openpgp.file_with_sum(data, key["sha256"])


def held_key(data, setting):
    """Return what the file should be, from what it is; None when it does not hold the key."""
    try:
        return _verified(data, setting)
    except ValueError:
        return None


def fetched_key(setting):
    """Return the verified key from its address, written anew: what was not verified is dropped."""
    url = setting["key"]["url"]
    stream = io.BytesIO()
    fetch.fetch(url, stream, MAX_KEY, KEY_SECONDS)
    try:
        return _verified(stream.getvalue(), setting)
    except ValueError as error:
        raise OperationError(
            "E_KEY",
            "the repository is not trusted: the key at %s is not the expected one (%s). If it is a"
            " mirror signed with a key of its own, set gpuprep_mirror_fingerprint."
            % (fetch.without_secrets(url), error),
        ) from error


def wanted_content(setting, data, check):
    """Return the bytes that a file must hold, None when only a real run could tell."""
    if not setting.get("key"):
        return (setting.get("content") or "").encode("utf-8")
    held = held_key(data, setting) if data is not None else None
    if held is not None or check:
        return held
    return fetched_key(setting)


def _owner(setting):
    """Return numeric owner and group."""
    try:
        user = pwd.getpwnam(setting.get("owner", "root")).pw_uid
        group = grp.getgrnam(setting.get("group", "root")).gr_gid
    except KeyError as error:
        raise OperationError("E_FILE", "%s: %s" % (setting["path"], error)) from error
    return user, group


def write(path, data, mode, owner):
    """Replace a file as a whole; a link at its place is replaced, never followed."""
    folder, name = os.path.split(path)
    directory = folders.open_directory(folder)
    try:
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                raise OperationError(
                    "E_FILE", "%s is a directory; remove it, gpuprep keeps a file there" % path
                )
        except FileNotFoundError:
            pass
        _remove_left_behind(directory, name)
        temporary = ".%s.%s" % (name, next(tempfile._get_candidate_names()))  # noqa: SLF001
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchown(stream.fileno(), *owner)
                os.fchmod(stream.fileno(), mode)
                labels.give(stream.fileno(), path)
                os.fsync(stream.fileno())
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):  # the first failure is the one that counts
                os.unlink(temporary, dir_fd=directory)
            raise
    except OSError as error:
        raise OperationError("E_FILE", "%s: %s" % (path, error.strerror)) from error
    finally:
        os.close(directory)


def _remove_left_behind(directory, name):
    """Remove what writers of a file left that were killed before they had renamed it."""
    pattern = re.compile(re.escape(".%s." % name) + "[a-z0-9_]{8}")
    for other in filter(pattern.fullmatch, os.listdir(directory)):
        with contextlib.suppress(OSError):
            info = os.stat(other, dir_fd=directory, follow_symlinks=False)
            own = stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid()
            if own and time.time() - info.st_mtime > WRITE_SECONDS:
                os.unlink(other, dir_fd=directory)


def _set_rights(path, mode, owner):
    """Give an existing file its mode, its owner and its label."""
    folder, name = os.path.split(path)
    directory = folders.open_directory(folder)
    try:
        handle = _open(name, directory)
        if handle is None:
            raise OperationError("E_FILE", "%s was exchanged meanwhile" % path)
        try:
            os.fchown(handle, *owner)
            os.fchmod(handle, mode)
            labels.give(handle, path)
        except OSError as error:
            raise OperationError("E_FILE", "%s: %s" % (path, error.strerror)) from error
        finally:
            os.close(handle)
    finally:
        os.close(directory)


def shown(data):
    """Return a file's text for a diff; a binary key cannot be shown."""
    try:
        return (data or b"").decode("utf-8")
    except UnicodeDecodeError:
        return "(%d bytes that are no text)\n" % len(data)


def _note(path, data, status):
    """Note what a repository's file was, in case the repository turns out to be unusable."""
    text = None if data is None else base64.b64encode(data).decode("ascii")
    rights = [0o644, 0, 0]
    if status is not None:
        rights = [stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid]
    _note_in_book(path, {"content": text, "rights": rights})


def _note_in_book(path, entry):
    book = os.path.join(folders.run_directory(), REPLACED)
    noted = json.loads((current(book)[0] or b"{}").decode("ascii"))
    noted.setdefault(path, entry)
    write(book, json.dumps(noted).encode("ascii"), 0o600, (os.geteuid(), os.getegid()))


def set_aside(operation, context):
    """Rename files of others, so that the package manager reads them no more."""
    paths = [path for path in operation["paths"] if os.path.lexists(path)]
    for path in [] if context.check else paths:
        os.close(folders.open_directory(os.path.dirname(path)))
        place = free_name(path, DISABLED)
        _note_in_book(path, {"now": place})
        os.rename(path, place)
    detail = "disabled %s" % listed(paths) if paths else "no source of others is in the way"
    return done(detail, paths)


def free_name(path, ending):
    """Return a name beside a path, with an ending, that nothing has yet."""
    place, number = path + ending, 1
    while os.path.lexists(place):
        number += 1
        place = "%s.%d%s" % (path, number, ending)
    return place


def keep_replaced():
    """Forget what the repository's files were: the repository works."""
    try:
        os.unlink(os.path.join(folders.RUN, REPLACED))
    except OSError:
        pass


def take_back():
    """Bring the repository's files back to what they were before this run; return their paths."""
    data, status = current(os.path.join(folders.RUN, REPLACED))
    if data is None:
        return []
    if time.time() - status.st_mtime > REPLACED_SECONDS:
        keep_replaced()  # of an earlier run, which never read the index
        return []
    noted = json.loads(data.decode("ascii"))
    for path, was in sorted(noted.items()):
        if was.get("now"):
            if os.path.lexists(was["now"]) and not os.path.lexists(path):
                os.rename(was["now"], path)
        elif was["content"] is not None:
            mode, user, group = was["rights"]
            write(path, base64.b64decode(was["content"]), mode, (user, group))
        elif current(path)[0] is not None:
            os.unlink(path)
    keep_replaced()
    return sorted(noted)


def _remove(setting, data, status, context):
    """Remove a file; return its diff, None when it is not there."""
    path = setting["path"]
    if status is None:
        return None
    if not context.check:
        if setting.get("kind") in REPOSITORY_KINDS:
            _note(path, data, status)
        directory = folders.open_directory(os.path.dirname(path))
        try:
            os.unlink(os.path.basename(path), dir_fd=directory)
        finally:
            os.close(directory)
    hidden = "(not shown: not everybody may read it)\n"
    before = shown(data) if status.st_mode & stat.S_IROTH else hidden
    return {"before_header": path, "after_header": path, "before": before, "after": ""}


def _converge(setting, data, status, wanted, context):
    """Bring one file to its content and rights; return its diff, None when nothing differs."""
    if setting.get("absent"):
        return _remove(setting, data, status, context)
    path, owner, mode = setting["path"], _owner(setting), int(setting.get("mode", "0644"), 8)
    rights = status is not None and (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    other_content = status is None or data != wanted
    other_label = labels.wrong(path, status) if status is not None else None
    if not other_content and rights == (mode,) + owner and not other_label:
        return None
    if not context.check:
        if setting.get("kind") in REPOSITORY_KINDS and other_content:
            _note(path, data, status)
        if other_content:
            write(path, wanted, mode, owner)
        else:
            _set_rights(path, mode, owner)
    diff = {"before_header": path, "after_header": path}
    was_hidden = status is not None and not stat.S_IMODE(status.st_mode) & stat.S_IROTH
    if other_content and (was_hidden or not mode & stat.S_IROTH):
        before = "" if status is None else "(not shown)\n"
        return dict(diff, before=before, after="(not shown: not everybody may read it)\n")
    if other_content and setting.get("key"):
        key = "OpenPGP key %s\n" % setting["key"]["fingerprint"]
        return dict(diff, before="" if data is None else "another content\n", after=key)
    if other_content:
        return dict(diff, before=shown(data), after=shown(wanted))
    before, after = ("mode %04o, owner %d:%d\n" % r for r in (rights, (mode,) + owner))
    if other_label:
        before, after = ("%slabel %s\n" % pair for pair in zip((before, after), other_label))
    return dict(diff, before=before, after=after)


def _check_key(setting, wanted, context):
    """Refuse a key that the host's package manager would not take, before anything is written."""
    if not setting.get("key") or wanted is None:
        return
    refuses = getattr(family.backend(context.family), "refuses_weak_keys", None)
    if refuses and refuses() and openpgp.is_weakly_bound(wanted):
        raise OperationError(
            "E_KEY",
            "the key at %s is bound to its owner by SHA-1 only, and this host's package manager"
            " refuses such keys. NVIDIA signs the directories of newer systems with other keys:"
            " use the directory of this system, or a mirror that is signed with a newer key."
            % fetch.without_secrets(setting["key"]["url"]),
        )


def files(operation, context):
    """Bring managed files to their content, mode and owner."""
    # Everything that can fail for want of a network is fetched before anything is written.
    plans = []
    for setting in operation["files"]:
        data, status = current(setting["path"])
        plans.append((setting, data, status, wanted_content(setting, data, context.check)))
        _check_key(setting, plans[-1][3], context)
    changed, diffs = [], []
    for setting, data, status, wanted in plans:
        diff = _converge(setting, data, status, wanted, context)
        if diff is not None:
            changed.append(setting["path"])
            diffs.append(diff)
    if changed and operation.get("linker_cache") and not context.check:
        refresh_linker_cache()
    gone = {setting["path"] for setting in operation["files"] if setting.get("absent")}
    verb = "removed" if changed and gone.issuperset(changed) else "wrote"
    detail = "%s %s" % (verb, listed(changed)) if changed else "all files are as planned"
    read = [_shown_key(wanted) for setting, _, _, wanted in plans if _is_summed(setting) and wanted]
    detail = "; ".join([detail] + read)
    return done(detail, changed, diffs)


def _is_summed(setting):
    """Return whether a file holds a key that is known by its file's checksum only."""
    return bool(setting.get("key")) and not setting["key"].get("fingerprint")


def _shown_key(data):
    return "the key's fingerprint is %s" % ", ".join(openpgp.fingerprints(data))


def refresh_linker_cache():
    """Let the dynamic linker find new libraries; whether it found others than before."""
    before = _bytes_of(LINKER_CACHE)
    outcome = command(["ldconfig"])
    if outcome.code != 0:
        raise OperationError("E_COMMAND", "ldconfig failed: %s" % last_lines(outcome))
    return _bytes_of(LINKER_CACHE) != before


def _bytes_of(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def linker_cache(operation, context):
    """Refresh the dynamic linker's cache, where something before it has changed."""
    del operation
    if context.check or not context.changed or not refresh_linker_cache():
        return done("the linker cache is up to date")
    return done("refreshed the linker cache", changed=True)
