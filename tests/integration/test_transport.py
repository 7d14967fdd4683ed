"""Hosts looked at by ssh and by asyncssh: the same plans, states and errors, whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus
from gpuprep.run import processes
from sandbox import bootstrap, hosts, inventory
from sandbox.fleet import HostSpec
from sandbox.paths import KNOWN_HOSTS, LOGIN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuprep.model import FleetResult, HostResult
    from sandbox.register import Host

pytestmark = pytest.mark.sandbox

PASSWORD = "Sesame-22"  # noqa: S105
NOISY = '#!/bin/sh\necho welcome\n/bin/sh "$@"\ncode=$?\necho bye\nexit $code\n'
SET_UP = f"""
cat >/usr/local/bin/noisy && chmod 755 /usr/local/bin/noisy
useradd --create-home --shell /bin/bash typist
echo typist:{PASSWORD} | chpasswd
echo ops:{PASSWORD} | chpasswd
echo 'typist ALL=(ALL) ALL' >/etc/sudoers.d/typist
printf '#!/bin/sh\\nsleep 60\\n' >/usr/local/bin/slow-python
printf '#!/bin/sh\\npkill -9 -u ops sshd\\nsleep 5\\n' >/usr/local/bin/cutting-python
printf '#!/bin/sh\\nexec yes 0123456789\\n' >/usr/local/bin/endless-python
chmod 755 /usr/local/bin/*-python
"""
WAIT = 120


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Host, ...]]:
    bootstrap.ensure()
    names = [f"tp-{os.getpid()}-{number}" for number in (1, 2)]
    started = hosts.start_all(tuple(HostSpec(name) for name in names), names[0])
    for name in names:
        root(name, SET_UP, NOISY)
    yield started
    hosts.stop_all(names)


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the directory of masters, empty; afterwards none is left."""
    base = Path(tempfile.mkdtemp(prefix="tp-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield base / "gpuprep/ssh"
    end_masters(base)
    shutil.rmtree(base)


def masters(folder: Path) -> list[int]:
    """Return the living masters whose sockets are in a folder, or below."""
    names = {path.name for path in folder.rglob("*")}
    every = processes.belonging_to(Path("/"))
    return [one.pid for one in every if one.socket and Path(one.socket).name in names]


def end_masters(folder: Path) -> None:
    for pid in masters(folder):
        os.kill(pid, 9)
    for path in folder.rglob("*"):
        if path.is_socket():
            path.unlink()


def root(name: str, script: str, stdin: str | None = None) -> str:
    done = hosts.run(name, ["sh", "-ec", script], timeout=300, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fleet(*some: Host, **variables: Any) -> dict[str, Any]:
    document = inventory.document(some)
    document["all"]["vars"] |= {"gpuprep_components": [], **variables}
    return document


def found(host: HostResult) -> tuple[Any, ...]:
    """Return what was found on a host, without the time that it took."""
    return (host.steps, *(replace(check, seconds=None) for check in host.checks))


def by(result: FleetResult) -> list[str]:
    return [warning for warning in result.warnings if warning.startswith("transport:")]


def both(
    kept: Path, document: dict[str, Any], verb: Callable[..., FleetResult] = gpuprep.status
) -> tuple[FleetResult, FleetResult]:
    """Look by ssh and by asyncssh, each without an open connection."""
    end_masters(kept.parents[1])
    theirs = verb(document, transport="ssh")
    end_masters(kept.parents[1])
    ours = verb(document, transport="asyncssh")
    for name, host in theirs.hosts.items():
        other = ours.hosts[name]
        assert (other.state, other.code, other.error) == (host.state, host.code, host.error)
        assert found(other) == found(host)
    assert ours.exit_code is theirs.exit_code
    assert not by(theirs)
    return theirs, ours


# --- hosts that answer ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb",
    [
        gpuprep.status,
        *(pytest.param(v, marks=pytest.mark.slow) for v in (gpuprep.plan, gpuprep.verify)),
    ],
)
def test_cold_and_warm_first_and_second_run_say_the_same(
    two: tuple[Host, ...], kept: Path, verb: Callable[..., FleetResult]
) -> None:
    document = fleet(*two, gpuprep_components=["conda"])
    theirs, ours = both(kept, document, verb)
    assert not by(ours)
    assert masters(kept) == []  # no ssh was started
    second = verb(document, transport="asyncssh")
    assert masters(kept) == []
    warm_theirs = verb(document, transport="ssh")
    assert len(masters(kept)) == len(two)
    warm = verb(document, transport="asyncssh")  # over what ssh left open
    for one in (second, warm_theirs, warm):
        assert not by(one)
        for name, host in theirs.hosts.items():
            assert one.hosts[name].state is host.state
            assert found(one.hosts[name]) == found(host)


ANSWERING: dict[str, dict[str, Any]] = {
    "the shell prints": {},
    "sudo asks": {"ansible_become_password": PASSWORD},
    "sudo gets a wrong password": {"ansible_become_password": "wrong"},
    "sudo gets none": {},
    "no sudo is wanted": {"ansible_become": False},
    "there is no Python": {"ansible_python_interpreter": "/nowhere/python3"},
    "Python never ends": {
        "ansible_python_interpreter": "/usr/local/bin/slow-python", "gpuprep_observe_timeout": 2,
    },
    "the answer never ends": {"ansible_python_interpreter": "/usr/local/bin/endless-python"},
}  # fmt: skip
QUICK = ("the shell", "sudo asks", "sudo gets a wrong")
SUDO_ASKS = "echo 'ops ALL=(ALL) ALL' >/etc/sudoers.d/zz-test"


@pytest.mark.parametrize(
    "case",
    [
        case if case.startswith(QUICK) else pytest.param(case, marks=pytest.mark.slow)
        for case in ANSWERING
    ],
)
def test_whatever_a_host_answers_is_told_alike(
    two: tuple[Host, ...], kept: Path, case: str
) -> None:
    (one, _) = two
    if case.startswith("sudo"):
        root(one.name, SUDO_ASKS)
    if "shell" in case:
        root(one.name, "usermod --shell /usr/local/bin/noisy ops")
    try:
        _, ours = both(kept, fleet(one, **ANSWERING[case]))
    finally:
        root(one.name, "usermod --shell /bin/bash ops; rm -f /etc/sudoers.d/zz-test")
    assert not by(ours)
    assert masters(kept) == []
    answers = {"the shell prints", "sudo asks"}
    assert (ours.hosts[one.name].code is None) is (case in answers)


@pytest.mark.slow
def test_a_sudo_that_wants_a_terminal_gets_one(two: tuple[Host, ...], kept: Path) -> None:
    """The terminal is ssh's: asyncssh finds out that one is wanted."""
    (one, _) = two
    root(one.name, "echo 'Defaults requiretty' >/etc/sudoers.d/zz-test")
    try:
        _, ours = both(kept, fleet(one))
    finally:
        root(one.name, "rm /etc/sudoers.d/zz-test")
    assert ours.hosts[one.name].error is None


# --- hosts that do not ----------------------------------------------------------------------------


def ssh_arguments(**options: str) -> str:
    given = {
        "UserKnownHostsFile": str(KNOWN_HOSTS), "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes", "IdentitiesOnly": "yes", **options,
    }  # fmt: skip
    return " ".join(f"-o {name}={value}" for name, value in given.items())


def test_hosts_that_cannot_be_reached_are_told_alike(
    two: tuple[Host, ...], kept: Path, tmp_path: Path
) -> None:
    """In company: none of them keeps the one that answers from its result."""
    well, other = two
    wrong = tmp_path / "known_hosts"
    keys = {
        line.split()[0]: line.split(None, 1)[1] for line in KNOWN_HOSTS.read_text().splitlines()
    }
    wrong.write_text(f"{well.address} {keys[other.address]}\n")
    empty = tmp_path / "empty"
    empty.write_text("")
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    document = fleet(well)
    same = {"ansible_host": well.address}
    known = tmp_path / "known"
    known.write_text(f"* {keys[well.address]}\n")
    anywhere = {"ansible_ssh_common_args": ssh_arguments(UserKnownHostsFile=str(known))}
    document["all"]["hosts"] |= {
        "closed": {**same, "ansible_port": 1, **anywhere},
        "nameless": {"ansible_host": "nobody.invalid", **anywhere},
        "silent": {"ansible_host": "10.255.255.1", "ansible_timeout": 2, **anywhere},
        "changed": {
            **same,
            "ansible_ssh_common_args": ssh_arguments(UserKnownHostsFile=str(wrong)),
        },
        "unknown": {
            **same,
            "ansible_ssh_common_args": ssh_arguments(UserKnownHostsFile=str(empty)),
        },
        "stranger": {**same, "ansible_ssh_private_key_file": str(stranger)},
        "nobody": {**same, "ansible_user": "nobody-here"},
    }
    _, ours = both(kept, document)
    lost = {name for name, host in ours.hosts.items() if host.state is HostStatus.UNREACHABLE}
    assert lost == set(ours.hosts) - {well.name}
    assert "Host key verification failed" in (ours.hosts["unknown"].error or "")
    assert "Permission denied" in (ours.hosts["stranger"].error or "")
    assert not by(ours)  # of those that answered, none needed ssh


@pytest.mark.slow
def test_a_connection_that_breaks_is_told_alike(two: tuple[Host, ...], kept: Path) -> None:
    (one, _) = two
    cut = fleet(one, ansible_python_interpreter="/usr/local/bin/cutting-python")
    end_masters(kept.parents[1])
    for transport in ("ssh", "asyncssh"):
        lost = gpuprep.status(cut, transport=transport, keep_connections=False).hosts[one.name]
        assert (lost.state, lost.code) == (HostStatus.UNREACHABLE, "E_UNREACHABLE")


# --- what only ssh can do -------------------------------------------------------------------------


def test_a_password_is_ssh_s_business_and_goes_to_its_own_host_alone(
    two: tuple[Host, ...], kept: Path
) -> None:
    own, other = two
    document = fleet(*two, ansible_user="typist")
    passwords = {"ansible_password": PASSWORD, "ansible_become_password": PASSWORD}
    document["all"]["hosts"][own.name] |= passwords
    since = time.time()
    _, ours = both(kept, document)
    assert ours.hosts[own.name].error is None
    assert ours.hosts[other.name].state is HostStatus.UNREACHABLE
    accepted = root(other.name, f"journalctl -t sshd --since=@{since:.0f} -o cat")
    assert "Accepted" not in accepted
    assert "Failed password" not in accepted
    (warning,) = by(ours)
    assert f"({own.name}) by ssh" in warning
    assert "password" in warning


def test_a_key_of_the_agent_is_enough(
    two: tuple[Host, ...], kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        while not Path(path).exists():
            time.sleep(0.05)
        subprocess.run(["ssh-add", "-q", str(LOGIN_KEY)], check=True)
        document = fleet(*two, ansible_ssh_common_args=ssh_arguments(IdentitiesOnly="no"))
        del document["all"]["vars"]["ansible_ssh_private_key_file"]
        _, ours = both(kept, document)
    finally:
        agent.terminate()
        agent.wait()
    assert {host.error for host in ours.hosts.values()} == {None}
    assert not by(ours)
    assert masters(kept) == []


def test_a_host_behind_another_is_reached(
    two: tuple[Host, ...], kept: Path, tmp_path: Path
) -> None:
    gate, behind = two
    config = tmp_path / "config"
    config.write_text(
        f"Host gate\n  HostName {gate.address}\n  User ops\n  IdentityFile {LOGIN_KEY}\n"
        f"  UserKnownHostsFile {KNOWN_HOSTS}\n  IdentitiesOnly yes\n"
    )
    arguments = f"-F {config} {ssh_arguments(ProxyJump='gate')}"
    _, ours = both(kept, fleet(behind, ansible_ssh_common_args=arguments))
    assert ours.hosts[behind.name].error is None
    assert not by(ours)
    assert masters(kept) == []


@pytest.mark.slow
def test_a_master_of_the_users_own_is_used(two: tuple[Host, ...], kept: Path) -> None:
    (one, _) = two
    arguments = ssh_arguments(ControlPath=f"{kept.parents[1]}/own")
    _, ours = both(kept, fleet(one, ansible_ssh_common_args=arguments))
    assert ours.hosts[one.name].error is None
    assert "controlpath" in by(ours)[0]


def test_hosts_may_choose_for_themselves(two: tuple[Host, ...], kept: Path) -> None:
    document = fleet(*two)
    document["all"]["hosts"][two[0].name]["gpuprep_transport"] = "asyncssh"
    result = gpuprep.status(document)
    assert {host.error for host in result.hosts.values()} == {None}
    assert len(masters(kept)) == 1


# --- runs that are stopped ------------------------------------------------------------------------


def test_a_cancelled_run_leaves_no_connection(two: tuple[Host, ...]) -> None:
    (one, _) = two
    cancel = threading.Event()
    hung = fleet(one, ansible_python_interpreter="/usr/local/bin/slow-python")
    ended: list[FleetResult] = []

    def run() -> None:
        ended.append(gpuprep.status(hung, cancel=cancel, transport="asyncssh"))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + WAIT
    looking = ["pgrep", "-f", "slow-python -S"]
    while hosts.run(one.name, looking).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    cancel.set()
    thread.join(WAIT)
    assert ended[0].exit_code is ExitCode.CANCELLED
    while hosts.run(one.name, ["pgrep", "-fc", r"^sshd: ops@notty"]).stdout.strip() not in {
        "",
        "0",
    }:
        assert time.monotonic() < deadline
        time.sleep(0.2)
