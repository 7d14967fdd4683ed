"""A host whose kernel enforces an SELinux policy: a whole run, labels, denials, a real reboot.

The policy is Debian's, not the one of Enterprise Linux; how files come by their labels is the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from lab import Lab, ids

import gpuprep
from gpuprep.model import HostStatus, StepStatus
from sandbox import hosts, services
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuprep.model import HostResult

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

NAME, BESIDE = "t-selinux", "t-selinux-beside"  # the network is there while a container runs
ENVIRONMENT = [{"name": "tools", "packages": ["python", "numpy"]}]
SETTINGS = {"gpuprep_components": ["driver", "conda"], "conda_environments": ENVIRONMENT}
ALLOWED = {**SETTINGS, "gpu_driver_reboot_allowed": True}
REBOOT = "gpu_driver.reboot.host"
# Before the reboot nouveau has the place of the driver; after it the driver cannot be loaded, for
# want of a GPU. One of these, and no more, stays to be done.
LOADED = {REBOOT, "gpu_driver.load.nvidia"}
PROFILE, PREFIX = "/etc/profile.d/gpuprep-conda.sh", "/opt/conda"
# What changed since the run began. conda's cache shares its files with the environments, so that
# they cannot have the labels of two places; for what packages' scripts make in /var/lib, as DKMS's
# folder, Debian's policy has a type of another program's.
MARKER = "/root/run-began"
LOG = "/var/log/audit/audit.log"
OTHERS = (f"{PREFIX}/pkgs", "/tmp", "/var/log", "/var/lib/dkms")
ELSEWHERE = " ".join(f"! -path '{path}/*' ! -path {path}" for path in OTHERS)
WRONG = f"find / -xdev -cnewer {MARKER} {ELSEWHERE} -print0 | restorecon -n -v -0 -f -"
OURS = re.compile(
    r"scontext=\S+:(?:unconfined|initrc|apt|dpkg|dpkg_script|ldconfig|kmod|insmod|restorecon)_t:"
)
DENIED = re.compile(r"avc: +denied +\{ (.*?) \}.*? comm=\"(.*?)\".*? (scontext=\S+ tcontext=\S+)")


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a virtual machine that enforces its policy; give its inventory."""
    lab.start(HostSpec(BESIDE))
    spec = HostSpec(NAME, gpus=("10de:2236",), shape="VM.GPU.A10.1", selinux=True)
    host = hosts.start_vm(spec, "vm")
    hosts.wait_ready(NAME)
    folder = tmp_path_factory.mktemp("inventory")
    yield hosts.write_inventory([host], services.start([host]), folder / "hosts.yml")
    hosts.stop_all((NAME, BESIDE))


@pytest.fixture(scope="module")
def prepared(lab: Lab, machine: Path) -> HostResult:
    """Prepare the bare host; give the result."""
    assert lab.run(NAME, "getenforce").strip() == "Enforcing"
    lab.sh(NAME, f"modprobe nouveau; touch {MARKER}; : > {LOG}")
    return gpuprep.apply(machine, variables=SETTINGS).hosts[NAME]


def wrong(lab: Lab) -> list[str]:
    """Return what restorecon would change of what is new or changed."""
    return lab.sh(NAME, WRONG).splitlines()


def denied(lab: Lab) -> list[tuple[str, ...]]:
    """Return what was denied to a run's programs since it began, each kind once.

    Debian's policy denies things to services of Debian's own, such as getty, at any time.
    """
    log = lab.run(NAME, "cat", LOG)
    return [found for found in dict.fromkeys(DENIED.findall(log)) if OURS.search(found[2])]


def initramfs(lab: Lab) -> str:
    """Return the names of what is in the initramfs of the next boot."""
    return lab.sh(NAME, "lsinitramfs /boot/initrd.img-$(uname -r)")


def boot_id(lab: Lab) -> str:
    """Return what tells one boot from another."""
    return lab.run(NAME, "cat", "/proc/sys/kernel/random/boot_id")


def left(host: HostResult) -> set[str]:
    """Return the steps that were not done."""
    return {step.id for step in host.steps if step.status is not StepStatus.DONE}


def test_a_bare_host_is_prepared_under_the_policy(lab: Lab, prepared: HostResult) -> None:
    assert left(prepared) <= LOADED, (prepared.error, prepared.steps)
    assert prepared.state is not HostStatus.READY
    assert denied(lab) == []
    assert lab.run(NAME, "getenforce").strip() == "Enforcing"


