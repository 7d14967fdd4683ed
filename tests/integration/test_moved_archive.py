"""An archive that moves on after a host has read its index: what the index names is gone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import mirrors
import pytest

from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Fresh, Lab

pytestmark = pytest.mark.sandbox

MIRROR = "moving"
COMMON = "cuda-toolkit-config-common"  # needed by others in any version
BEFORE, AFTER = "13.0.96-1", "13.2.75-1"
CUDA_ONLY = {"gpuprep_components": ["cuda"], "cuda_toolkit_versions": ["13.0"]}


def publish(common: str) -> None:
    """Let the mirror hold one version of the common package, and all others."""
    parts = {deb: deb.name.split("_") for deb in mirrors.packages("debian12")}
    kept = [deb for deb, (name, version, _) in parts.items() if name != COMMON or version == common]
    mirrors.publish(MIRROR, "debian12", kept)


@pytest.fixture
def moving() -> Iterator[None]:
    yield
    shutil.rmtree(mirrors.WEB / MIRROR, ignore_errors=True)


@pytest.mark.usefixtures("moving")
def test_an_index_that_is_older_than_the_archive_is_read_again(lab: Lab, fresh: Fresh) -> None:
    def version() -> str:
        return lab.run(name, "dpkg-query", "-W", "-f", "${Version}", COMMON)

    name = fresh(gpus=["10de:2236"])
    settings = {**CUDA_ONLY, "gpuprep_mirror": f"{lab.mirror}/{MIRROR}"}
    publish(BEFORE)
    assert lab.apply(name, **settings).hosts[name].state == HostStatus.PREPARED
    assert version() == BEFORE
    publish(AFTER)
    lab.sh(name, f"apt-get clean; dpkg --remove --force-all {COMMON} 2>&1")
    again = lab.apply(name, **settings)
    assert (again.exit_code, again.hosts[name].error) == (ExitCode.OK, None)
    assert version() == AFTER
