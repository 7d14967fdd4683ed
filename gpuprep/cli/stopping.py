"""Stopping: what Ctrl-C, a request to end and the loss of the terminal do, for all verbs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from gpuprep.cli.output import abandon

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAID: Final = b"\ngpuprep: stopping; running the same command again goes on from here\n"


class Stop:
    """A request to stop, and whether the work looks at it.

    Attributes:
        asked: it was made.
        watched: the work looks at it, and so ends by itself.

    """

    def __init__(self, *, watched: bool) -> None:
        self.asked = False
        self.watched = watched

    def __call__(self) -> bool:
        """Return whether it was made; who looks at it once looks at it from then on."""
        self.watched = True
        return self.asked


@contextlib.contextmanager
def stopping(*, watched: bool = False) -> Iterator[Stop]:
    """Turn the first signal to end into a clean stop; the second is immediate.

    Work that looks at the request comes to its end, and has its result to tell. Other work is
    interrupted where it is, as Python does it for Ctrl-C: on the way out all is cleared away.

    What the caller had ignored stays ignored: under nohup a run outlives its terminal. A run that
    was stopped still has something to tell, so the loss of the terminal no longer ends it.

    Args:
        watched: the work looks at the request from its beginning.

    """
    request = Stop(watched=watched)
    terminals = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]
    former = {
        signum: handler
        for signum in _SIGNALS
        if (handler := signal.getsignal(signum)) is not signal.SIG_IGN
    }

    def stop(signum: int, _frame: object) -> None:
        again, request.asked = request.asked, True
        if signum == signal.SIGHUP:  # comes twice: from the terminal and from its shell
            signal.signal(signum, signal.SIG_IGN)
            for terminal in terminals:
                abandon(terminal)
            if again:
                return
        if not again:
            with contextlib.suppress(OSError):  # its reader may have gone
                os.write(sys.stderr.fileno(), _SAID)
        if again or not request.watched:
            raise KeyboardInterrupt

    for signum in former:
        signal.signal(signum, stop)
    try:
        yield request
    finally:
        for signum, handler in former.items():
            stopped = request.asked and signum == signal.SIGHUP
            signal.signal(signum, signal.SIG_IGN if stopped else handler)
