"""The private directory of one run: everything Ansible is given or leaves behind.

It lives in memory where the system allows it, is closed to other users, and is removed however
the run ends. The directory of a run that was killed outright is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuprep.run import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

_PREFIX: Final = "gpuprep-"
_LOCK: Final = "lock"
_NEW_LOCK: Final = "lock.new"
_BEGINNING: Final = 3600.0  # seconds after which a run has its lock, however slow the machine
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a 0700 directory of its own there


def base_directory() -> Path:
    """Where run directories are made: in memory if possible, else the temporary directory.

    The path is short on purpose: ssh's control sockets below it may have 104 characters.
    """
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK):
        return _MEMORY
    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def run_directory(base: Path | None = None) -> Iterator[Path]:
    """Make a directory (0700) for one run; remove it at the end, whatever happens."""
    base = base or base_directory()
    remove_abandoned(base)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    try:
        with _held_lock(path):
            yield path
    finally:
        _remove(path)


def remove_abandoned(base: Path) -> tuple[Path, ...]:
    """Remove own run directories whose process is gone, and what it left running.

    Returns:
        The directories that were removed.

    """
    abandoned = tuple(path for path in base.glob(f"{_PREFIX}*") if _is_abandoned(path))
    for path in abandoned:
        processes.end_all(path)
        _remove(path)
    return abandoned


@contextlib.contextmanager
def _held_lock(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel gives up when this process dies, even by SIGKILL."""
    lock = os.open(path / _NEW_LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (path / _NEW_LOCK).rename(path / _LOCK)  # visible only once it is held
        yield
    finally:
        os.close(lock)


def _is_abandoned(path: Path) -> bool:
    try:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _was_never_locked(path)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _was_never_locked(path: Path) -> bool:
    """Return whether a run was killed before it could even lock its directory."""
    try:
        entries = {entry.name for entry in path.iterdir()}
        age = time.time() - path.lstat().st_mtime
    except OSError:
        return False
    return entries <= {_NEW_LOCK} and age > _BEGINNING


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        _log.warning("%s could not be removed; it may hold secrets: remove it by hand", path)
