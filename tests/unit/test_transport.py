"""Which program a host is reached by, and what is said where that is not the one asked for."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest
from test_login import HERE, reach, rig, run  # noqa: F401 - fixtures

import gpuprep
from gpuprep.errors import ConfigError
from gpuprep.model import HostStatus
from gpuprep.run import transports
from gpuprep.run.execution import _by_ssh

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_rig import Rig
    from test_login import Reach

SUDO = gpuprep.Access(become_password="typed-sudo")  # noqa: S106
OVER = {"gpuprep_transport": "asyncssh"}


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name == "asyncssh" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_a_program_around_ssh_is_used_and_told(reach: Reach) -> None:  # noqa: F811
    ssh = reach.program("ssh", HERE)
    target = reach.target("a", ssh, **OVER)
    assert reach.hosts.run_script(target, "print('here')", 10) == "here\n"
    assert "program of its own" in reach.clients.why_by_ssh(target.connection)
    other = reach.target("b", ssh)
    assert reach.hosts.run_script(other, "print('here')", 10) == "here\n"
    assert reach.clients.why_by_ssh(other.connection) == ""


@pytest.mark.usefixtures("missing")
def test_without_asyncssh_its_host_alone_is_refused_and_the_cure_told(
    reach: Reach,  # noqa: F811
) -> None:
    with pytest.raises(ConfigError, match=r"-m pip install asyncssh"):
        reach.target("a", reach.program("ssh", HERE), **OVER)
    assert reach.ask("b", reach.program("ssh", HERE)) == "here\n"


@pytest.mark.usefixtures("missing")
def test_without_asyncssh_nothing_runs_that_asks_for_it() -> None:
    with pytest.raises(ConfigError, match=r"extra \[asyncssh\]"):
        gpuprep.status("a,b", transport="asyncssh")


def test_there_are_no_other_transports() -> None:
    with pytest.raises(ConfigError, match="expected ssh or asyncssh, found 'telnet'"):
        transports.check("telnet")


@pytest.mark.parametrize(
    ("option", "variable", "told"),
    [
        ("asyncssh", None, True),
        (None, "asyncssh", True),
        ("ssh", "asyncssh", False),
        (None, None, False),
        ("asyncssh", "ssh", True),
    ],
)
def test_the_option_wins_over_the_inventory(
    rig: Rig,  # noqa: F811
    tmp_path: Path,
    option: str | None,
    variable: str | None,
    *,
    told: bool,
) -> None:
    """The pretended ssh is a script, for which asyncssh must not stand in: a warning says so."""
    hosts = {"a": {"gpuprep_transport": variable} if variable else {}, "b": {}}
    result = run(rig, tmp_path, hosts, transport=option, access=SUDO)
    assert {host.error for host in result.hosts.values()} == {None}
    warned = [text for text in result.warnings if text.startswith("transport:")]
    assert bool(warned) is told
    if told:
        assert "(a, b)" in warned[0] if option else "(a)" in warned[0]


def test_a_value_of_no_sense_is_its_hosts_own_fault(rig: Rig, tmp_path: Path) -> None:  # noqa: F811
    result = run(rig, tmp_path, {"a": {"gpuprep_transport": "telnet"}, "b": {}}, access=SUDO)
    assert (result.hosts["a"].state, result.hosts["a"].code) == (HostStatus.REFUSED, "E_CONFIG")
    assert result.hosts["b"].error is None


def test_reasons_are_told_once_with_their_hosts() -> None:
    plan = {"by_ssh": {f"h{number}": "a password" for number in range(7)}}
    proof = {"by_ssh": {"h1": "a password", "x": "controlpath /x"}}
    assert json.dumps(list(_by_ssh([plan, proof]))) == json.dumps(
        [
            "transport: 7 hosts (h0, h1, h2, h3, h4, ...) by ssh, not by asyncssh: a password",
            "transport: 1 host (x) by ssh, not by asyncssh: controlpath /x",
        ]
    )
