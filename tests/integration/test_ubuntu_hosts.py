"""Ubuntu's hosts from bare to prepared, from both sources, through updates of kernel and driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import Fresh, Lab, ids
from ubuntu_lab import archive, held, modules, packages, prepared, reboot

from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec
from sandbox.ubuntu.modules import SIGNER
from sandbox.ubuntu.systems import SYSTEMS, System

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

A10, V100, H100, B200 = "10de:2236", "10de:1db1", "10de:2330", "10de:2901"
DRIVER_ONLY = {"gpuprep_components": ["driver"]}
JAMMY, NOBLE = SYSTEMS["ubuntu-22.04"], SYSTEMS["ubuntu-24.04"]


# --- who they are ---------------------------------------------------------------------------------


@pytest.mark.parametrize("release", SYSTEMS.values(), ids=SYSTEMS)
def test_a_host_is_the_ubuntu_that_it_says(lab: Lab, fresh: Fresh, release: System) -> None:
    name = fresh(image=release.name)
    assert hosts.system_state(name) == "running"
    told = lab.sh(name, ". /etc/os-release; echo $ID $VERSION_ID $VERSION_CODENAME")
    assert told.split() == ["ubuntu", release.version, release.codename]
    assert lab.run(name, "lsb_release", "-is", "-cs").split() == ["Ubuntu", release.codename]
    assert lab.run(name, "uname", "-r").strip() == release.kernel.uname
    assert lab.run(name, "readlink", "/etc/dpkg/origins/default").strip() == "ubuntu"
    origins = lab.run(name, "apt-config", "dump", "Unattended-Upgrade::Allowed-Origins")
    assert '"${distro_id}:${distro_codename}-security"' in origins
    # Ansible becomes root by the system's own sudo, which from 25.10 on is another program.
    other = "sudo-rs" if release.version >= "25.10" else "Sudo version"
    assert lab.sh(name, "sudo --version 2>&1").startswith(other)  # the other says it on stderr
    assert lab.plan(name, **DRIVER_ONLY).hosts[name].code == "E_NO_GPU"
    lab.sh(name, "apt-get -qq update")
    offered = lab.run(name, "apt-cache", "madison", "nvidia-utils-580-server")
    assert f"{release.drivers[0]}-0ubuntu0.{release.version}.1" in offered
    assert lab.run(name, "apt-cache", "madison", "nvidia-driver") == ""  # Debian's own


# --- NVIDIA's repository --------------------------------------------------------------------------


def test_an_a10_gets_the_whole_stack_from_nvidias_repository(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-24.04", gpus=[A10], shape="VM.GPU.A10.1")
    first = lab.apply(name)
    assert prepared(first.hosts[name])
    there = packages(lab, name)
    assert there["nvidia-driver-580-open"].startswith("580.")
    assert not any(package.endswith("-server-open") for package in there)
    again = lab.apply(name)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)
    # What was taken away comes back, and nothing else changes.
    lab.sh(name, "apt-mark unhold nvidia-utils-580; rm /etc/modprobe.d/gpuprep-nouveau.conf")
    assert ids(lab.plan(name), name) == {
        "gpu_driver.hold.packages",
        "gpu_driver.blacklist./etc/modprobe.d/gpuprep-nouveau.conf",
    }
    assert prepared(lab.apply(name).hosts[name])


def test_needrestart_and_upgrades_leave_a_prepared_host_whole(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-24.04", gpus=[A10])
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    before = packages(lab, name)
    archive(lab, name, "ubuntu-24.04", "later")
    lab.sh(name, "unattended-upgrade -v && apt-get -qy -o Dpkg::Options::=--force-confold upgrade")
    assert packages(lab, name) == before
    # DKMS has built for the new kernel, which waits for its reboot.
    assert len(modules(lab, name)) == len({NOBLE.kernel, NOBLE.newer})
    waiting = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert waiting.code == "E_REBOOT_FIRST"
    assert NOBLE.newer.uname in str(waiting.error)
    reboot(lab, name)
    assert lab.run(name, "uname", "-r").strip() == NOBLE.newer.uname
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    assert packages(lab, name) == before


ALL_PHASES = "-o APT::Get::Always-Include-Phased-Updates=true"


def test_a_phased_update_of_the_driver_passes_a_held_one_by(lab: Lab, fresh: Fresh) -> None:
    """Ubuntu gives an update to some hosts first: to which ones, apt on the host decides."""
    name = fresh(image="ubuntu-24.04", gpus=[A10])
    settings = {**DRIVER_ONLY, "gpu_driver_source": "distro"}
    # A kernel without ready modules: DKMS makes them, and nothing binds the driver to a release.
    archive(lab, name, "ubuntu-24.04", "kernel-first")
    lab.sh(name, "apt-get -qqy install linux-oracle > /dev/null 2>&1")
    reboot(lab, name)
    assert prepared(lab.apply(name, **settings).hosts[name])
    before = packages(lab, name)
    assert "nvidia-dkms-580-server-open" in before
    archive(lab, name, "ubuntu-24.04", "later")
    upgrade = "--with-new-pkgs -o Dpkg::Options::=--force-confold upgrade"

    def would_move(options: str = "") -> set[str]:
        """Return the driver's packages that an upgrade would move."""
        out = lab.sh(name, f"apt-get -s {options} {upgrade}")
        return before.keys() & {line.split()[1] for line in out.splitlines() if line[:4] == "Inst"}

    lab.sh(name, f"apt-get -qqy {ALL_PHASES} {upgrade} > /dev/null 2>&1")
    assert packages(lab, name) == before
    # Without the holds, it is only this host's phase that keeps it.
    lab.sh(name, "apt-mark unhold $(apt-mark showhold)")
    assert would_move() == set()
    assert {"nvidia-utils-580-server", "nvidia-dkms-580-server-open"} <= would_move(ALL_PHASES)
    # Who asks for the release gets it, whatever the host's phase.
    newer = {**settings, "gpu_driver_version": NOBLE.newer_drivers[0]}
    assert prepared(lab.apply(name, **newer).hosts[name])
    there = packages(lab, name)
    assert there["nvidia-utils-580-server"].startswith(NOBLE.newer_drivers[0])
    # Its modules come ready now; those that DKMS built, which depmod prefers, are gone.
    assert "nvidia-dkms-580-server-open" not in there
    assert lab.run(name, "modinfo", "-F", "signer", "nvidia").strip() == SIGNER
    assert {package for package in there if not package.startswith("linux-")} <= held(lab, name)
    again = lab.apply(name, **newer)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)


