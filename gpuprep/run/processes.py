"""End every process that a run has started, wherever in the process tree it has gone.

Ansible's workers open sessions of their own and ssh's connection masters become daemons, so
killing one process group is not enough. What they have in common is the run's directory, with
its unguessable name, in their environment or their arguments.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_POLL: Final = 0.05  # seconds
_KILLING: Final = 5.0  # seconds; only a process stuck in the kernel, or sudo's, takes longer
# Killing one of these in the middle of its work leaves a broken package database. On a remote
# host it survives the loss of the connection; on this machine it is spared as well.
_PACKAGE_MANAGERS: Final = frozenset(
    {"apt", "apt-get", "dpkg", "dnf", "dnf-3", "dnf5", "yum", "rpm"}
)


@dataclass(frozen=True, slots=True)
class Process:
    """A living process: its id, its parent's id and its name (15 characters at most)."""

    pid: int
    parent: int
    name: str


def belonging_to(run_dir: Path) -> tuple[Process, ...]:
    """Find the living processes of a run, this one excepted. Empty where /proc is missing."""
    marker = os.fsencode(run_dir)
    found = []
    for entry in _PROC.glob("[0-9]*"):
        pid = int(entry.name)
        if pid != os.getpid() and _mentions(entry, marker):
            process = _read(entry)
            if process is not None:
                found.append(process)
    return tuple(found)


def end_connections(run_dir: Path) -> None:
    """End ssh's connection masters after a run that came to its end by itself.

    Nothing else is touched: a package's own scripts may have started services on this machine.
    """
    deadline = time.monotonic() + _KILLING
    while masters := [p for p in belonging_to(run_dir) if p.name == "ssh"]:
        for process in masters:
            _signal(process, signal.SIGTERM)
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL)


def end_all(run_dir: Path, grace: float = 2.0) -> tuple[Process, ...]:
    """End the processes of a stopped run: ask, wait ``grace`` seconds, then kill.

    Returns:
        What is still alive: package managers of this machine, left to finish with what they
        started, and processes that cannot be ended.

    """
    _signal_all(run_dir, signal.SIGTERM)
    _wait_until_gone(run_dir, grace)
    # Again and again: a process may fork between the look and the kill.
    deadline = time.monotonic() + _KILLING
    while _condemned(run_dir) and time.monotonic() < deadline:
        _signal_all(run_dir, signal.SIGKILL)
        time.sleep(_POLL)
    return belonging_to(run_dir)


def _wait_until_gone(run_dir: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _condemned(run_dir) and time.monotonic() < deadline:
        time.sleep(_POLL)


def _condemned(run_dir: Path) -> list[Process]:
    found = {process.pid: process for process in belonging_to(run_dir)}
    return [process for process in found.values() if not _spared(process, found)]


def _spared(process: Process, found: dict[int, Process]) -> bool:
    seen: Process | None = process
    while seen is not None:
        if seen.name in _PACKAGE_MANAGERS:
            return True
        seen = found.get(seen.parent)
    return False


def _signal_all(run_dir: Path, signum: signal.Signals) -> None:
    for process in _condemned(run_dir):
        _signal(process, signum)


def _signal(process: Process, signum: signal.Signals) -> None:
    # Gone meanwhile, or another user's (sudo): that one ends with its parent's pipe.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, signum)


def _mentions(entry: Path, marker: bytes) -> bool:
    for name in ("environ", "cmdline"):
        try:
            if marker in (entry / name).read_bytes():
                return True
        except OSError:
            continue  # gone meanwhile, or another user's
    return False


def _read(entry: Path) -> Process | None:
    """Read /proc/PID/stat; None for the dead (zombies have nothing left to end)."""
    try:
        head, _, tail = (entry / "stat").read_text().rpartition(")")
    except OSError:
        return None
    state, parent = tail.split()[:2]
    if state in "ZX":
        return None
    return Process(int(entry.name), int(parent), head.partition("(")[2])
