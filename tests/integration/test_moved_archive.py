"""An archive that moves on after a host has read its index: what the index names is gone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import mirrors
import pytest

from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus
from sandbox.nvrepo import rpm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Fresh, Lab

pytestmark = pytest.mark.sandbox

MIRROR = "moving"
COMMON = "cuda-toolkit-config-common"  # needed by others in any version
BEFORE, AFTER = "13.0.96-1", "13.2.75-1"
CUDA_ONLY = {"gpuprep_components": ["cuda"], "cuda_toolkit_version": "13.0"}
SYSTEMS = {
    "debian-12": (f"dpkg --remove --force-all {COMMON} 2>&1", "dpkg-query -W -f '${Version}'"),
    "ol-9": (f"rpm -e --nodeps {COMMON}", "rpm -q --qf '%{VERSION}-%{RELEASE}'"),
}


def publish(system: str, common: str) -> None:
    """Let the mirror hold one version of the common package, and all others."""
    if system == "debian-12":
        debs = mirrors.packages("debian12")
        kept = [d for d in debs if d.name.split("_")[0] != COMMON or d.name.split("_")[1] == common]
        mirrors.publish(MIRROR, "debian12", kept)
        return
    rpms = {path: rpm.read(path) for path in mirrors.packages("rhel9", "*.rpm")}
    version = common.partition("-")[0]
    chosen = [p for p, one in rpms.items() if one.name != COMMON or one.version == version]
    mirrors.publish_rpms(MIRROR, system, chosen)


@pytest.fixture
def moving() -> Iterator[None]:
    yield
    shutil.rmtree(mirrors.WEB / MIRROR, ignore_errors=True)


@pytest.mark.usefixtures("moving")
@pytest.mark.parametrize("system", ["debian-12", pytest.param("ol-9", marks=pytest.mark.slow)])
def test_an_index_that_is_older_than_the_archive_is_read_again(
    lab: Lab, fresh: Fresh, system: str
) -> None:
    remove, query = SYSTEMS[system]
    name = fresh(image=system, gpus=["10de:2236"])
    settings = {**CUDA_ONLY, "gpuprep_mirror": f"{lab.mirror}/{MIRROR}"}
    publish(system, BEFORE)
    assert lab.apply(name, **settings).hosts[name].state == HostStatus.PREPARED
    assert lab.sh(name, f"{query} {COMMON}").startswith(BEFORE)
    publish(system, AFTER)
    lab.sh(name, remove)
    again = lab.apply(name, **settings)
    assert (again.exit_code, again.hosts[name].error) == (ExitCode.OK, None)
    assert lab.sh(name, f"{query} {COMMON}").startswith(AFTER)
