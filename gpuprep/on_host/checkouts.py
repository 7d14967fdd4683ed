"""Checkouts of a workload's source: how both programs tell that one is as it was left."""

import hashlib
import os
import stat

MOST_FILES = 20000


def stamp(path):
    """Return a digest of names, sizes, times, modes and owners of a checkout's files.

    What Python compiles beside its sources does not count. Empty for more files than a source has.
    """
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
