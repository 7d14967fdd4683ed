"""Who holds a lock, from the kernel's own table; and waiting for others' locks."""

import os
import time

from .base import OperationError, Patience, last_lines

PAUSE = 2


def patiently(run, is_locked):
    """Return a command's outcome; it is tried again while another works on packages.

    What a package manager says that was locked out is no answer to what it was asked.

    Args:
        run: gives the outcome.
        is_locked: whether an outcome says that another is at work.

    Raises:
        OperationError: the other is still at work after the time to wait.

    """
    deadline = time.monotonic() + Patience.seconds
    while True:
        outcome = run()
        if not is_locked(outcome):
            return outcome
        if time.monotonic() >= deadline:
            raise OperationError(
                "E_PACKAGES_LOCKED",
                "the package manager is still locked after %d s: %s Let the other program end, or"
                " raise gpuprep_lock_timeout." % (Patience.seconds, last_lines(outcome, 3)),
            )
        time.sleep(PAUSE)


def command_of(pid):
    """Return the name of a process, or a note that it is not visible from here."""
    try:
        with open("/proc/%s/comm" % pid) as handle:
            return handle.read().strip()
    except (IOError, OSError):
        return "a process outside this container" if pid == "0" else "a process that just ended"


def named_holder(paths):
    """Return the first process that a file names and that lives: {path, pid, command}."""
    for path in paths:
        try:
            with open(path) as handle:
                pid = handle.read(32).strip()
        except (IOError, OSError):
            continue
        if pid.isdigit() and os.path.isdir("/proc/" + pid):
            return {"path": path, "pid": pid, "command": command_of(pid)}
    return None


def holder(paths, table="/proc/locks"):
    """Return the first holder of a lock on these files: {path, pid, command}, None when free."""
    places = {}
    for path in paths:
        if os.path.exists(path):
            info = os.stat(path)
            place = "%02x:%02x:%d" % (os.major(info.st_dev), os.minor(info.st_dev), info.st_ino)
            places[place] = path
            places[str(info.st_ino)] = path  # overlays show another device than their files have
    try:
        with open(table) as handle:
            lines = handle.readlines()
    except (IOError, OSError):
        return None
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[1] == "->":
            continue
        path = places.get(words[5]) or places.get(words[5].split(":")[-1])
        if path:
            return {"path": path, "pid": words[4], "command": command_of(words[4])}
    return None
