"""Writing where the reader may go away: ``gpuprep ... | head``, a lost terminal."""

from __future__ import annotations

import os
from typing import TextIO


def abandon(stream: TextIO) -> None:
    """Let what is still to be written to a stream vanish: its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
