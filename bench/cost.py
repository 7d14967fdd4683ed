"""What a command costs: wall time, and CPU time here and on the hosts, as the kernel counts it.

Control groups count everything that a command starts, also what outlives it (ssh's masters), and
everything on a host. Both versions of the kernel's interface are known.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path("/sys/fs/cgroup")
PAUSE: Final = 0.05


class BenchError(Exception):
    """The measurement cannot be made, or a contender did not do what it should."""


@dataclass(frozen=True)
class Cost:
    """One run: wall seconds, CPU seconds here and on the hosts, largest process in MB."""

    wall: float
    controller: float
    target: float
    memory: float
    load: float


def cpu_seconds(group: Path) -> float:
    """Return the CPU seconds that a control group has used since it was made."""
    old = group / "cpuacct.usage"
    if old.exists():
        return int(old.read_text()) / 1e9
    lines = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(lines["usage_usec"]) / 1e6


def group_of(pid: int) -> Path:
    """Return the control group that counts a process's CPU time."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            return ROOT / "cpuacct" / path.lstrip("/")
        if number == "0" and (ROOT / "cgroup.controllers").exists():
            return ROOT / path.lstrip("/")
    raise BenchError(f"no control group counts the CPU time of process {pid}")


@contextlib.contextmanager
def own_group(name: str) -> Iterator[Path]:
    """Make a control group for the length of a ``with``; what still runs in it then is ended."""
    parent = ROOT / "cpuacct" if (ROOT / "cpuacct").is_dir() else ROOT
    path = parent / f"gpuprep-bench-{os.getpid()}-{name}"
    path.mkdir()
    try:
        yield path
    finally:
        empty(path)
        path.rmdir()


def members(group: Path) -> list[int]:
    """Return the processes of a control group."""
    return [int(line) for line in (group / "cgroup.procs").read_text().split()]


def empty(group: Path) -> None:
    """End the processes of a control group of ours: those that a contender left behind."""
    for signal in (15, 15, 9, 9, 9):
        for pid in members(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal)
        for _ in range(40):
            if not members(group):
                return
            time.sleep(PAUSE)


def measure(  # noqa: PLR0913 - all that a run needs
    argv: Sequence[str],
    group: Path,
    targets: Sequence[Path],
    *,
    environment: Mapping[str, str],
    output: Path,
    stdin: str = "",
    timeout: float = 3600,
) -> tuple[int, Cost]:
    """Run a command in a control group and return its exit code and cost.

    Args:
        argv: program and arguments.
        group: that counts it; what it leaves running stays there.
        targets: control groups of the hosts.
        environment: all variables that it gets.
        output: file for its output; errors beside it, as ``.err``. The command runs in that folder,
            where no ansible.cfg is.
        stdin: what it reads.
        timeout: seconds after which it is ended.

    Raises:
        BenchError: it took too long.

    """

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    before = cpu_seconds(group), sum(map(cpu_seconds, targets))
    started = time.monotonic()
    with output.open("w") as out, output.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env=dict(environment),
            cwd=output.parent,
            text=True,
            preexec_fn=enter,  # noqa: PLW1509 - no threads here
        )
        assert process.stdin
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin)
            process.stdin.close()
        usage = _wait(process, started + timeout)
    wall = time.monotonic() - started
    after = cpu_seconds(group), sum(map(cpu_seconds, targets))
    cost = Cost(
        round(wall, 3),
        round(after[0] - before[0], 3),
        round(after[1] - before[1], 3),
        round(usage / 1024, 1),
        round(os.getloadavg()[0], 1),
    )
    return process.returncode, cost


def _wait(process: subprocess.Popen[str], until: float) -> int:
    """Wait for a process and return the memory of its largest one in KiB."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss
        if time.monotonic() > until:
            process.kill()
            process.wait()
            raise BenchError(f"{process.args!r} took too long and was ended")
        time.sleep(0.005)
