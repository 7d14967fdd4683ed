"""Writing to a stdout whose reader may go away (``gpuprep ... | head``)."""

from __future__ import annotations

import os
import sys


def abandon_stdout() -> None:
    """Let what is still to be written to stdout vanish: its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
