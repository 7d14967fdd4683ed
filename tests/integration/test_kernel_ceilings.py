"""Kernels that a driver does not build on: seen on hosts before a compiler finds out."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab import Fresh, Lab, ids
from test_ubuntu_hosts import A10, DRIVER_ONLY, JAMMY
from ubuntu_lab import modules, packages, prepared, reboot

from gpuprep.cli import run
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus
from sandbox.nvrepo.deb import build_all
from sandbox.ubuntu import kernels
from sandbox.ubuntu.systems import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gpuprep.model import HostResult

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

OLD, NEW = (Kernel("6.8.0", abi, JAMMY.kernel.compiler) for abi in (1063, 1064))
LTS_OLD, LTS_NEW = (Kernel("5.15.0", abi, JAMMY.kernel.compiler) for abi in (1113, 1114))
# The last release of the branch that NVIDIA's archive had before kernels took the change back.
FIRST, LAST = "580.95.05", "580.178.04"
OPEN = {"gpu_driver_version": FIRST, "gpu_driver_flavour": "open"}


def install(lab: Lab, name: str, work: Path, found: Iterable[Kernel]) -> None:
    """Install kernels with their headers, as their packages come from the archive."""
    for kernel in found:
        folder = work / kernel.uname
        # Without the metas, by which automatic upgrades would bring the archive's newest kernel.
        debs = kernels.installed(kernel, work)
        build_all([deb for deb in debs if deb.version != kernel.meta_version], folder)
        packed = subprocess.run(["tar", "-C", folder, "-c", "."], check=True, capture_output=True)
        content = base64.b64encode(packed.stdout).decode()
        script = "rm -rf /tmp/kernel; mkdir /tmp/kernel; base64 -d | tar -x -C /tmp/kernel; "
        script += "dpkg --install /tmp/kernel/*.deb 2>&1"
        lab.run(name, "sh", "-euc", script, stdin=content)


def only(lab: Lab, name: str, work: Path, kernel: Kernel) -> None:
    """Give a host one kernel in place of its own, which runs."""
    lab.sh(
        name,
        "dpkg --purge --force-depends $(dpkg-query -W -f '${Package}\\n' 'linux-image-*'"
        " 'linux-modules-*' 'linux-headers-*' 'linux-oracle*' | sort -u) > /dev/null 2>&1",
    )
    install(lab, name, work, [kernel])
    reboot(lab, name)
    assert lab.run(name, "uname", "-r").strip() == kernel.uname


def warnings(host: HostResult) -> dict[str, str]:
    return {warning.code: warning.message for warning in host.warnings}


def test_a_driver_that_does_not_build_is_moved_or_refused(
    lab: Lab, fresh: Fresh, tmp_path: Path
) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10])
    # The kernel that runs has the change, as its headers show.
    refused = lab.apply(name, **DRIVER_ONLY, **OPEN).hosts[name]
    assert (refused.state, refused.code) == (HostStatus.REFUSED, "E_DRIVER_KERNEL")
    assert "its headers show it" in str(refused.error)
    assert "branch 580 builds on it from 580.126.09 on" in str(refused.error)
    assert packages(lab, name) == {}
    moved = lab.plan(name, **DRIVER_ONLY, gpu_driver_version=FIRST).hosts[name]
    assert "gpu_driver.package.cuda-drivers-580" in ids(moved)  # proprietary ones build
    gone = lab.plan(name, **DRIVER_ONLY, gpu_driver_branch="570", gpu_driver_flavour="open")
    assert gone.hosts[name].code in {"E_DRIVER_KERNEL", "E_BRANCH_EOL"}
    # The same for other kernels: those before the change, and those after it.
    install(lab, name, tmp_path, [OLD, LTS_OLD, LTS_NEW])
    verdicts = {
        kernel.uname: lab.look(name, **DRIVER_ONLY, **OPEN, gpu_driver_kernel=kernel.uname).code
        for kernel in (OLD, NEW, LTS_OLD, LTS_NEW)  # of NEW only the number is known
    }
    assert verdicts == {
        OLD.uname: None,
        NEW.uname: "E_DRIVER_KERNEL",
        LTS_OLD.uname: None,
        LTS_NEW.uname: "E_DRIVER_KERNEL",
    }
    told = lab.look(name, **DRIVER_ONLY, **OPEN, gpu_driver_kernel=NEW.uname)
    assert "its headers are not there to look into" in str(told.error)


def test_a_kernel_that_waits_for_its_reboot_is_judged_before_it(
    lab: Lab, fresh: Fresh, tmp_path: Path
) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10])
    only(lab, name, tmp_path, OLD)
    assert prepared(lab.apply(name, **DRIVER_ONLY, **OPEN).hosts[name])
    assert packages(lab, name)["nvidia-driver-580-open"].startswith(FIRST)
    # An update brings the change; DKMS fails for it, and nobody is told but a log.
    install(lab, name, tmp_path, [NEW])
    assert not any(NEW.uname in path for path in modules(lab, name))
    asked = lab.plan(name, **DRIVER_ONLY, **OPEN).hosts[name]
    assert asked.code == "E_NEXT_KERNEL"
    assert "Before the reboot: -e gpu_driver_" in str(asked.error)
    waiting = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert waiting.code == "E_REBOOT_FIRST"
    assert NEW.uname in warnings(waiting)["W_DRIVER_KERNEL"]
    assert f"gpu_driver_kernel={NEW.uname}" in warnings(waiting)["W_DRIVER_KERNEL"]
    # What the warning says is done: the driver moves before the reboot, and is there after it.
    moved = lab.apply(name, **DRIVER_ONLY, gpu_driver_kernel=NEW.uname).hosts[name]
    assert moved.error is None
    assert packages(lab, name)["nvidia-driver-580-open"].startswith(LAST)
    assert any(NEW.uname in path for path in modules(lab, name))
    reboot(lab, name)
    assert lab.run(name, "uname", "-r").strip() == NEW.uname
    # What udev starts once the driver's module is loaded, which no container loads.
    lab.sh(name, "systemctl start nvidia-persistenced")
    after = lab.apply(name, **DRIVER_ONLY)
    assert prepared(after.hosts[name])
    assert after.changed is False


def test_a_host_alone_and_in_company_gets_one_plan(lab: Lab, fresh: Fresh, tmp_path: Path) -> None:
    old, new = fresh(image=JAMMY.name, gpus=[A10]), fresh(image=JAMMY.name, gpus=[A10])
    only(lab, old, tmp_path, OLD)
    settings = {**DRIVER_ONLY, **OPEN}
    alone = {name: lab.plan(name, **settings).hosts[name] for name in (old, new)}
    together = lab.plan(old, new, **settings).hosts
    for name, host in alone.items():
        assert (together[name].code, ids(together[name])) == (host.code, ids(host))
    assert (alone[old].code, alone[new].code) == (None, "E_DRIVER_KERNEL")


def test_a_lock_from_before_the_change_is_refused_on_the_kernel_that_has_it(
    lab: Lab, fresh: Fresh, tmp_path: Path
) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10])
    only(lab, name, tmp_path, OLD)
    file = tmp_path / "gpuprep.lock.yml"
    inventory = lab.inventory(name, variables={**DRIVER_ONLY, **OPEN})
    assert run(["lock", "-q", "-i", str(inventory), "--lock-file", str(file)]) == ExitCode.OK
    locked = {**DRIVER_ONLY, "gpuprep_lock_file": str(file)}
    planned = lab.plan(name, **locked).hosts[name]
    assert planned.stack is not None
    assert (planned.code, planned.stack.driver_version) == (None, FIRST)
    only(lab, name, tmp_path, NEW)
    refused = lab.apply(name, **locked).hosts[name]
    assert (refused.state, refused.code) == (HostStatus.REFUSED, "E_LOCK_KERNEL"), refused.error
    for words in (FIRST, "its headers show it", "write the lock file again"):
        assert words in str(refused.error)
    assert packages(lab, name) == {}
