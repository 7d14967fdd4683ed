"""The lock on a host: months later, with newer versions offered, exactly what was locked."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mirrors
import pytest
from lab import Fresh, Lab, ids

import gpuprep
from gpuprep.cli import run
from gpuprep.errors import ExitCode
from gpuprep.lock.lockfile import read_lock
from gpuprep.model import FleetResult, HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec
from sandbox.nvrepo import content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.sandbox

_, FIRST, LAST, _ = (driver.version for driver in content.DRIVERS)
LATER = (LAST, "13.2.", "9.28.")  # versions that come out after the locking
COMMON = "cuda-toolkit-config-common"  # needed by others in any version
MIRROR = "months"


def publish(*unlike: str) -> None:
    """Let the mirror hold what is not of these versions."""
    debs = mirrors.packages("debian12")
    mirrors.publish(
        MIRROR, "debian12", [d for d in debs if not d.name.split("_")[1].startswith(unlike)]
    )


@dataclass(frozen=True)
class Locked:
    """A host that was locked bare, and prepared when newer versions were offered."""

    name: str
    inventory: Path
    file: Path
    applied: FleetResult

    @property
    def setting(self) -> dict[str, str]:
        """The variable that ``--locked`` sets."""
        return {"gpuprep_lock_file": str(self.file)}

    @property
    def versions(self) -> Mapping[str, str]:
        """Every locked package."""
        (one,) = read_lock(self.file).classes
        return {**one.packages, **one.requires}

    def plan(self, **settings: str) -> FleetResult:
        """Plan with the lock."""
        return gpuprep.plan(self.inventory, variables={**self.setting, **settings})


@pytest.fixture(scope="module")
def locked(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    name, file = "l-a10", tmp_path_factory.mktemp("lock") / "gpuprep.lock.yml"
    lab.start(HostSpec(name, gpus=("10de:2236",)))
    # The open modules of that old a driver do not build on every kernel that hosts here run.
    variables = {"gpuprep_mirror": f"{lab.mirror}/{MIRROR}", "gpu_driver_flavour": "proprietary"}
    inventory = lab.inventory(name, variables=variables)
    publish(*LATER)
    assert run(["lock", "-q", "-i", str(inventory), "--lock-file", str(file)]) == ExitCode.OK
    publish()
    applied = gpuprep.apply(inventory, variables={"gpuprep_lock_file": str(file)})
    yield Locked(name, inventory, file, applied)
    hosts.stop_all([name])
    shutil.rmtree(mirrors.WEB / MIRROR)


def on_host(lab: Lab, name: str) -> dict[str, str]:
    lines = lab.run(name, "dpkg-query", "-W", "-f", "${Package}\t${Version}\n").splitlines()
    return dict(line.split("\t", 1) for line in lines)


def test_the_host_gets_exactly_what_was_locked(lab: Lab, locked: Locked) -> None:
    host = locked.applied.hosts[locked.name]
    assert (host.state, host.error) == (HostStatus.PREPARED, None)
    there = on_host(lab, locked.name)
    both = there.keys() & locked.versions.keys()
    assert {"cuda-drivers-580", "cuda-nvcc-13-0", "libcudnn9-cuda-13", COMMON, "libcuda1"} <= both
    assert {n: there[n] for n in both} == {n: locked.versions[n] for n in both}
    assert there["libcuda1"].startswith(FIRST)
    offered = {deb.name.split("_")[0] for deb in mirrors.packages("debian12")}
    free = {n for n in there.keys() & offered - both if "-pinning-" not in n}
    assert free <= {"dkms"}, "packages of the repository that the lock forgot"


def test_a_second_time_nothing_changes(locked: Locked) -> None:
    again = gpuprep.apply(locked.inventory, variables=locked.setting)
    assert (again.exit_code, again.changed, ids(again, locked.name)) == (ExitCode.OK, False, set())


def test_check_says_what_is_newer(locked: Locked, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lock", "--check", "--lock-file", str(locked.file)]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert any(f" cuda-drivers-580 {FIRST}-1 -> {LAST}-1" in line for line in lines)
    assert any(f" {COMMON} 13.0.96-1 -> 13.2.75-1" in line for line in lines)
    assert not any("595." in line for line in lines)


def test_what_moved_on_is_brought_back(lab: Lab, locked: Locked) -> None:
    lab.sh(locked.name, f"apt-get install -qy {COMMON}=13.2.75-1")
    assert ids(locked.plan(), locked.name) == {f"cuda_toolkit.package.{COMMON}"}
    assert gpuprep.apply(locked.inventory, variables=locked.setting).exit_code is ExitCode.OK
    assert on_host(lab, locked.name)[COMMON] == locked.versions[COMMON]


def test_another_setting_is_refused_with_the_difference(locked: Locked) -> None:
    host = locked.plan(gpu_driver_version=LAST).hosts[locked.name]
    assert (host.state, host.code, host.steps) == (HostStatus.REFUSED, "E_LOCK_DIFFERS", ())
    assert f"driver is locked at {FIRST}, wanted {LAST}" in (host.error or "")


def test_what_is_not_offered_any_more_is_told_before_packages_change(
    lab: Lab, locked: Locked, fresh: Fresh
) -> None:
    name = fresh(gpus=["10de:2236"])
    before = on_host(lab, name)
    publish(FIRST)
    mirror = {"gpuprep_mirror": f"{lab.mirror}/{MIRROR}"}
    host = lab.apply(name, **mirror, **locked.setting).hosts[name]
    assert host.state is HostStatus.FAILED
    assert FIRST in (host.error or "")
    assert "was not started" in (host.error or "")
    assert on_host(lab, name) == before
