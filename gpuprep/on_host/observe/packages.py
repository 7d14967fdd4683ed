"""The package manager's state: packages, locks, indexes, sources."""

import os

from .base import read


def manager(name, backend, broken):
    """Return the state of the package manager of a family."""
    return {
        "family": name,
        "broken": broken,
        "locks": lock_holders(backend.LOCKS),
        "indexes": backend.indexes(),
        "sources": backend.sources(),
        "rules": backend.rules(),
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