def test_eight_h100_get_their_fabric_manager(lab: Lab, fresh: Fresh) -> None:
    name = fresh(
        image="ubuntu-24.04",
        gpus=[f"8x{H100}"],
        nvswitches=["4x10de:22a3"],
        shape="BM.GPU.H100.8",
    )
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    there = packages(lab, name)
    versions = {v.partition("-")[0] for n, v in there.items() if "pinning" not in n}
    assert "nvidia-fabricmanager" in there
    assert versions == {"580.178.04"}
    assert set(there) - held(lab, name) == {"nvidia-driver-pinning-580"}
    unit = "nvidia-fabricmanager"
    assert lab.run(name, "systemctl", "is-active", unit).strip() == "active"
    again = lab.apply(name, **DRIVER_ONLY)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)
    lab.sh(name, f"systemctl disable --now {unit}; apt-mark unhold {unit}")
    lab.sh(name, "apt-get -qqy remove --allow-change-held-packages libnvidia-nscq")
    assert ids(lab.plan(name, **DRIVER_ONLY), name) == {
        f"gpu_driver.unit.{unit}",
        "gpu_driver.hold.packages",
        "gpu_driver.package.libnvidia-nscq",
    }
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    assert lab.run(name, "systemctl", "is-active", unit).strip() == "active"
    assert {unit, "libnvidia-nscq"} <= held(lab, name)


def test_a_v100_gets_its_last_branch_and_toolkit(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-24.04", gpus=[V100], shape="VM.GPU3.1")
    settings = {"gpuprep_components": ["driver", "cuda"]}
    assert prepared(lab.apply(name, **settings).hosts[name])
    assert "nvidia-driver-580" in packages(lab, name)
    assert lab.run(name, "readlink", "-f", "/usr/local/cuda").strip() == "/usr/local/cuda-12.9"
    again = lab.apply(name, **settings)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)
    kernel = NOBLE.kernel.uname
    lab.sh(name, f"rm /lib/modules/{kernel}/updates/dkms/nvidia*.ko; depmod {kernel}")
    lab.sh(name, "apt-get -qqy remove cuda-nvcc-12-9")
    drifted = ids(lab.plan(name, **settings), name)
    assert f"gpu_driver.module.{kernel}" in drifted
    assert {step.partition(".")[0] for step in drifted} == {"gpu_driver", "cuda_toolkit"}
    assert prepared(lab.apply(name, **settings).hosts[name])
    assert "nvcc" in lab.sh(name, "ls /usr/local/cuda/bin")


