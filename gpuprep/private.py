"""Directories of this user's that are closed to all others."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER: Final = "gpuprep"


def made_in(base: Path, name: str) -> Path | None:
    """Return gpuprep's directory of a name below a user's own, made when it is not there.

    Returns:
        None where it would not be closed to all others.

    """
    folder = base / _FOLDER
    path = folder / name
    with contextlib.suppress(OSError):
        for each in (folder, path):
            with contextlib.suppress(FileExistsError):
                each.mkdir(mode=0o700)
        if _is_own(base) and is_private(folder) and is_private(path):
            return path
    return None


def cache(environ: Mapping[str, str]) -> Path | None:
    """Return the directory where this user's programs keep what they can make again."""
    with contextlib.suppress(RuntimeError, OSError):  # a user without a home
        home = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        home.mkdir(mode=0o700, exist_ok=True)
        return home
    return None


def is_private(path: Path) -> bool:
    """Return whether a path is a directory, no link, of this user and closed to all others."""
    try:
        found = path.lstat()
    except OSError:
        return False
    closed = not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and closed


def _is_own(path: Path) -> bool:
    """Return whether nobody else can put anything in the place of what this folder holds."""
    found = path.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
