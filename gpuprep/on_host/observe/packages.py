"""The package manager's state: packages, locks, indexes, sources."""

import glob
import os
import re

from .base import read

REPOSITORY = re.compile(r"^[^#]*(developer\.download\.nvidia|/cuda/repos/)", re.M)


def manager(name, backend, broken, own):
    """Return the state of the package manager of a family; ``own``: paths of gpuprep's files."""
    return {
        "family": name,
        "broken": broken,
        "locks": lock_holders(backend.LOCKS),
        "indexes": backend.indexes(),
        "foreign_sources": foreign_sources(backend.SOURCES, own),
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


def foreign_sources(patterns, own):
    """Return the files that name NVIDIA's repository and are not gpuprep's."""
    paths = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    return [path for path in paths if path not in own and REPOSITORY.search(read(path))]
