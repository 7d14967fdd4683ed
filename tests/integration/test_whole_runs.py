"""Whole runs with other settings than the defaults: planned, carried out as planned, proven."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from lab import ids
from toy_component import tree_with_toy

from gpuprep.components import BY_NAME, NAMES
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab import Fresh, Lab

    from gpuprep.model import FleetResult

pytestmark = pytest.mark.sandbox

A10 = ["10de:2236"]
TRIPS = 16  # round trips of a first installation of four components
TRANSACTIONS = 4  # of them, package transactions with a change
# What each host is set to, in the inventory as users do it.
WANTED: dict[str, dict[str, Any]] = {
    "w-570": {"gpu_driver_branch": "570"},
    "w-595": {"gpu_driver_branch": "595", "gpu_driver_profile": "compute"},
    "w-pinned": {
        "cuda_toolkit_versions": ["12.9", "13.0"],
        "cuda_toolkit_default": "12.9",
        "gpu_driver_persistence": False,
        "conda_prefix": "/srv/conda",
        "gpuprep_short_cut": False,
    },
}
# An image that comes with a driver of its own, which must stay.
IMAGE = {"gpu_driver_branch": "570", "gpuprep_components": ["driver"]}
KEPT = {"gpu_driver_branch": "keep"}


@dataclass(frozen=True)
class Runs:
    """The same fleet, applied one run after the other.

    Attributes:
        first: every host bare.
        second: the host with the kept driver gets everything else; of the others nothing differs.
        third: nothing differs anywhere.
        commands: commands run as root on each host, before and after each run.

    """

    first: FleetResult
    second: FleetResult
    third: FleetResult
    commands: tuple[Mapping[str, int], ...]


@pytest.fixture(scope="module")
def runs(lab: Lab) -> Iterator[Runs]:
    names = (*WANTED, "w-kept")
    specs = [HostSpec.from_dict(name, {"gpus": A10, "shape": "VM.GPU.A10.1"}) for name in names]
    lab.start(*specs)
    counts = [{name: lab.commands(name) for name in names}]
    results = []
    for kept in (IMAGE, KEPT, KEPT):
        results.append(lab.apply_each({**WANTED, "w-kept": kept}))
        counts.append({name: lab.commands(name) for name in names})
    first, second, third = results
    yield Runs(first, second, third, tuple(counts))
    hosts.stop_all(names)


def versions(result: FleetResult, name: str) -> tuple[str, str, str]:
    found = result.hosts[name].versions
    return found["driver"].split(".")[0], found["cuda"], found["cudnn"].split(".")[0]


def test_every_host_ends_as_planned(runs: Runs) -> None:
    for result in (runs.first, runs.second, runs.third):
        errors = {n: (h.state, h.error) for n, h in result.hosts.items() if not h.ok}
        assert errors == {}
        assert result.exit_code is ExitCode.OK


def test_what_is_installed_is_what_the_driver_can_run(runs: Runs) -> None:
    assert versions(runs.first, "w-570") == ("570", "12.8", "9")
    assert versions(runs.first, "w-595") == ("595", "13.2", "9")
    assert versions(runs.first, "w-pinned") == ("580", "12.9, 13.0", "9")


def test_cudnn_goes_with_the_toolkits(lab: Lab, runs: Runs) -> None:
    assert runs.first.hosts
    for name, majors in {"w-570": {"12"}, "w-595": {"13"}, "w-pinned": {"12"}}.items():
        form = "${db:Status-Abbrev}${Package}\\n"
        listed = lab.run(name, "dpkg-query", "-W", "-f", form, "libcudnn9-cuda-*")
        assert set(re.findall(r"^[hi]i +libcudnn9-cuda-(\d+)", listed, re.MULTILINE)) == majors, (
            name
        )


def test_settings_beyond_versions_arrive(lab: Lab, runs: Runs) -> None:
    assert runs.first.hosts
    assert lab.run("w-pinned", "readlink", "-f", "/usr/local/cuda").strip().endswith("12.9")
    assert "conda" in lab.run("w-pinned", "/srv/conda/bin/conda", "--version")
    show = ("systemctl", "show", "-P", "ActiveState", "-P", "UnitFileState", "nvidia-persistenced")
    assert lab.run("w-pinned", *show).split() == ["inactive", "disabled"]
    assert lab.run("w-570", *show).split() == ["active", "enabled"]


def test_a_driver_that_is_kept_is_not_touched_and_the_rest_fits_it(lab: Lab, runs: Runs) -> None:
    steps = runs.second.hosts["w-kept"].steps
    assert {step.role for step in steps} == {BY_NAME[name].role for name in NAMES} - {"gpu_driver"}
    assert versions(runs.second, "w-kept") == ("570", "12.8", "9")
    assert (
        runs.first.hosts["w-kept"].versions["driver"]
        == runs.second.hosts["w-kept"].versions["driver"]
    )
    held = set(lab.run("w-kept", "apt-mark", "showhold").split())
    assert held & {"nvidia-open-570", "cuda-drivers-570"}  # which, the machine's kernel decides


def test_a_second_run_changes_nothing(runs: Runs) -> None:
    for name in WANTED:
        assert (runs.second.hosts[name].changed, ids(runs.second, name)) == (False, set())
    assert runs.third.changed is False
    assert ids(runs.third.hosts["w-kept"]) == set()


def test_round_trips_are_counted_as_the_hosts_count_them(runs: Runs) -> None:
    results = (runs.first, runs.second, runs.third)
    for result, before, after in zip(results, runs.commands, runs.commands[1:], strict=False):
        trips = sum(after[name] - before[name] for name in before)
        assert result.counts["round_trips"] == trips


def test_a_first_installation_is_cheap(lab: Lab, runs: Runs) -> None:
    before, after = runs.commands[:2]
    for name in WANTED:
        assert after[name] - before[name] <= TRIPS, name
        books = lab.sh(name, "cat /var/log/apt/history.log")
        ours = re.findall(
            r"^Commandline: apt-get install .*--allow-downgrades", books, re.MULTILINE
        )
        assert 0 < len(ours) <= TRANSACTIONS, (name, ours)
    assert runs.first.counts["observations"] == 2 * len(runs.first.hosts)


def test_a_converged_host_costs_one_observation(runs: Runs) -> None:
    quiet = [name for name in runs.third.hosts if name != "w-pinned"]  # it wants no short cut
    before, after = runs.commands[2:]
    assert {name: after[name] - before[name] for name in quiet} == dict.fromkeys(quiet, 1)


def test_a_fifth_component_reaches_a_host(
    lab: Lab, fresh: Fresh, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = fresh(image="debian-12")
    tree = tree_with_toy(tmp_path_factory.mktemp("tree"))
    inventory = lab.inventory(name, variables={"gpuprep_components": ["toy"]})
    report = tree / "report.json"

    def apply() -> dict[str, Any]:
        command = ["-m", "gpuprep", "apply", "-i", str(inventory), "--report", str(report)]
        done = subprocess.run(
            [sys.executable, *command, "-e", json.dumps({"toy_greeting": "good day"})],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(report.read_text())["hosts"][name]
        return found

    first = apply()
    assert [step["status"] for step in first["steps"]] == ["done"]
    assert first["state"] == HostStatus.PREPARED
    assert lab.run(name, "cat", "/etc/gpuprep-toy") == "good day 1.2\n"
    second = apply()
    assert (second["changed"], second["versions"]["toy"]) == (False, "1.2")
