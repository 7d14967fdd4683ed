"""Enterprise Linux: what catalog and resolver once had wrong, with the input it was seen on."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.model import DesiredStack, Family, HostFacts, Stack
from gpuprep.model.names import matches

CATALOG = load()
SYSTEMS = sorted(name for name, s in CATALOG.systems.items() if s.family == Family.RPM)
A10, A100, B200, GB200 = "10de:2236", "10de:20b0", "10de:2901", "10de:2941"
UEK8 = "6.12.0-100.28.2.2.el9uek.x86_64"
GCC_14 = "gcc (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7)"


def stack(
    system: str, gpu: str = A10, host: dict[str, Any] | None = None, **settings: Any
) -> Stack:
    facts = HostFacts((gpu,), system, **(host or {}))
    found = resolve(facts, DesiredStack(as_of="2026-11-20", **settings), CATALOG)
    assert isinstance(found, Stack), found
    return found


def driver_names(found: Stack) -> set[str]:
    return {p.name for p in found.packages if p.component == "driver"}


# --- the repository's key -------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_directory_has_its_own_key(system: str) -> None:
    repository = stack(system).repository
    assert repository is not None
    expected = "CDF6BA43.pub" if system.endswith("-10") else "D42D0685.pub"
    assert repository.key.url.endswith(f"/x86_64/{expected}")
    assert (repository.key.fingerprint is None) == system.endswith("-10")
    assert bool(repository.key.sha256) == system.endswith("-10")


def test_a_mirrors_own_key_is_known_by_its_fingerprint() -> None:
    repository = stack("ol-10", mirror="http://m", mirror_fingerprint="a" * 40).repository
    assert repository is not None
    assert (repository.key.fingerprint, repository.key.sha256) == ("A" * 40, None)


# --- the compiler ---------------------------------------------------------------------------------


def test_a_bare_host_gets_the_kernels_compiler() -> None:
    found = stack("ol-9", host={"kernel": UEK8, "kernel_cc": GCC_14})  # no system_gcc
    assert found.dkms_toolset == "gcc-toolset-14"
    assert "gcc-toolset-14" in driver_names(found)
    why = next(reason.why for reason in found.reasons if reason.choice == "dkms_toolset")
    assert why == "the kernel was built with gcc 14, the system's is 11"


def test_what_a_module_is_built_with_comes_in_a_transaction_before_the_driver() -> None:
    # rpm may install kernel headers after the driver, whose scriptlet then builds nothing.
    for system in SYSTEMS:
        host = {"kernel": UEK8, "kernel_cc": GCC_14}
        driver = [p for p in stack(system, host=host).packages if p.component == "driver"]
        first = {p.name for p in driver if p.pre_install}
        assert "kernel-headers" in first
        assert any(name.startswith("kernel-") and "-devel" in name for name in first), first
        rest = {p.name for p in driver} - first
        assert "nvidia-open" in rest
        assert not any(p.origin == "distro" and "devel" in p.name for p in driver if p.name in rest)
        assert not [name for name in rest if name.startswith("gcc-toolset")]


@pytest.mark.parametrize(
    ("system", "compiler", "toolset"),
    [
        ("ol-8", "gcc (GCC) 11.2.1 20220127 (Red Hat 11.2.1-9)", "gcc-toolset-11"),
        ("ol-8", "gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-22)", None),
        ("rocky-9", "gcc (GCC) 11.5.0 20240719 (Red Hat 11.5.0-5)", None),
        ("ol-10", GCC_14, None),
    ],
)
def test_only_another_compiler_than_the_systems_is_asked_for(
    system: str, compiler: str, toolset: str | None
) -> None:
    assert stack(system, host={"kernel_cc": compiler}).dkms_toolset == toolset


# --- names and versions ---------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["ol-8", "ol-9", "ol-10"])
def test_add_ons_carry_the_branch_in_their_names_up_to_579(system: str) -> None:
    assert {"nvidia-fabric-manager", "libnvidia-nscq-570"} <= driver_names(
        stack(system, A100, branch="570")
    )
    assert {"nvidia-fabricmanager", "libnvidia-nscq"} <= driver_names(
        stack(system, A100, branch="580")
    )


def test_switches_that_hide_from_the_bus_need_more() -> None:
    assert {"libnvsdm", "nvlink5", "nvlsm"} <= driver_names(stack("ol-9", B200))
    assert {"libnvsdm-570", "nvlink5-570", "nvlsm"} <= driver_names(
        stack("ol-9", B200, branch="570")
    )


@pytest.mark.parametrize("branch", ["570", "580", "595", "615"])
@pytest.mark.parametrize("gpu", [A10, A100, B200, GB200])
@pytest.mark.parametrize("system", ["ol-8", "ol-9", "ol-10"])
def test_everything_of_the_drivers_own_version_is_version_locked(
    system: str, gpu: str, branch: str
) -> None:
    host = {"arch": CATALOG.gpus[gpu].host_arch or "x86_64"}
    found = stack(system, gpu, host=host, branch=branch)
    own = {p.name for p in found.packages if p.component == "driver" and p.origin == "nvidia"}
    assert {name for name in own if not matches(name, found.version_locked)} <= {"nvlsm"}
    assert {name for name in own if not locked(found, name)} <= {"nvlsm"}


# Installed beside the driver, at versions of their own.
OTHERS = (
    *("nvidia-driver-selinux", "nvidia-driver-assistant", "libnvidia-container1"),
    *("libnvidia-container-tools", "nvidia-container-toolkit", "dnf-plugin-nvidia", "nvlsm"),
    *("egl-wayland2", "nvidia-fs-dkms", "nvidia-gds", "cuda-toolkit-13-0"),
)
# What a driver of 580 and one of 615 consist of.
OWN = (
    *("nvidia-driver", "nvidia-driver-libs", "nvidia-driver-cuda", "nvidia-driver-cuda-libs"),
    *("nvidia-driver-common", "libnvidia-ml", "libnvidia-cfg", "libnvidia-fbc"),
    *("libnvidia-gpucomp", "nvidia-persistenced", "nvidia-modprobe", "nvidia-settings"),
    *("nvidia-xconfig", "nvidia-libXNVCtrl", "nvidia-libXNVCtrl-devel", "nvidia-kmod-common"),
    *("nvidia-kmod-headers", "nvidia-kmod-source", "xorg-x11-nvidia", "kmod-nvidia-open-dkms"),
    *("kmod-nvidia-latest-dkms", "nvidia-open", "cuda-drivers", "nvidia-fabricmanager"),
    *("nvidia-fabric-manager-devel", "nvidia-imex", "libnvidia-nscq", "libnvidia-nscq-570"),
    *("libnvsdm", "nvlink5", "nvlink5-580"),
)


def locked(found: Stack, name: str) -> bool:
    """Whether a line of the lock is about a name: dnf then offers no version beside the line's."""
    return any(fnmatchcase(name, line.rpartition("-")[0]) for line in found.version_locks)


