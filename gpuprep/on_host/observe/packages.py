"""The package manager's state: packages, locks, indexes, sources."""

import glob
import os

from .base import read


def manager(name, backend, broken):
    """Return the state of the package manager of a family."""
    return {
        "family": name,
        "broken": broken,
        "locks": lock_holders(backend.LOCKS) + noted_holders(backend.PID_FILES),
        "indexes": backend.indexes(),
        "sources": backend.sources(),
        "rules": backend.rules(),
        "version_locks": backend.locks(),
        "streams": backend.streams(),
        "repositories": backend.repositories(),
    }


def lock_holders(paths):
    """Return the processes that hold locks on these files, from the kernel's lock table."""
    inodes = {}
    for path in paths:
        try:
            inodes[os.stat(path).st_ino] = path
        except OSError:
            continue
    holders = []
    for line in read("/proc/locks").splitlines():
        words = line.split()
        inode = words[5].split(":")[-1] if len(words) > 5 else ""
        if inode.isdigit() and int(inode) in inodes and words[1] != "->":
            pid = words[4]
            command = read("/proc/%s/comm" % pid).strip()
            holders.append({"path": inodes[int(inode)], "pid": int(pid), "command": command})
    return holders


def noted_holders(patterns):
    """Return the running processes whose number stands in one of these files."""
    holders = []
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        pid = read(path, 32).strip()
        command = read("/proc/%s/comm" % pid).strip() if pid.isdigit() else ""
        if command:
            holders.append({"path": path, "pid": int(pid), "command": command})
    return holders
