"""End every process that a run has started, wherever in the process tree it has gone.

Ansible's workers open sessions of their own and ssh's connection masters become daemons, so
killing one process group is not enough. What they have in common is the run's directory, with
its unguessable name, in their environment or their arguments.

A master that is kept for the next run outlives the run that made it when that ends well. When it
is stopped, the master goes with it, unless another run has come to use it meanwhile: then it stays,
with the program by which it reaches its host (a jump host's ssh, or any other ProxyCommand).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuprep.model.value import Value
from gpuprep.run.connections import LINK, connected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_PROC: Final = Path("/proc")
_MASTER: Final = re.compile(r"ssh: (.+) \[mux\]")  # what a master calls itself
_POLL: Final = 0.05  # seconds
_KILLING: Final = 5.0  # seconds; only a process stuck in the kernel, or sudo's, takes longer
# Killing one of these in the middle of its work leaves a broken package database. On a remote
# host it survives the loss of the connection; on this machine it is spared as well.
_PACKAGE_MANAGERS: Final = frozenset(
    {"apt", "apt-get", "dpkg", "dnf", "dnf-3", "dnf5", "yum", "rpm"}
)


class Process(Value, frozen=True):
    """A living process: its id, its parent's id and its name (15 characters at most)."""

    pid: int
    parent: int
    name: str

    @property
    def command(self) -> str:
        """Its arguments, or what it has put in their place."""
        text = _content(f"{_PROC}/{self.pid}/cmdline")
        return text.replace(b"\0", b" ").decode(errors="replace").strip()

    @property
    def socket(self) -> str | None:
        """Path of the socket of a connection master of ssh's, None of all other processes."""
        master = _MASTER.fullmatch(self.command) if self.name == "ssh" else None
        return master[1] if master else None


def belonging_to(run_dir: Path) -> tuple[Process, ...]:
    """Find the living processes of a run, this one excepted. Empty where /proc is missing."""
    return tuple(_mentioning(run_dir, "environ", "cmdline"))


def _mentioning(run_dir: Path, *files: str) -> Iterator[Process]:
    """Return the living processes, this one excepted, whose files in /proc name a directory."""
    marker, own = os.fsencode(run_dir), str(os.getpid())
    for entry in _PROC.glob("[0-9]*"):
        named = (marker in _content(f"{entry}/{file}") for file in files)
        if entry.name != own and any(named):
            process = _read(entry)
            if process is not None:
                yield process


def end_connections(run_dir: Path) -> None:
    """End ssh's connections after a run that came to its end by itself, but for those kept.

    Nothing else is touched: a package's own scripts may have started services on this machine.
    """
    deadline = time.monotonic() + _KILLING
    while masters := [p for p in _mentioning(run_dir, "cmdline") if _ends_with(run_dir, p)]:
        for process in masters:
            _signal(process, signal.SIGTERM)
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL)


def _ends_with(run_dir: Path, process: Process) -> bool:
    """Return whether a process is a connection that ends with its run.

    Not so a master that is kept, nor the client by which it reaches its host through another one:
    that ends with it.
    """
    if process.name != "ssh" or (process.socket or "").startswith(f"{run_dir}/{LINK}/"):
        return False
    return str(run_dir) in process.command


def end_all(run_dir: Path, grace: float = 2.0) -> tuple[Process, ...]:
    """End the processes of a stopped run: ask, wait ``grace`` seconds, then kill.

    Returns:
        What is still alive: package managers of this machine, left to finish with what they
        started, and processes that cannot be ended.

    """
    _ask_to_end(run_dir, grace)
    # Again and again: a process may fork between the look and the kill.
    deadline = time.monotonic() + _KILLING
    while _condemned(run_dir) and time.monotonic() < deadline:
        _signal_all(run_dir, signal.SIGKILL)
        time.sleep(_POLL)
    return tuple(process for process in _left(run_dir) if process.name != "ssh")


def _ask_to_end(run_dir: Path, seconds: float) -> None:
    """Ask each process once; a master's turn comes when the clients that use it are gone."""
    deadline = time.monotonic() + seconds
    asked: set[int] = set()
    while left := _condemned(run_dir):
        for process in left:
            if process.pid not in asked:
                asked.add(process.pid)
                _signal(process, signal.SIGTERM)
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL)


def _condemned(run_dir: Path) -> list[Process]:
    found = {process.pid: process for process in _left(run_dir)}
    return [process for process in found.values() if not _spared(process, found)]


def _left(run_dir: Path) -> tuple[Process, ...]:
    """Return the living processes of a run, but for those that other runs have come to use."""
    found = belonging_to(run_dir)
    used = _used_by_others(run_dir, found)
    serving = _serving(used, found) if used else frozenset()
    return tuple(process for process in found if process.pid not in serving)


def _used_by_others(run_dir: Path, found: Iterable[Process]) -> frozenset[str]:
    """Return the sockets of those masters that processes of other runs are connected to."""
    sockets = {process.socket for process in found if process.name == "ssh"}
    kept = {path for path in sockets if path and path.startswith(f"{run_dir}/{LINK}/")}
    return frozenset(kept & connected()) if kept else frozenset()


def _serving(sockets: frozenset[str], found: Collection[Process]) -> frozenset[int]:
    """Return the ids of the masters at sockets, and of what they reach their hosts by.

    ssh starts that before it becomes a daemon, so it is no child of the master's: what tells is the
    pipes between the two.
    """
    masters = {process.pid for process in found if process.socket in sockets}
    to, back = set[str](), set[str]()
    for pid in masters:
        written, read = _pipes(pid)
        to |= written
        back |= read
    serving = {process.pid for process in found if _is_between(process.pid, to, back)} - masters
    while more := {p.pid for p in found if p.parent in serving} - serving:
        serving |= more  # a shell's own programs
    return frozenset(masters | serving)


def _is_between(pid: int, to: set[str], back: set[str]) -> bool:
    """Return whether a process reads what masters write, or writes what they read.

    Their clients do not: they hold the same ends as the master, to which they hand their own.
    """
    folder = f"{_PROC}/{pid}/fd"
    return _target(f"{folder}/0") in to or _target(f"{folder}/1") in back


def _pipes(pid: int) -> tuple[set[str], set[str]]:
    """Return the pipes that a process writes to, and those that it reads."""
    written, read = set[str](), set[str]()
    with contextlib.suppress(OSError):  # gone meanwhile
        for entry in os.scandir(f"{_PROC}/{pid}/fd"):
            pipe = _target(entry.path)
            if pipe.startswith("pipe:"):
                mode = entry.stat(follow_symlinks=False).st_mode
                (written if mode & stat.S_IWUSR else read).add(pipe)
    return written, read


def _target(link: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(link)  # noqa: PTH115 - of all that many processes have open
    return ""


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


def _content(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - hundreds of them
            return file.readall()
    except OSError:
        return b""  # gone meanwhile, or another user's


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
