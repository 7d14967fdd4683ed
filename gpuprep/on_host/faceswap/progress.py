"""What Faceswap's output tells: lines that end in carriage returns, and terminal escapes."""

import re
import time

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ITERATION = re.compile(r"\[#(\d+)\] Loss A: (\S+?), Loss B: (\S+)")
BAR = re.compile(r"(\d+)/(\d+) \[")  # of tqdm
SAVED = "[Saved model]"
LOGGED = re.compile(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (\w+) +(.*)")
CRASH = "An unexpected crash has occurred"
MOST = 3  # lines of a reason
LAST = 20  # iterations that the rate is taken over
ENDS = re.compile(rb"[\r\n]")


def reason(said):
    """Return those of the last lines that tell why Faceswap ended.

    What it refuses, it logs as errors. A crash is a traceback, and behind it the wish for a report.
    """
    plain, errors = "", []
    for line in said:
        found = LOGGED.match(line)
        if found is None:
            plain = line
        elif found.group(2).startswith(CRASH) and plain:
            return [plain]
        elif found.group(1) in {"ERROR", "CRITICAL"}:
            errors.append(found.group(2))
    return (errors or said)[-MOST:]


class Lines:
    """Cuts output into lines, whether they end in CR or LF, and strips escapes."""

    def __init__(self):
        self._left = b""

    def feed(self, data):
        """Return the lines that are complete now."""
        *done, self._left = ENDS.split(self._left + data)
        return [line for line in map(self._clean, done) if line]

    def rest(self):
        """Return what came without an end."""
        left, self._left = self._left, b""
        line = self._clean(left)
        return [line] if line else []

    @staticmethod
    def _clean(line):
        text = ESCAPES.sub("", line.decode("utf-8", "replace"))
        return "".join(c if c.isprintable() else " " for c in text).strip()


class Progress:
    """How far a step is, from its lines.

    Attributes:
        iteration: of the model, None before the first one of this run.
        losses: of both sides at that iteration.
        frames: how many of how many, of a step that goes through frames.

    """

    def __init__(self, clock=time.monotonic):
        self.iteration = None
        self.losses = None
        self.frames = None
        self._clock = clock
        self._times = []

    def read(self, line):
        """Take a line in; return whether it only tells progress."""
        found = ITERATION.search(line)
        if found:
            self.iteration = int(found.group(1))
            try:
                self.losses = [float(found.group(2)), float(found.group(3))]
            except ValueError:
                self.losses = None
            self._times = (self._times + [(self._clock(), self.iteration)])[-LAST - 1 :]
            return True
        found = BAR.search(line)
        if found:
            self.frames = [int(found.group(1)), int(found.group(2))]
            return True
        return False

    @property
    def rate(self):
        """Iterations in a second over the last ones, None before there are two."""
        if len(self._times) <= 1:
            return None
        (began, first), (ended, last) = self._times[0], self._times[-1]
        if ended <= began:
            return None
        return round((last - first) / (ended - began), 3)
