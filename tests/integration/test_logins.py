"""Logins as they are in the field: other shells, sudo that wants a terminal, passwords typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
import yaml

import gpuprep
from gpuprep.model import HostStatus
from gpuprep.run import bundle
from gpuprep.run import environment as engine
from sandbox import bootstrap, hosts, inventory
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuprep.model import FleetResult
    from sandbox.register import Host

pytestmark = pytest.mark.sandbox

NAMES = ("login-1", "login-2")
PASSWORD = "Sesame-21"  # noqa: S105
# Prints before and after whatever it is told to run.
NOISY = """#!/bin/sh
echo 'Welcome to {"schema": 1, }'
/bin/sh "$@"
code=$?
echo 'bye bye'
exit $code
"""
CHOSEN: dict[str, Any] = {}  # variables of all hosts, by which one test is run over both clients
SHELLS = {"fish": "/usr/bin/fish", "tcsh": "/usr/bin/tcsh", "noisy": "/usr/local/bin/noisy"}
SET_UP = f"""
apt-get -q update && apt-get -qy --no-install-recommends install fish tcsh
cat >{SHELLS["noisy"]} && chmod 755 {SHELLS["noisy"]}
useradd --create-home --shell /bin/bash typist
echo typist:{PASSWORD} | chpasswd
echo ops:{PASSWORD} | chpasswd
echo 'typist ALL=(ALL) ALL' >/etc/sudoers.d/typist
"""


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Host, ...]]:
    """Start two hosts, each with further shells and a user who has no key."""
    bootstrap.ensure("sshpass")
    started = hosts.start_all(tuple(HostSpec(name) for name in NAMES), "logins")
    for name in NAMES:
        root(name, SET_UP, stdin=NOISY)
    yield started
    hosts.stop_all(NAMES)


@pytest.fixture(autouse=True, params=["ssh", pytest.param("asyncssh", marks=pytest.mark.slow)])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(CHOSEN, "gpuprep_transport", request.param)
    return str(request.param)


@pytest.fixture
def one(two: tuple[Host, ...]) -> Iterator[Host]:
    """Give the first host; its login is as it was afterwards."""
    yield two[0]
    root(NAMES[0], "usermod --shell /bin/bash ops; rm -f /etc/sudoers.d/zz-test")


def root(name: str, script: str, stdin: str | None = None) -> str:
    done = hosts.run(name, ["sh", "-ec", script], timeout=300, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fleet(*some: Host, **variables: Any) -> dict[str, Any]:
    """Return an inventory of these hosts, with further variables for all of them."""
    document = inventory.document(some)
    document["all"]["vars"] |= {"gpuprep_components": [], **CHOSEN, **variables}
    return document


def play(folder: Path, document: dict[str, Any], *tasks: dict[str, Any]) -> str:
    """Run tasks by plain ansible-playbook; they must succeed."""
    (folder / "hosts.json").write_text(json.dumps(document))
    site = [{"hosts": "all", "gather_facts": False, "tasks": list(tasks)}]
    (folder / "site.yml").write_text(yaml.safe_dump(site))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "-v", "site.yml"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            **engine.playbook_user_environment(os.environ, folder),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answered(result: FleetResult, name: str) -> None:
    host = result.hosts[name]
    assert host.state not in {HostStatus.UNREACHABLE, HostStatus.FAILED}, host.error
    assert host.facts is not None


LEASE: list[dict[str, Any]] = [
    {"gpuprep.core.lease": None},
    {"gpuprep.core.lease": {"state": "absent"}},
]
REBOOT: dict[str, Any] = {
    "gpuprep.core.reboot": {"boot_time_command": "awk '{print $22}' /proc/1/stat"}
}
KEPT = "find /tmp -name 'gpuprep-*'"


@pytest.mark.parametrize("shell", SHELLS)
def test_any_login_shell_will_do(one: Host, tmp_path: Path, shell: str) -> None:
    root(one.name, f"usermod --shell {SHELLS[shell]} ops")
    answered(gpuprep.status(fleet(one)), one.name)
    assert bundle.collect(fleet(one))[one.name].problem is None
    more = [REBOOT] if shell == "noisy" else []
    said = play(tmp_path, fleet(one), *LEASE, *more)
    assert "rebooted" in said or not more
    hosts.wait_ready(one.name)


@pytest.mark.parametrize("asks", [False, True])
def test_a_sudo_that_wants_a_terminal_gets_one(one: Host, tmp_path: Path, *, asks: bool) -> None:
    rules = "Defaults requiretty\n" + "ops ALL=(ALL) ALL\n" * asks
    root(one.name, "cat >/etc/sudoers.d/zz-test", stdin=rules)
    document = fleet(one, **({"ansible_become_password": PASSWORD} if asks else {}))
    answered(gpuprep.status(document), one.name)
    answered(gpuprep.verify(document, tier="full"), one.name)
    assert bundle.collect(document)[one.name].problem is None
    play(tmp_path, document, *LEASE)
    assert root(one.name, KEPT) == ""


def test_without_a_terminal_the_cure_is_told(one: Host) -> None:
    root(one.name, "cat >/etc/sudoers.d/zz-test", stdin="Defaults requiretty\n")
    found = gpuprep.status(fleet(one, ansible_ssh_use_tty=False)).hosts[one.name]
    assert (found.code, "!requiretty" in (found.error or "")) == ("E_SUDO_TTY", True)


def test_a_program_that_was_kept_for_a_killed_run_goes_with_the_next(one: Host) -> None:
    root(one.name, "cat >/etc/sudoers.d/zz-test", stdin="Defaults requiretty\n")
    kept = "/tmp/gpuprep-program-abcdefghij"
    root(one.name, f"install -d -o ops {kept}; touch -d '2 hours ago' {kept}; mkdir {kept}x")
    answered(gpuprep.status(fleet(one)), one.name)
    assert root(one.name, KEPT).split() == [f"{kept}x"]  # somebody else's
    root(one.name, f"rmdir {kept}x")


# --- passwords ------------------------------------------------------------------------------------


def logins(name: str, since: float) -> list[str]:
    """Return what sshd of a host tells of logins."""
    lines = root(name, f"journalctl -t sshd --since=@{since:.0f} -o cat").splitlines()
    words = ("Accepted ", "Failed ", "authentication failure")
    return [" ".join(line.split()[:4]) for line in lines if line.startswith(words)]


@pytest.mark.parametrize("mechanism", ["ssh_askpass", "sshpass"])
def test_a_typed_password_goes_to_the_host_that_asks_for_one(
    two: tuple[Host, ...], tmp_path: Path, mechanism: str
) -> None:
    """Beside a host with a key, by the command line on a terminal."""
    key, typed = two
    document = fleet(*two, ansible_ssh_password_mechanism=mechanism)
    document["all"]["hosts"][typed.name]["ansible_user"] = "typist"
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps(document))
    since = time.time()
    report = tmp_path / "report.json"
    words = ["status", "-i", str(path), "-k", "-K", "--report", str(report)]
    command = [sys.executable, "-m", "gpuprep", *words]
    with (tmp_path / "terminal").open("wb") as terminal:
        child = pexpect.spawn(command[0], command[1:], timeout=120)
        child.logfile_read = terminal
        for prompt in ("SSH password", "BECOME password"):
            child.expect(prompt)
            child.sendline(PASSWORD)
        child.expect(pexpect.EOF)
    found = json.loads(report.read_text())["hosts"]
    assert {host["error"] for host in found.values()} == {None}, found
    assert logins(key.name, since) == ["Accepted publickey for ops"]
    assert logins(typed.name, since) == ["Accepted password for typist"]
    shown = (tmp_path / "terminal").read_text() + report.read_text()
    assert PASSWORD not in shown


@pytest.mark.parametrize("first", [0, 1])
def test_the_password_of_one_host_is_offered_to_no_other(two: tuple[Host, ...], first: int) -> None:
    """In either order; the other host would take it."""
    own, other = two[first], two[1 - first]
    document = fleet(*two, ansible_user="typist")
    passwords = {"ansible_password": PASSWORD, "ansible_become_password": PASSWORD}
    document["all"]["hosts"][own.name] |= passwords
    since = time.time()
    result = gpuprep.status(document)
    answered(result, own.name)
    assert result.hosts[other.name].state is HostStatus.UNREACHABLE
    assert "Permission denied" in (result.hosts[other.name].error or "")
    assert logins(own.name, since) == ["Accepted password for typist"]
    assert logins(other.name, since) == []
