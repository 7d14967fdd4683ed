"""The user of a workload, and the checkout of its source."""

import grp
import hashlib
import os
import pwd
import stat

from .conda import marker

MOST_FILES = 20000


def account(name):
    """Return home, shell, group and folders of a user; None when there is none."""
    try:
        entry = pwd.getpwnam(name)
        group = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        return None
    found = {"uid": entry.pw_uid, "home": entry.pw_dir, "shell": entry.pw_shell, "group": group}
    found["folders"] = {}
    for path in (entry.pw_dir, os.path.join(entry.pw_dir, "jobs")):
        try:
            info = os.lstat(path)
        except OSError:
            continue
        own = stat.S_ISDIR(info.st_mode) and (info.st_uid, info.st_gid) == (
            entry.pw_uid,
            entry.pw_gid,
        )
        found["folders"][path] = "%04o" % stat.S_IMODE(info.st_mode) if own else "not its own"
    return found


def checkout(path):
    """Return commit and state of a checkout that gpuprep made; None when there is none."""
    note = marker(os.path.join(path, ".git", ".gpuprep"))
    if not isinstance(note, dict) or not isinstance(note.get("commit"), str):
        return None
    return {"commit": note["commit"], "intact": note.get("stamp") == stamp(path)}


def stamp(path):
    """Return a digest of names, sizes, times, modes and owners of a checkout's files."""
    lines = []
    count = 0
    for folder, names, found in os.walk(path):
        here = os.path.relpath(folder, path)
        skipped = (".git", "__pycache__") if here == "." else ("__pycache__",)
        names[:] = sorted(name for name in names if name not in skipped)
        count += len(found) + len(names)
        if count > MOST_FILES:
            return ""
        for name in sorted(found) + names:
            info = os.lstat(os.path.join(folder, name))
            size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
            moment = 0 if stat.S_ISDIR(info.st_mode) else info.st_mtime_ns
            lines.append(
                "%s/%s %d %d %o %d" % (here, name, size, moment, info.st_mode, info.st_uid)
            )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
