"""Connections that outlive their run: one key exchange for several, nothing of others touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus
from gpuprep.run import processes
from sandbox import bootstrap, hosts
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab import Fresh, Lab

    from gpuprep.model import HostResult

pytestmark = pytest.mark.sandbox

SLOW_PYTHON = "/usr/local/bin/slow-python"
SLOW_SUDO = "/usr/local/bin/slow-sudo"
ASKED = "/tmp/slow-sudo-was-asked"
PATIENCE = 120  # seconds


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the directory of the sockets, empty; afterwards no master is left."""
    base = Path(tempfile.mkdtemp(prefix="kept-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.delenv("ANSIBLE_SSH_CONTROL_PATH_DIR", raising=False)
    yield base / "gpuprep/ssh"
    for pid in masters(base):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def name() -> Iterator[str]:
    bootstrap.ensure()
    own = f"kept-{os.getpid()}"
    hosts.start_all((HostSpec.from_dict(own, {"gpus": ["10de:2236"]}),), own)
    yield own
    hosts.stop_all([own])


def slow_python(name: str) -> str:
    """Give a host a Python that does not come to its end; return its path."""
    script = f"printf '#!/bin/sh\\nsleep 60\\n' >{SLOW_PYTHON}; chmod +x {SLOW_PYTHON}"
    hosts.run(name, ("sh", "-c", script), timeout=60)
    return SLOW_PYTHON


def slow_sudo(name: str) -> str:
    """Give a host a sudo that takes half a minute to begin, once; return its path."""
    lines = (
        "#!/bin/sh",
        'case "$*" in *--version*) exec sudo "$@" ;; esac',
        f"mkdir {ASKED} 2>/dev/null && sleep 30",
        'exec sudo "$@"',
    )
    script = f"printf '%s\\n' \"$@\" >{SLOW_SUDO}; chmod +x {SLOW_SUDO}"
    hosts.run(name, ("sh", "-c", script, "sh", *lines), timeout=60)
    return SLOW_SUDO


def masters(folder: Path) -> dict[int, str]:
    """Return process id and socket of each living master whose socket is in a folder, or below."""
    names = {path.name for path in folder.rglob("*")}
    return {
        process.pid: process.socket
        for process in processes.belonging_to(Path("/"))
        if process.socket and Path(process.socket).name in names
    }


def sessions(name: str) -> int:
    """Return the logins of the ordinary user that a host has at the moment."""
    done = hosts.run(name, ("pgrep", "-fc", r"^sshd: ops \[priv\]"), timeout=60)
    return int(done.stdout)


def logins(name: str) -> int:
    done = hosts.run(name, ("journalctl", "--no-pager", "--output=cat"), timeout=60)
    return sum("Accepted publickey for " in line for line in done.stdout.splitlines())


def structure(name: str, **variables: Any) -> dict[str, Any]:
    host = hosts.find(name)
    path = Path(tempfile.mkdtemp(prefix="inventory-")) / "hosts.yml"
    hosts.write_inventory([host], {}, path)
    data: dict[str, Any] = yaml.safe_load(path.read_text())
    data["all"]["hosts"][name] |= variables
    shutil.rmtree(path.parent)
    return data


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def found(host: HostResult) -> tuple[Any, ...]:
    """Return what was found of a host, but for how long it took."""
    checks = [(check.id, check.status) for check in host.checks]
    return host.state, host.code, host.facts, host.versions, checks


def test_many_open_connections_need_no_process_of_ssh_each(name: str) -> None:
    """Ten names of one host, with a connection each: what is found is the same."""
    data = structure(name)
    del data["all"]["children"]
    one = data["all"]["hosts"].pop(name)
    data["all"]["hosts"] = {
        f"h{number}": {**one, "ansible_ssh_extra_args": f"-o ServerAliveInterval={number + 9}"}
        for number in range(10)
    }
    first = gpuprep.status(data)
    before = logins(name)
    told: list[str] = []
    second = gpuprep.status(data, verbosity=3, on_event=lambda event: told.append(event.text))
    assert all(found(second.hosts[own]) == found(first.hosts[own]) for own in first.hosts)
    assert {host.code for host in second.hosts.values()} == {"E_SAME_HOST"}
    assert logins(name) == before
    assert sum("without a process of ssh" in text for text in told) == len(second.hosts)
    assert not any("by ssh" in text for text in told)


@pytest.mark.slow
def test_plan_apply_and_verify_cost_one_key_exchange(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=["10de:2236"])
    inventory = lab.inventory(name, variables={"gpuprep_components": ["conda"]})
    planned = gpuprep.plan(inventory)
    assert planned.hosts[name].steps
    applied = gpuprep.apply(inventory)
    assert (applied.hosts[name].state, applied.hosts[name].error) == (HostStatus.PREPARED, None)
    assert applied.counts["observations"] == 2
    assert gpuprep.verify(inventory).exit_code is ExitCode.OK
    assert gpuprep.apply(inventory).counts["round_trips"] == 1
    assert lab.logins(name) == 1


def test_the_next_run_makes_no_key_exchange(name: str, kept: Path) -> None:
    before = logins(name)
    for verb in (gpuprep.plan, gpuprep.status, gpuprep.verify):
        assert verb(structure(name)).hosts[name].state is HostStatus.DRIFTED
    assert logins(name) == before + 1
    assert len(masters(kept)) == 1
    assert sessions(name) == 1
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("how", ["option", "variable"])
def test_nothing_is_left_where_that_is_asked_for(name: str, kept: Path, how: str) -> None:
    if how == "option":
        gpuprep.status(structure(name), keep_connections=False)
    else:
        gpuprep.status(structure(name, gpuprep_keep_connections=False))
    assert masters(kept) == {}
    wait_for(lambda: sessions(name) == 0)


def test_a_slow_sudo_is_asked_again_over_the_same_connection(name: str, kept: Path) -> None:
    """The connection answers, so it is not what hangs: no second key exchange."""
    before = logins(name)
    slow = structure(name, ansible_become_exe=slow_sudo(name))
    assert gpuprep.status(slow).hosts[name].state is HostStatus.DRIFTED
    assert hosts.run(name, ("test", "-e", ASKED), timeout=60).returncode == 0
    assert logins(name) == before + 1
    assert len(masters(kept)) == 1


def test_other_ways_to_a_host_are_other_connections(name: str, kept: Path) -> None:
    gpuprep.status(structure(name))
    (first,) = masters(kept)
    wrong = structure(name, ansible_ssh_private_key_file="/etc/hostname")
    state = gpuprep.status(wrong).hosts[name].state
    assert state is HostStatus.UNREACHABLE  # as it would be without a connection of another key
    gpuprep.status(structure(name, ansible_ssh_extra_args="-o ServerAliveInterval=7"))
    assert len(masters(kept)) == 2
    assert first in masters(kept)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_master_that_is_gone_or_hangs_is_replaced(
    name: str, kept: Path, signum: signal.Signals
) -> None:
    gpuprep.status(structure(name))
    (former,) = masters(kept)
    os.kill(former, signum)
    try:
        again = gpuprep.status(structure(name)).hosts[name]
        assert (again.state, again.code) == (HostStatus.DRIFTED, None)
        assert masters(kept).keys() - {former}
    finally:
        if signum == signal.SIGSTOP:
            os.kill(former, signal.SIGKILL)


def test_a_cancelled_run_ends_its_own_masters_only(name: str, kept: Path) -> None:
    gpuprep.status(structure(name))
    (former,) = masters(kept)
    hung = structure(
        name,
        ansible_python_interpreter=slow_python(name),
        ansible_ssh_extra_args="-o ServerAliveInterval=8",
    )
    cancel = threading.Event()
    ended: list[Any] = []
    run = threading.Thread(target=lambda: ended.append(gpuprep.status(hung, cancel=cancel)))
    run.start()
    try:
        wait_for(lambda: masters(kept).keys() - {former})
    finally:
        cancel.set()
        run.join(PATIENCE)
    assert ended[0].exit_code is ExitCode.CANCELLED
    assert masters(kept).keys() == {former}


def test_a_master_that_somebody_else_uses_survives_the_cancelled_run(name: str, kept: Path) -> None:
    cancel = threading.Event()
    hung = structure(name, ansible_python_interpreter=slow_python(name))
    run = threading.Thread(target=lambda: gpuprep.status(hung, cancel=cancel))
    run.start()
    other = None
    try:
        ((pid, socket),) = wait_for(lambda: masters(kept)).items()
        own = kept / Path(socket).name  # another run has a way of its own to it
        command = ["ssh", "-o", f"ControlPath={own}", "x", "echo up; sleep 600"]
        other = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        cancel.set()
        run.join(PATIENCE)
        assert not run.is_alive()
        assert pid in masters(kept)
        assert other.poll() is None
    finally:
        cancel.set()
        run.join(PATIENCE)
        if other:
            other.kill()
            other.wait()


def test_a_run_that_is_killed_leaves_nothing(name: str, kept: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="inventory-"))
    inventory = folder / "hosts.yml"
    hung = structure(name, ansible_python_interpreter=slow_python(name))
    inventory.write_text(yaml.safe_dump(hung))
    run = subprocess.Popen([sys.executable, "-m", "gpuprep", "status", "-i", str(inventory)])
    try:
        wait_for(lambda: masters(kept))
    finally:
        run.kill()
        run.wait()
    wait_for(lambda: not masters(kept))
    shutil.rmtree(folder)
