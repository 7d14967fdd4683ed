"""Read files and commands: what is not there is empty, what does not answer ends the observation.

Taken for an empty answer, the silence of a busy host would plan units and packages anew that are
there.
"""

import os
import re
import subprocess
import sys
import time

COMMAND_SECONDS = 40  # less than the whole observation has, so that the program is named
UNANSWERED = 75  # exit code, EX_TEMPFAIL of sysexits.h


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


def no_answer(argv, why):
    """End the observation: a program did not answer."""
    sys.stderr.write("%s %s\n" % (" ".join(argv[:2]), why))
    raise SystemExit(UNANSWERED)


def output(argv):
    """Return the standard output of a command, or an empty string when there is no such program.

    One that hangs ends the observation.
    """
    return run(argv)[1]


def run(argv):
    """Return exit code, standard output and errors of a command; see ``output``."""
    environment = dict(os.environ, LC_ALL="C", SYSTEMD_PAGER="")
    try:
        done = subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=COMMAND_SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        no_answer(argv, "did not answer within %d s" % COMMAND_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return 127, "", ""
    texts = [part.decode("utf-8", "replace") for part in (done.stdout, done.stderr)]
    return done.returncode, texts[0], texts[1]


def natural(text):
    """Return a sort key that orders kernel releases: digits as numbers."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.findall(r"\d+|\D+", text)]
