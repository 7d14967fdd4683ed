"""Texts of a user that may be paths: one that can be none is one that is not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def existing(text: str | os.PathLike[str]) -> Path | None:
    """Return what a text leads to, ``~`` resolved; None when nothing is there.

    A list of hosts, for one, is no path: the system refuses to look for a name that long. Nor is
    empty text, which Python would take for the working directory.
    """
    if not os.fspath(text):
        return None
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        path = Path(text).expanduser()
        if path.exists():
            return path
    return None


def readable_file(text: str | os.PathLike[str]) -> Path | None:
    """Return the file that a text leads to, absolute; None when this user cannot read it."""
    path = existing(text)
    if path is not None and path.is_file() and os.access(path, os.R_OK):
        return path.absolute()
    return None
