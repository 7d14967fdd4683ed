"""Plans of hosts of Enterprise Linux, from what such hosts say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import Observation, bare, observed

from gpuprep.catalog import load
from gpuprep.planner import plan_host
from gpuprep.planner.settings import settings_from

if TYPE_CHECKING:
    from gpuprep.planner import HostPlan

UEK = "6.12.0-100.28.2.2.el9uek.x86_64"
RHCK = "5.14.0-570.12.1.0.1.el9_6.x86_64"
GCC_11, GCC_14 = "gcc (GCC) 11.5.0 20240719", "gcc (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7)"


def oracle(**changes: Any) -> Observation:
    """Return a bare Oracle Linux 9 host with an A10 that runs UEK."""
    kernel = {"running": UEK, "target": UEK, "next_boot": UEK, "compiler": GCC_14}
    manager = {"family": "rpm", **changes.pop("package_manager", {})}
    system = {"id": "ol", "version_id": "9.6", "pretty": "Oracle Linux Server 9.6"}
    host = bare(os=system, system_gcc=None, package_manager=manager)
    host["kernel"] = kernel | changes.pop("kernel", {})
    return host | changes


def plan(observation: Observation, **settings: Any) -> HostPlan:
    return plan_host(observed(observation), settings_from(settings), load())


def codes(made: HostPlan) -> set[str]:
    return {warning.code for warning in made.warnings}


# --- kernels --------------------------------------------------------------------------------------


def test_a_host_that_boots_red_hats_kernel_by_choice_is_planned() -> None:
    """With UEK beside it, newer and not the default: it was refused until a reboot, for ever."""
    kernel = {"running": RHCK, "target": RHCK, "next_boot": RHCK, "newest_installed": UEK}
    made = plan(oracle(kernel={**kernel, "compiler": GCC_11}))
    assert made.state == "drifted"
    assert made.stack
    names = {package.name for package in made.stack.packages}
    assert f"kernel-devel-{RHCK}" in names
    assert not any(name.startswith("kernel-uek-devel") for name in names)


@pytest.mark.parametrize(("running", "following"), [(RHCK, UEK), (UEK, RHCK)])
def test_a_change_of_kernels_is_told_before_the_reboot(running: str, following: str) -> None:
    made = plan(oracle(kernel={"running": running, "target": running, "next_boot": following}))
    assert (made.state, made.code) == ("refused", "E_REBOOT_FIRST")
    assert made.error
    assert running in made.error
    assert f"next boot starts {following}" in made.error


def test_uek_on_arm_is_planned() -> None:
    arm = UEK.replace("x86_64", "aarch64")
    kernel = {"running": arm, "target": arm, "next_boot": arm}
    made = plan(oracle(arch="aarch64", kernel=kernel))
    assert made.state == "drifted"
    assert made.stack
    assert made.stack.repository
    assert made.stack.repository.url.endswith("/rhel9/sbsa/")
    assert f"kernel-uek-devel-{arm}" in {package.name for package in made.stack.packages}


# --- UEK 8 comes in several packages --------------------------------------------------------------


def modules(**others: str) -> dict[str, Any]:
    where = {"video": "kernel-uek-modules", "ib_umad": "kernel-uek-modules-core"}
    return {"loaded": {}, "on_disk": [], "others": others, "packaged": where}


def test_display_modules_that_lack_a_part_of_the_kernel_are_told() -> None:
    made = plan(oracle(modules=modules(video="absent", drm="available")))
    (warning,) = [w for w in made.warnings if w.code == "W_DISPLAY_MODULE"]
    assert "no module video, without which nvidia-modeset" in warning.message
    assert f"kernel-uek-modules-{UEK}" in warning.message


@pytest.mark.parametrize(
    ("there", "settings"),
    [
        (modules(video="available"), {}),
        (modules(video="builtin"), {}),
        (modules(video="absent"), {"gpu_driver_profile": "compute"}),
        (modules(video="absent") | {"packaged": {}}, {}),  # a kernel that never had it
    ],
)
def test_display_modules_are_not_told_of_without_reason(
    there: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert "W_DISPLAY_MODULE" not in codes(plan(oracle(modules=there), **settings))


def test_a_fabric_module_is_refused_with_the_package_that_has_it() -> None:
    b200 = [{"slot": "0", "vendor": "10de", "device": "2901", "pci_class": "030200"}]
    made = plan(oracle(pci=b200, modules=modules(ib_umad="absent", mlx5_ib="available")))
    assert (made.state, made.code) == ("refused", "E_FABRIC_MODULE")
    assert made.error
    assert f"install kernel-uek-modules-core-{UEK}, then run again" in made.error
