"""Who holds dpkg's and apt's locks, from the kernel's own table. Private to the collection."""

import os

PATHS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")


def command_of(pid):
    """Name of a process, or a note that it is not visible from here."""
    try:
        with open("/proc/%s/comm" % pid) as handle:
            return handle.read().strip()
    except (IOError, OSError):
        return "a process outside this container" if pid == "0" else "a process that just ended"


def holder():
    """First holder of a lock as {path, pid, command}, None when all are free."""
    inodes = {}
    for path in PATHS:
        if os.path.exists(path):
            inodes[str(os.stat(path).st_ino)] = path
    with open("/proc/locks") as handle:
        for line in handle:
            words = line.split()
            if words[1] == "->" or len(words) < 6:
                continue
            inode = words[5].split(":")[-1]
            if inode in inodes:
                return {"path": inodes[inode], "pid": words[4], "command": command_of(words[4])}
    return None
