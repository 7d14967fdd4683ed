"""Read files and commands; what cannot be read is empty."""

import os
import re
import subprocess
import time

COMMAND_SECONDS = 10


class Watch:
    """Calls what looks at a part of the host, and keeps the seconds that each part took."""

    def __init__(self):
        self.seconds = {}

    def __call__(self, part, look, *arguments):
        """Return what looking gives."""
        began = time.monotonic()
        try:
            return look(*arguments)
        finally:
            spent = self.seconds.get(part, 0.0) + time.monotonic() - began
            self.seconds[part] = round(spent, 4)


def open_to_read(path):
    """Open a file for reading in binary; a pipe that nobody writes to does not hang."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def read(path, limit=1 << 16):
    """Return the text of a small file, or an empty string."""
    try:
        with open_to_read(path) as handle:
            return (handle.read(limit) or b"").decode("utf-8", "replace")
    except OSError:
        return ""


def output(argv):
    """Return the standard output of a command, or an empty string when it fails or hangs."""
    environment = dict(os.environ, LC_ALL="C", SYSTEMD_PAGER="")
    try:
        done = subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def natural(text):
    """Return a sort key that orders kernel releases: digits as numbers."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.findall(r"\d+|\D+", text)]