@pytest.mark.usefixtures("prepared")
def test_the_initramfs_has_the_modules_of_the_disk(lab: Lab) -> None:
    """In the domain of a service, depmod may not look into the initramfs: it has no modules."""
    made = "find /boot -name 'initrd.img-*' -newer"
    assert lab.sh(NAME, f"{made} {MARKER}").strip()
    assert "/virtio_blk.ko" in initramfs(lab)
    assert "/modules.dep" in initramfs(lab)


@pytest.mark.usefixtures("prepared")
def test_everything_that_was_written_has_the_policys_label(lab: Lab, machine: Path) -> None:
    assert wrong(lab) == []
    assert "bin_t" in lab.run(NAME, "ls", "-Zd", f"{PREFIX}/envs/tools/bin")
    assert ids(gpuprep.plan(machine, variables=SETTINGS), NAME) <= LOADED


@pytest.mark.usefixtures("prepared")
def test_labels_of_another_place_are_a_difference_and_are_put_right(
    lab: Lab, machine: Path
) -> None:
    lab.run(NAME, "chcon", "-t", "user_tmp_t", PROFILE)
    lab.run(NAME, "chcon", "-R", "-t", "user_home_t", f"{PREFIX}/envs/tools")
    expected = {f"conda.profile.{PROFILE}", f"conda.label.{PREFIX}"}
    assert ids(gpuprep.plan(machine, variables=SETTINGS), NAME) - LOADED == expected
    host = gpuprep.apply(machine, variables=SETTINGS).hosts[NAME]
    assert expected <= {step.id for step in host.steps}
    assert left(host) <= LOADED
    assert wrong(lab) == []
    assert ids(gpuprep.plan(machine, variables=SETTINGS), NAME) <= LOADED


@pytest.mark.usefixtures("prepared")
def test_a_denial_to_a_program_of_the_stack_is_a_warning(lab: Lab, machine: Path) -> None:
    # The kernel loads modules only out of files that are labelled as such.
    # In a domain that an administrator may not enter, nothing begins: kmod's may be.
    lab.sh(NAME, "echo x > /tmp/nvidia.ko; chcon -t shadow_t /tmp/nvidia.ko")
    lab.sh(NAME, "runcon -u system_u -r system_r -t kmod_t -- insmod /tmp/nvidia.ko || :")
    found = gpuprep.plan(machine, variables=SETTINGS).hosts[NAME]
    assert "W_SELINUX_DENIED" in {warning.code for warning in found.warnings}


@pytest.mark.usefixtures("prepared")
def test_a_host_whose_initramfs_may_be_incomplete_is_not_rebooted(lab: Lab, machine: Path) -> None:
    before = boot_id(lab)
    # What happens when the initramfs is made in the domain of a service.
    folder = "/tmp/mkinitramfs_test"
    denial = f"runcon -u system_u -r system_r -t kmod_t -- depmod -b {folder} || :"
    lab.sh(NAME, f"mkdir {folder}; chcon -t initrc_tmp_t {folder}; {denial}; rmdir {folder}")
    host = gpuprep.apply(machine, variables=ALLOWED).hosts[NAME]
    assert host.code == "E_INITRAMFS_DENIED", (host.error, denied(lab))
    assert "depmod" in (host.error or "")
    assert boot_id(lab) == before
    lab.sh(NAME, f": > {LOG}")


@pytest.mark.usefixtures("prepared")
def test_a_real_reboot_leaves_it_prepared_and_enforcing(lab: Lab, machine: Path) -> None:
    before = boot_id(lab)
    host = gpuprep.apply(machine, variables=ALLOWED).hosts[NAME]
    assert REBOOT in {step.id for step in host.steps if step.status is StepStatus.DONE}
    assert boot_id(lab) != before
    assert lab.run(NAME, "getenforce").strip() == "Enforcing"
    assert "nouveau" not in lab.run(NAME, "cat", "/proc/modules")
    assert not host.reboot_required
    assert left(host) <= LOADED
    assert wrong(lab) == []


def test_a_confined_login_is_refused(lab: Lab, machine: Path) -> None:
    lab.sh(
        NAME,
        "useradd -m -s /bin/bash conf; cp -a /home/ops/.ssh /home/conf/;"
        " echo 'conf ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/conf;"
        " echo 'conf:user_u:s0' >> /etc/selinux/default/seusers;"
        " chown -R conf: /home/conf; restorecon -R /home/conf",
    )
    # Another prefix, so that there is something to do.
    other = {**SETTINGS, "ansible_user": "conf", "conda_prefix": "/opt/other"}
    found = gpuprep.plan(machine, variables=other).hosts[NAME]
    assert found.code == "E_SELINUX_CONFINED"
    assert "user_u:user_r:user_t" in (found.error or "")
