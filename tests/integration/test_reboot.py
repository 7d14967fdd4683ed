"""A real reboot: the role reboots a virtual machine whose kernel runs another driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import Lab, ids

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus, StepStatus
from sandbox import hosts, services
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

NAME, BESIDE = "t-vm", "t-beside"  # the network is there while a container runs
SETTINGS = {"gpuprep_components": ["driver", "conda"]}
REBOOT = "gpu_driver.reboot.host"


@pytest.fixture
def machine(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """Start a virtual machine that runs nouveau; give its inventory."""
    lab.start(HostSpec(BESIDE))
    host = hosts.start_vm(HostSpec(NAME, gpus=("10de:2236",), shape="VM.GPU.A10.1"), "vm")
    hosts.wait_ready(NAME)
    lab.run(NAME, "modprobe", "nouveau")
    assert "nouveau" in lab.run(NAME, "cat", "/proc/modules")
    yield hosts.write_inventory([host], services.start([host]), tmp_path / "hosts.yml")
    hosts.stop_all((NAME, BESIDE))


def boot_id(lab: Lab) -> str:
    return lab.run(NAME, "cat", "/proc/sys/kernel/random/boot_id").strip()


def test_a_host_is_rebooted_into_its_driver_when_that_is_allowed(lab: Lab, machine: Path) -> None:
    before = boot_id(lab)
    asked = gpuprep.apply(machine, variables=SETTINGS)
    host = asked.hosts[NAME]
    assert boot_id(lab) == before  # not allowed, so it is left to the user, and said
    assert host.reboot_required
    assert REBOOT in ids(asked, NAME)
    assert asked.exit_code is ExitCode.NOT_PROVEN, host.error

    allowed = gpuprep.apply(machine, variables={**SETTINGS, "gpu_driver_reboot_allowed": True})
    host = allowed.hosts[NAME]
    assert boot_id(lab) != before, (host.state, host.error, host.steps)
    assert "nouveau" not in lab.run(NAME, "cat", "/proc/modules")
    assert not host.reboot_required
    done = {step.id for step in host.steps if step.status is StepStatus.DONE}
    assert REBOOT in done  # the run went on and looked again
    # No GPU is in the machine, so its driver cannot be loaded: that, and no more, is left.
    left = {step.id for step in host.steps if step.status is not StepStatus.DONE}
    assert left <= {"gpu_driver.load.nvidia"}
    assert host.state is not HostStatus.READY
