"""Writing where the reader may go away: ``gpuprep ... | head``, a lost terminal."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def abandon(stream: TextIO) -> None:
    """Let what is still to be written to a stream vanish: its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def ensure_streams() -> None:
    """Make all standard streams fit to print to.

    A process that was started without gets the null device for them: else the next file that is
    opened gets the number of one, and what is printed goes into it. Names that the locale has no
    characters for are escaped: else the first of them ends the run.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
