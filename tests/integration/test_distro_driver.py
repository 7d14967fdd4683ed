"""Kernel modules that are really compiled: one that fails, and Debian's own that builds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from broken_driver import COMPILER_ERROR, MODULE, publish
from lab import Fresh, Lab, failed_checks

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.model import FleetResult, HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sandbox

DRIVER_ONLY = {"gpuprep_components": ["driver"]}
BROKEN, SOUND = "d-broken", "d-sound"


@pytest.fixture(scope="module")
def uncompilable(lab: Lab) -> Iterator[FleetResult]:
    """Apply to two hosts, one of which is offered a driver that does not compile."""
    gpus = ("10de:2236",)
    lab.start(HostSpec(BROKEN, gpus=gpus), HostSpec(SOUND, gpus=gpus))
    mirror = f"{lab.mirror}/{publish('debian12')}"
    inventory = lab.inventory(BROKEN, SOUND)
    text = inventory.read_text()
    changed = text.replace(
        f"    {BROKEN}:\n", f"    {BROKEN}:\n      gpuprep_mirror: {mirror}\n", 1
    )
    inventory.write_text(changed)
    yield gpuprep.apply(inventory, variables=DRIVER_ONLY)
    hosts.stop_all((BROKEN, SOUND))


def test_a_driver_that_does_not_compile_fails_its_host_only(uncompilable: FleetResult) -> None:
    assert uncompilable.hosts[BROKEN].state is HostStatus.FAILED
    assert uncompilable.hosts[SOUND].state is HostStatus.PREPARED
    assert uncompilable.exit_code is ExitCode.SOME_HOSTS_FAILED


def test_the_first_compiler_error_is_quoted(uncompilable: FleetResult) -> None:
    error = (uncompilable.hosts[BROKEN].error or "").replace("\u2018", "'").replace("\u2019", "'")
    assert COMPILER_ERROR in error
    assert "nv-pci.c:" in error
    assert "/var/lib/dkms/nvidia/" in error  # where to read on


def test_dpkgs_state_is_told_with_commands_that_repair_it(
    lab: Lab, uncompilable: FleetResult
) -> None:
    error = uncompilable.hosts[BROKEN].error or ""
    assert f"{MODULE} (half-configured)" in error
    assert lab.run(BROKEN, "dpkg", "--audit") != ""
    told = re.search(r"Commands: (apt-get[^|\n]*?)(?: \| |$)", error)
    assert told is not None, error
    lab.sh(BROKEN, told[1].replace("apt-get ", "apt-get -y "))
    assert lab.run(BROKEN, "dpkg", "--audit") == ""
    # With a driver that compiles the host can then be prepared.
    repaired = lab.apply(BROKEN, **DRIVER_ONLY)
    assert repaired.hosts[BROKEN].state is HostStatus.PREPARED, repaired.hosts[BROKEN].error


@pytest.mark.slow
def test_debians_own_driver_is_compiled_and_found_under_its_name(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=["10de:2236"])
    lab.sh(name, "apt-get -q update")
    headers = lab.sh(name, "apt-cache depends linux-headers-amd64 | awk '/Depends:/ {print $2}'")
    kernel = headers.split()[0].removeprefix("linux-headers-")
    settings = {
        **DRIVER_ONLY,
        "gpu_driver_source": "distro",
        "gpu_driver_profile": "compute",
        "gpu_driver_kernel": kernel,
        "gpu_driver_persistence": False,  # Debian's daemon ends without a GPU
    }
    result = lab.apply(name, **settings)
    host = result.hosts[name]
    assert (host.state, host.error, failed_checks(host)) == (HostStatus.PREPARED, None, [])
    shown = lab.run(name, "modinfo", "-k", kernel, "nvidia-current")
    facts = {key: value.strip() for key, _, value in (x.partition(":") for x in shown.splitlines())}
    package = lab.run(name, "dpkg-query", "-W", "-f", "${Version}", "nvidia-kernel-dkms")
    assert package.startswith(f"{facts['version']}-")
    assert facts["vermagic"].split()[0] == kernel
    assert int(lab.run(name, "stat", "-Lc", "%s", facts["filename"])) > 10_000_000
    status = lab.run(name, "dkms", "status")
    assert re.search(rf"nvidia-current/{facts['version']}, {kernel}, x86_64: installed", status)
    again = lab.apply(name, **settings)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)