def test_on_22_04_the_module_is_built_with_the_compiler_of_its_kernel(
    lab: Lab, fresh: Fresh
) -> None:
    name = fresh(image="ubuntu-22.04", gpus=[A10])
    assert prepared(lab.apply(name, **DRIVER_ONLY, gpu_driver_profile="compute").hosts[name])
    lab.run(name, "dpkg", "-s", "gcc-12")  # the system's is 11
    assert "libnvidia-gl-580" not in packages(lab, name)
    again = lab.apply(name, **DRIVER_ONLY, gpu_driver_profile="compute")
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)


def test_modules_of_the_fabric_come_with_the_kernels_extra_package(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-24.04", gpus=[f"8x{B200}"], shape="BM.GPU.B200.8")
    kernel = NOBLE.kernel.uname
    refused = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert refused.code == "E_FABRIC_MODULE"
    assert f"linux-modules-extra-{kernel}" in str(refused.error)
    lab.sh(name, f"apt-get -qq update; apt-get -qqy install linux-modules-extra-{kernel}")
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    assert "nvlsm" in lab.sh(name, "dpkg-query -W -f '${Package}\\n'").split()


def test_what_the_archive_does_not_have_is_refused(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-24.04", gpus=[f"8x{B200}"], shape="BM.GPU.B200.8", secure_boot=True)
    assert lab.plan(name, **DRIVER_ONLY).hosts[name].code == "E_DISTRO_FABRIC"
    other = lab.plan(name, **DRIVER_ONLY, gpu_driver_branch="610").hosts[name]
    assert other.code == "E_DISTRO_BRANCH"
    assert "580 (580.173.02), 595" in str(other.error)


def test_a_branch_that_the_archive_has_by_name_only_is_told(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-24.04", gpus=[A10])
    settings = {**DRIVER_ONLY, "gpu_driver_source": "distro", "gpu_driver_branch": "535"}
    bare = lab.state(name)
    checked = lab.check(name, **settings)
    assert lab.state(name).differences(bare) == set()
    result = lab.apply(name, **settings).hosts[name]
    assert prepared(result)
    assert ids(checked, name) == ids(result)
    assert "W_DISTRO_BRANCH_BECAME" in {warning.code for warning in result.warnings}
    assert packages(lab, name)["nvidia-utils-580-server"].startswith(NOBLE.drivers[0])


def test_on_26_04_a_v100_gets_the_archives_driver(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-26.04", gpus=[V100], shape="VM.GPU3.1")
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    kernel = SYSTEMS["ubuntu-26.04"].kernel.uname
    assert f"linux-modules-nvidia-580-server-{kernel}" in packages(lab, name)
    again = lab.apply(name, **DRIVER_ONLY)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)


def test_on_26_04_an_a10_gets_the_oldest_branch_of_the_directory(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-26.04", gpus=[A10])
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    assert packages(lab, name)["nvidia-open"].startswith("595.")
    refused = lab.plan(name, **DRIVER_ONLY, gpu_driver_branch="580").hosts[name]
    assert refused.code == "E_BRANCH_SYSTEM"


# --- Secure Boot ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked_down(lab: Lab) -> Iterator[str]:
    """Return a host with Secure Boot on and no key enrolled, prepared."""
    name = "ub-secure"
    lab.start(HostSpec.from_dict(name, {"image": JAMMY.name, "gpus": [A10], "secure_boot": True}))
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])
    yield name
    hosts.stop(name)


def test_under_secure_boot_the_modules_are_canonicals(lab: Lab, locked_down: str) -> None:
    kernel = JAMMY.kernel.uname
    there = packages(lab, locked_down)
    assert f"linux-modules-nvidia-580-server-open-{kernel}" in there
    assert not any("dkms" in package for package in there if "no-dkms" not in package)
    assert lab.run(locked_down, "modinfo", "-F", "signer", "nvidia").strip() == SIGNER
    again = lab.apply(locked_down, **DRIVER_ONLY)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)
    checks = {check.id: check for check in again.hosts[locked_down].checks}
    assert checks["module.signed"].status == "passed"
    assert SIGNER in checks["module.signed"].detail


def test_nvidias_repository_is_refused_there_with_the_way_out(lab: Lab, locked_down: str) -> None:
    refused = lab.plan(locked_down, **DRIVER_ONLY, gpu_driver_source="nvidia").hosts[locked_down]
    assert refused.code == "E_SECURE_BOOT_UNSIGNED"
    assert "gpu_driver_source" in str(refused.error)


def test_a_module_that_lost_its_signature_is_seen_and_unpacked_again(
    lab: Lab, locked_down: str
) -> None:
    (path,) = modules(lab, locked_down)
    lab.sh(locked_down, f"cp $(dirname {path})/bits/nvidia.o {path}")
    broken = lab.plan(locked_down, **DRIVER_ONLY).hosts[locked_down]
    assert ids(broken) == {f"gpu_driver.module.{JAMMY.kernel.uname}"}
    assert "signed by nobody" in broken.steps[0].reason
    assert prepared(lab.apply(locked_down, **DRIVER_ONLY).hosts[locked_down])
    assert lab.run(locked_down, "modinfo", "-F", "signer", "nvidia").strip() == SIGNER


def test_a_kernel_without_modules_is_seen_before_the_reboot(lab: Lab, locked_down: str) -> None:
    before = packages(lab, locked_down)
    archive(lab, locked_down, JAMMY.name, "kernel-first")
    lab.sh(locked_down, "unattended-upgrade -v")
    assert packages(lab, locked_down) == before
    wanted = f"linux-modules-nvidia-580-server-open-{JAMMY.newer.uname}"
    seen = lab.apply(locked_down, **DRIVER_ONLY).hosts[locked_down]
    assert seen.state is not HostStatus.PREPARED
    (warning,) = [w for w in seen.warnings if w.code == "W_NEXT_KERNEL_MODULES"]
    assert f"do not reboot into {JAMMY.newer.uname}" in warning.message
    checks = {check.id: check for check in seen.checks}
    assert JAMMY.newer.uname in checks["module.next_boot"].detail
    assert checks["module.next_boot"].status == "failed"
    assert ids(seen) == set()  # nothing was tried that the archive does not have
    assert wanted not in packages(lab, locked_down)
    assert lab.run(locked_down, "dpkg", "--audit") == ""


def test_its_modules_come_with_their_release_of_the_driver_and_wait_for_the_reboot(
    lab: Lab, locked_down: str
) -> None:
    archive(lab, locked_down, JAMMY.name, "later")
    lab.sh(locked_down, "unattended-upgrade -v")
    moved = lab.apply(locked_down, **DRIVER_ONLY).hosts[locked_down]
    there = packages(lab, locked_down)
    assert there["nvidia-utils-580-server"].startswith(JAMMY.newer_drivers[0])
    assert ids(lab.plan(locked_down, **DRIVER_ONLY), locked_down) == {"gpu_driver.reboot.host"}
    assert moved.reboot_required
    reboot(lab, locked_down)
    assert lab.run(locked_down, "uname", "-r").strip() == JAMMY.newer.uname
    assert prepared(lab.apply(locked_down, **DRIVER_ONLY).hosts[locked_down])
    assert {name for name in there if not name.startswith("linux-")} <= held(lab, locked_down)


# --- a change of source ---------------------------------------------------------------------------


def test_a_host_goes_to_the_archive_and_back(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-24.04", gpus=[A10])
    for source in ("nvidia", "distro", "nvidia"):
        result = lab.apply(name, **DRIVER_ONLY, gpu_driver_source=source)
        assert prepared(result.hosts[name])
        again = lab.plan(name, **DRIVER_ONLY, gpu_driver_source=source)
        assert ids(again, name) == set()
        there = packages(lab, name)
        of_archive = {n for n in there if "-server" in n or n.startswith("linux-")}
        pins = {n for n in there if "pinning" in n}
        if source == "nvidia":
            assert (of_archive, pins) == (set(), {"nvidia-driver-pinning-580"})
        else:
            assert set(there) - of_archive == set()
        (module,) = modules(lab, name)
        assert ("updates/dkms" in module) == (source == "nvidia")
        loose = set(there) - held(lab, name) - pins
        assert all(n.startswith("linux-") for n in loose)
        kept = lab.run(name, "ls", "/etc/apt/preferences.d").split()
        assert [n for n in kept if "pinning" in n] == sorted(pins)
        assert lab.run(name, "dpkg", "--audit") == ""