@pytest.mark.parametrize("name", OWN)
def test_a_part_of_the_driver_is_locked_with_it(name: str) -> None:
    assert matches(name, CATALOG.driver.closure[Family.RPM])
    assert locked(stack("ol-9"), name)


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_a_version_of_its_own_is_left_alone(name: str) -> None:
    assert not matches(name, CATALOG.driver.closure[Family.RPM])
    assert not locked(stack("ol-9"), name)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "nvidia-driver-3:580.*"),
        ({"branch": "595"}, "nvlink5*-0:595.*"),
        ({"branch": "595"}, "nvidia-fabricmanager*-3:595.*"),
        ({"version": "580.95.05"}, "libnvsdm*-0:580.95.05"),
    ],
)
def test_lines_of_the_version_lock_name_epoch_and_version(
    settings: dict[str, Any], line: str
) -> None:
    assert line in stack("ol-9", **settings).version_locks


def test_other_families_have_no_lines_of_a_version_lock() -> None:
    assert stack("debian-12").version_locks == ()


def test_newer_names_of_cublas_belong_to_the_toolkit() -> None:
    (toolkit,) = stack("ol-9").cuda
    assert toolkit.version == "13.0"
    for name in ("cublas13", "libcublas13-cuda-13", "libcublas13-devel-cuda-13"):
        assert matches(name, toolkit.names)
    assert not matches("libcudnn9-jit-cuda-13", toolkit.names)


def test_cudnn_comes_with_its_headers() -> None:
    names = {p.name for p in stack("ol-9").packages if p.component == "cudnn"}
    expected = {"cudnn9-cuda-13", "libcudnn9-cuda-13", "libcudnn9-devel-cuda-13"}
    assert names == {*expected, "libcudnn9-headers-cuda-13"}
