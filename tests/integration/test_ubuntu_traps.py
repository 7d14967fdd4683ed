"""What gets in a driver's way on Ubuntu: modules that lag behind, snaps, locks, firewalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import Fresh, Lab, ids
from test_ubuntu_hosts import A10, DRIVER_ONLY, JAMMY, NOBLE, V100, archive, packages, prepared

from gpuprep.model import HostStatus

if TYPE_CHECKING:
    from gpuprep.model import HostResult

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


def codes(host: HostResult) -> set[str]:
    return {warning.code for warning in host.warnings}


# --- modules that the archive has ready -----------------------------------------------------------


def test_modules_that_the_archive_lacks_are_seen_in_the_plan(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10], secure_boot=True)
    lab.sh(name, "apt-get -qq update")
    # The archive as it is while Canonical has not built for the newest kernel yet.
    lists = "/var/lib/apt/lists/*_restricted_binary-amd64_Packages"
    kernel = JAMMY.kernel.uname
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-5.*{kernel}$/s/nvidia/gone/' {lists}")
    bare = lab.state(name)
    refused = lab.apply(name, **DRIVER_ONLY).hosts[name]
    assert (refused.state, refused.code) == (HostStatus.REFUSED, "E_READY_MODULES")
    assert f"for {kernel} it has none" in str(refused.error)
    assert lab.state(name).differences(bare) == set()
    # Where nothing forbids it, the archive's own sources are built.
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-595-server-open/s/gone/nvidia/' {lists}")
    lab.sh(name, f"sed -i 's/linux-modules-gone-595/linux-modules-nvidia-595/' {lists}")
    moved = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert f"gpu_driver.package.linux-modules-nvidia-595-server-open-{kernel}" in ids(moved)
    asked = lab.plan(name, **DRIVER_ONLY, gpu_driver_branch="580").hosts[name]
    assert asked.code == "E_READY_MODULES"
    assert f"for {kernel} it has 595 open (595.71.05)" in str(asked.error)
    # An archive that has them again is an archive that is used.
    lab.sh(name, "rm /var/lib/apt/lists/*_Packages; apt-get -qq update")
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])


def test_a_bare_host_whose_next_kernel_has_none_gets_those_of_the_running_one(
    lab: Lab, fresh: Fresh
) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10], secure_boot=True)
    archive(lab, name, JAMMY.name, "kernel-first")
    lab.sh(name, "unattended-upgrade -v")
    planned = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert "W_NEXT_KERNEL_MODULES" in codes(planned)
    assert f"gpu_driver.package.linux-modules-nvidia-580-server-open-{JAMMY.kernel.uname}" in ids(
        planned
    )
    applied = lab.apply(name, **DRIVER_ONLY).hosts[name]
    assert applied.state is not HostStatus.PREPARED  # the next boot would lose the GPUs
    checks = {check.id: check.status for check in applied.checks}
    assert (checks["module.on_disk"], checks["module.next_boot"]) == ("passed", "failed")
    assert f"linux-modules-nvidia-580-server-open-{JAMMY.kernel.uname}" in packages(lab, name)


def test_without_secure_boot_the_archives_sources_are_built_instead(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image=NOBLE.name, gpus=[A10])
    lab.sh(name, "apt-get -qq update")
    lists = "/var/lib/apt/lists/*_restricted_binary-amd64_Packages"
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-/s/nvidia/gone/' {lists}")
    settings = {**DRIVER_ONLY, "gpu_driver_source": "distro"}
    assert prepared(lab.apply(name, **settings).hosts[name])
    assert "nvidia-dkms-580-server-open" in packages(lab, name)
    again = lab.plan(name, **settings)
    assert ids(again, name) == set()


def test_a_v100_on_26_04_is_refused_where_its_branch_has_no_modules(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-26.04", gpus=[V100], shape="VM.GPU3.1", secure_boot=True)
    lab.sh(name, "apt-get -qq update")
    lists = "/var/lib/apt/lists/*_restricted_binary-amd64_Packages"
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-580/s/nvidia/gone/' {lists}")
    refused = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert refused.code == "E_READY_MODULES"
