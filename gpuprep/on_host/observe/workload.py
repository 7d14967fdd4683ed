"""The user of a workload, and the checkout of its source."""

import grp
import os
import pwd
import stat

from ..checkouts import stamp
from .conda import marker


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
