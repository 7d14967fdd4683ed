"""Ctrl-C in the middle of `apply`: exit 7, nothing left running, the next run goes on."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest
from lab import Fresh, Lab, failed_checks

from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus

pytestmark = pytest.mark.sandbox


def wait_for_line(stream: IO[str], text: str) -> None:
    """Read until a line holds the text."""
    seen = []
    for line in stream:
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen))


def processes_of(inventory: Path, address: str) -> list[str]:
    """Command lines on this machine that work with an inventory or talk to an address."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            continue
        if str(inventory) in words or address in words:
            found.append(" ".join(words))
    return found


def agents() -> set[str]:
    """Process ids of ssh agents on this machine."""
    found = set()
    for name in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if name.read_text().strip() == "ssh-agent":
                found.add(name.parent.name)
    return found


def test_interrupted_in_the_middle_of_apply(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=["10de:2236"])
    inventory = lab.inventory(name, variables={"gpuprep_components": ["driver"]})
    address = lab.address(name)
    before = agents()
    command = [sys.executable, "-m", "gpuprep", "apply", "-i", str(inventory)]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stderr is not None
    wait_for_line(run.stderr, "Converge the hosts that differ")
    lab.sh(
        name, "until pgrep -x dpkg >/dev/null; do sleep 0.05; done"
    )  # a transaction is under way
    pressed = time.monotonic()
    run.send_signal(signal.SIGINT)
    told, errors = run.communicate(timeout=60)
    assert run.returncode == ExitCode.CANCELLED, told + errors
    assert time.monotonic() - pressed < 30
    assert "again" in errors
    assert "Traceback" not in errors
    assert processes_of(inventory, address) == []
    assert agents() <= before
    resumed = lab.apply(name, gpuprep_components=["driver"])
    host = resumed.hosts[name]
    assert (host.state, host.error, failed_checks(host)) == (HostStatus.PREPARED, None, [])
    assert resumed.exit_code is ExitCode.OK
