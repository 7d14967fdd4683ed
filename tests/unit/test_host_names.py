"""A host may have any name: no file is called by it, and to Ansible it is never a pattern."""

from __future__ import annotations

import importlib
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest
from ansible.inventory.manager import split_host_pattern
from hypothesis import given
from hypothesis import strategies as st

from gpuprep.errors import ExitCode
from gpuprep.fleet.patterns import exactly
from gpuprep.model import HostStatus
from gpuprep.run.bundle import Diagnosis, pack
from gpuprep.run.environment import collections_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleet_rig import Rig

# What OCI takes for a display name has up to 255 characters.
NAMES = (
    "n" * 255,
    "n" * 254 + "m",
    "日" * 255,
    "ü" * 130,
    "a/b",
    "../../up",
    "/etc/passwd",
    "..",
    ".",
    ".hidden",
    "a b",
    "a_b",
    "-x",
    "%h",
    "*",
    "!well",
    "@well",
    "~well",
    "well,a_b",
    "well:!a_b",
    " well ",
)
FEW = ("n" * 255, "日" * 255, "../../up", "a b", "!well", "well,a_b", "well:!a_b", " well ", "well")
WHEN = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return fleet_rig.make(tmp_path, monkeypatch, "runs")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(collections_root()), *sys.path])
    module = importlib.import_module("ansible_collections.gpuprep.core.plugins.plugin_utils._state")
    monkeypatch.setenv(module.HANDED_OVER, str(tmp_path / "state"))
    yield module
    for name in [one for one in sys.modules if one.startswith("ansible_collections")]:
        del sys.modules[name]


def fleet(*names: str) -> dict[str, dict[str, Any]]:
    return {name: {"rig_name": f"host{number}"} for number, name in enumerate(names)}


@given(st.text(min_size=1))
def test_the_pattern_of_a_host_means_that_host_alone(name: str) -> None:
    pattern = exactly(name)
    assert split_host_pattern([pattern]) == [pattern]
    assert pattern[0] not in "!&@"
    if pattern != name:
        assert re.match(pattern[1:], name)
        assert not any(re.match(pattern[1:], other) for other in (f"{name}x", f"x{name}"))


def test_hosts_of_any_name_are_planned(rig: Rig) -> None:
    result = rig.run("plan", fleet(*NAMES))
    states = {name: (host.state, host.error) for name, host in result.hosts.items()}
    assert states == dict.fromkeys(NAMES, (HostStatus.DRIFTED, None))


def test_hosts_of_any_name_are_prepared(rig: Rig) -> None:
    result = rig.run("apply", fleet(*FEW))
    states = {name: (host.state, host.error) for name, host in result.hosts.items()}
    assert states == dict.fromkeys(FEW, (HostStatus.PREPARED, None))
    assert result.exit_code is ExitCode.OK


def test_a_name_that_is_no_text_at_all_is_its_hosts_own_matter(state: Any) -> None:
    for name in (*NAMES, "\ud800"):
        state.write(state.plan_name(name), [name])
        state.count_command(name, "observation", "commands-")
    assert [state.read(state.plan_name(name)) for name in NAMES] == [[name] for name in NAMES]
    counted = list(state.state_directory().glob("commands-*"))
    assert len(counted) == len(NAMES) + 1


def test_the_names_of_a_machine_are_told_whatever_they_are(state: Any) -> None:
    names = (*NAMES, "\ud800")
    for number, name in enumerate(names):
        assert state.others_on("m", name) == sorted(names[:number])
    assert state.others_on("m", names[0]) == sorted(names[1:])
    assert state.others_on("other", names[0]) == []


def test_every_host_has_an_archive_of_its_own(tmp_path: Path) -> None:
    paths = {pack(Diagnosis(name), tmp_path, None, WHEN) for name in (*NAMES, "\ud800", "gpu-1")}
    assert len(paths) == len(NAMES) + 2
    assert tmp_path / "gpuprep-gpu-1-20261121T020000Z.tar.gz" in paths
    assert {path.parent for path in paths} == {tmp_path}
