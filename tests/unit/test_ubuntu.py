"""Ubuntu's two sources of drivers: which one, for what reason, and what a change takes away."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import Observation, bare, observed
from verify_cases import healthy
from verify_cases import stack as verified

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.model import CheckStatus, DesiredStack, HostFacts, HostState, Refusal, Stack
from gpuprep.model.names import matches
from gpuprep.on_host.converge import deb
from gpuprep.planner import observation_request, plan_host, settings_from

if TYPE_CHECKING:
    from gpuprep.planner import HostPlan

A10, V100, H100, B200 = "10de:2236", "10de:1db1", "10de:2330", "10de:2901"
KERNEL, NEWER = "6.8.0-1067-oracle", "6.8.0-1068-oracle"
SIGNER = "Canonical Ltd. Kernel Module Signing"
LOCKED_DOWN = HostState(secure_boot=True)
MODULES = "linux-modules-nvidia-580-server-open-"
CATALOG = load()


def outcome(
    gpu: str = A10,
    os: str = "ubuntu-24.04",
    state: HostState = LOCKED_DOWN,
    kernel: str = KERNEL,
    **setting: Any,
) -> Stack | Refusal:
    desired = DesiredStack(**{"as_of": "2026-11-25", "components": ("driver",), **setting})
    return resolve(HostFacts((gpu,), os, kernel=kernel, state=state), desired, CATALOG)


def stack(*arguments: Any, **named: Any) -> Stack:
    found = outcome(*arguments, **named)
    assert isinstance(found, Stack), found
    return found


def names(found: Stack) -> set[str]:
    return {package.name for package in found.packages}


# --- which source ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "system", "state", "source"),
    [
        (A10, "ubuntu-24.04", HostState(), "nvidia"),
        (A10, "ubuntu-24.04", LOCKED_DOWN, "distro"),
        (A10, "ubuntu-22.04", LOCKED_DOWN, "distro"),
        (A10, "ubuntu-24.04", HostState(secure_boot=True, mok_enrolled=True), "nvidia"),
        (A10, "ubuntu-26.04", HostState(), "nvidia"),
        (V100, "ubuntu-24.04", HostState(), "nvidia"),
        (V100, "ubuntu-26.04", HostState(), "distro"),
        (V100, "debian-13", HostState(), "nvidia"),
    ],
)
def test_the_archive_is_taken_where_only_it_has_what_the_host_needs(
    gpu: str, system: str, state: HostState, source: str
) -> None:
    found = stack(gpu, system, state)
    assert found.source == source
    reasons = [reason.why for reason in found.reasons if reason.choice == "source"]
    assert bool(reasons) == (source == "distro")


def test_the_reason_is_told() -> None:
    (reason,) = [r for r in stack().reasons if r.choice == "source"]
    assert "Secure Boot is on" in reason.why
    assert SIGNER in reason.why
    (reason,) = [
        r for r in stack(V100, "ubuntu-26.04", HostState()).reasons if r.choice == "source"
    ]
    assert "Tesla V100" in reason.why
    assert "595 and newer" in reason.why


def test_who_insists_on_nvidias_repository_under_secure_boot_is_told_the_nearest() -> None:
    refused = outcome(source="nvidia")
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.settings) == ("E_SECURE_BOOT_UNSIGNED", ("source",))
    assert "driver 580" in str(refused.nearest)


def test_a_kernel_without_signed_modules_is_refused_under_secure_boot() -> None:
    refused = outcome(kernel="6.8.0-1010-custom")
    assert isinstance(refused, Refusal)
    assert refused.code == "E_SECURE_BOOT_UNSIGNED"


def test_a_fabric_that_the_archive_lacks_is_refused() -> None:
    refused = outcome(B200)
    assert isinstance(refused, Refusal)
    assert refused.code == "E_DISTRO_FABRIC"


@pytest.mark.parametrize(("asked", "planned"), [("535", "580"), ("570", "580"), ("590", "595")])
def test_a_branch_that_is_a_name_only_is_planned_as_what_it_is(asked: str, planned: str) -> None:
    found = stack(branch=asked)
    assert found.branch == planned
    assert f"linux-modules-nvidia-{planned}-server-open-{KERNEL}" in names(found)
    assert "W_DISTRO_BRANCH_BECAME" in {warning.code for warning in found.warnings}


@pytest.mark.parametrize("version", ["580.173.02", "580.178.04"])
def test_the_archive_moves_on_within_a_branch(version: str) -> None:
    assert stack(version=version).driver_version == version
    refused = outcome(version="570.211.01")
    assert isinstance(refused, Refusal)
    assert refused.code == "E_DISTRO_BRANCH"
    assert "570, which became 580" in refused.message


# --- ready modules --------------------------------------------------------------------------------


def test_ready_modules_need_neither_headers_nor_a_compiler() -> None:
    found = stack()
    assert f"{MODULES}{KERNEL}" in names(found)
    assert not any("headers" in name or "dkms" in name for name in names(found))
    assert found.signer == SIGNER


def test_without_secure_boot_nobody_must_have_signed() -> None:
    found = stack(state=HostState())
    assert (found.signer, dict(found.ready)) == (None, {})


def test_modules_are_taken_for_the_kernel_that_the_next_boot_starts() -> None:
    found = stack(state=replace(LOCKED_DOWN, newest_kernel=NEWER))
    assert f"{MODULES}{NEWER}" in names(found)
    built = outcome(state=HostState(newest_kernel=NEWER))
    assert isinstance(built, Refusal)  # what is built, is built for a kernel that runs
    assert built.code == "E_REBOOT_FIRST"


@pytest.mark.parametrize(
    "name", ["linux-image-6.8.0-1068-oracle", "linux-modules-6.8.0-1068-oracle"]
)
def test_a_kernel_is_a_kernel(name: str) -> None:
    assert deb.is_kernel(name)


def test_no_package_of_a_plan_counts_as_a_kernel() -> None:
    archive = CATALOG.archives["ubuntu-24.04"]
    planned = {name for one in (A10, V100, H100) for name in names(stack(one))}
    parts = {
        form.format(b="580", kernel=KERNEL)
        for all_ in archive.signed_parts.values()
        for form in all_
    }
    assert [name for name in sorted(planned | parts) if deb.is_kernel(name)] == []


# --- a change of source ---------------------------------------------------------------------------

OF_NVIDIA = (
    *("nvidia-open-580", "nvidia-driver-580-open", "libnvidia-compute-580", "nvidia-dkms-580-open"),
    *("nvidia-utils-580", "nvidia-compute-utils-580", "nvidia-firmware-580-580.178.04"),
    *(
        "nvidia-modprobe",
        "nvidia-settings",
        "nvidia-fabricmanager",
        "libnvidia-nscq",
        "cuda-drivers",
    ),
)
OF_ARCHIVE = (
    *("nvidia-driver-580-server-open", "libnvidia-compute-580-server", "nvidia-utils-580-server"),
    *("nvidia-headless-no-dkms-580-server-open", "nvidia-firmware-580-server-580.173.02"),
    *("nvidia-fabricmanager-580", "libnvidia-nscq-580", f"{MODULES}{KERNEL}", f"{MODULES}{NEWER}"),
    f"linux-objects-nvidia-580-server-open-{KERNEL}",
    f"linux-signatures-nvidia-{KERNEL}",
)


def test_each_source_takes_away_what_the_other_left_and_nothing_of_its_own() -> None:
    nvidia, archive = stack(state=HostState()), stack()
    assert [name for name in OF_NVIDIA if not matches(name, archive.elsewhere)] == []
    assert [name for name in OF_ARCHIVE if matches(name, archive.elsewhere)] == []
    assert [name for name in OF_ARCHIVE if not matches(name, nvidia.elsewhere)] == []
    assert [name for name in OF_NVIDIA if matches(name, nvidia.elsewhere)] == []


@pytest.mark.parametrize(
    "name",
    [
        f"linux-modules-nvidia-595-server-open-{KERNEL}",
        f"linux-modules-nvidia-580-server-{KERNEL}",
        f"linux-modules-nvidia-580-open-{KERNEL}",
        f"linux-objects-nvidia-580-server-{KERNEL}",
    ],
)
def test_modules_of_another_driver_go(name: str) -> None:
    assert matches(name, stack().elsewhere)


def test_what_belongs_to_no_driver_stays() -> None:
    kept = ("libnvidia-container1", "nvidia-container-toolkit", "libnvidia-egl-wayland1")
    for one in (stack(), stack(state=HostState())):
        assert [name for name in kept if matches(name, one.elsewhere)] == []


# --- plans ----------------------------------------------------------------------------------------


def host(newest: str = KERNEL, signer: str | None = SIGNER, **more: Any) -> Observation:
    """Return an Ubuntu host under Secure Boot with the archive's driver on it."""
    version = "580.173.02-0ubuntu0.24.04.1"
    there = {
        "nvidia-driver-580-server-open": version,
        "nvidia-utils-580-server": version,
        f"{MODULES}{KERNEL}": "6.8.0-1067.67+1",
    }
    module = {
        "kernel": KERNEL,
        "name": "nvidia",
        "path": f"/lib/modules/{KERNEL}/kernel/nvidia-580srv-open/nvidia.ko",
        "version": "580.173.02",
        "vermagic": KERNEL,
        "signer": signer,
    }
    seen = bare(
        os={"id": "ubuntu", "version_id": "24.04", "codename": "noble", "pretty": "Ubuntu"},
        secure_boot=True,
        modules={"loaded": {}, "on_disk": [module]},
        packages={
            name: {"version": version, "status": "installed", "hold": "linux" not in name}
            for name, version in there.items()
        },
        **more,
    )
    seen["kernel"] |= {"running": KERNEL, "target": KERNEL, "next_boot": newest}
    return seen


def planned(seen: Observation) -> HostPlan:
    settings = settings_from({"gpuprep_components": ["driver"], "gpuprep_as_of": "2026-11-25"})
    return plan_host(observed(seen), settings, CATALOG)


def kinds(plan: HostPlan) -> set[str]:
    return {f"{step.kind} {step.target}" for step in plan.steps if step.kind != "unit"} - {
        "blacklist /etc/modprobe.d/gpuprep-nouveau.conf"
    }


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("libnvidia-compute-580", "580.178.04-0ubuntu1"),
        ("libnvidia-compute-580-server", "580.173.02-0ubuntu0.24.04.1"),
        ("libnvidia-compute", "595.91.07-1ubuntu1"),
    ],
)
def test_the_driver_that_is_there_is_told_by_its_library(name: str, version: str) -> None:
    seen = host()
    seen["packages"] = {name: {"version": version, "status": "installed", "hold": True}}
    assert planned(seen).versions["driver"] == version.partition("-")[0]


def test_a_signed_driver_is_in_place() -> None:
    assert kinds(planned(host())) == set()


def test_a_module_that_another_signed_is_unpacked_again() -> None:
    plan = planned(host(signer="DKMS module signing key"))
    assert kinds(plan) == {f"module {KERNEL}"}
    (step,) = [step for step in plan.steps if step.kind == "module"]
    assert "signed by DKMS module signing key, not Canonical" in step.reason


def test_a_kernel_that_waits_for_its_reboot_gets_its_modules_first() -> None:
    plan = planned(host(newest=NEWER))
    assert kinds(plan) == {f"package {MODULES}{NEWER}", "hold packages"}
    # They may be of a later release than the running kernel's: the whole driver may move.
    assert plan.roles["gpu_driver"].state.version == "580.*"


def test_a_running_kernel_that_lost_its_modules_to_the_next_one_asks_for_the_reboot() -> None:
    seen = host(newest=NEWER)
    seen["modules"]["on_disk"] = []
    seen["packages"][f"{MODULES}{NEWER}"] = seen["packages"].pop(f"{MODULES}{KERNEL}")
    plan = planned(seen)
    assert kinds(plan) == {"reboot host"}
    assert plan.reboot_required


def test_a_pin_of_nvidias_goes_after_the_driver_that_it_held() -> None:
    seen = host()
    seen["packages"] = {
        name: {"version": "580.178.04-0ubuntu1", "status": "installed", "hold": True}
        for name in ("nvidia-open-580", "libnvidia-compute-580")
    }
    pin = {"version": "580-1", "status": "installed", "hold": False}
    seen["packages"]["nvidia-driver-pinning-580"] = pin
    plan = planned(seen)
    operations = plan.roles["gpu_driver"].to_dict()["operations"]["packages"]
    assert [operation["op"] for operation in operations] == ["packages", "purge", "hold"]
    assert operations[0]["remove"] == ["libnvidia-compute-580", "nvidia-open-580"]
    assert operations[0]["locked"]["version"] == "580.*"  # not that of the other source
    assert operations[1]["names"] == ["nvidia-driver-pinning-580"]


@pytest.mark.parametrize("components", [["driver"], ["driver", "cuda"]])
def test_a_pin_that_forbids_the_archives_driver_is_refused_before_anything(
    components: list[str],
) -> None:
    seen = host()
    seen["packages"] = {}
    rule = {"path": "/etc/apt/preferences.d/site", "names": ["*-580-server*"]}
    rules = [{**rule, "pin": "version 580.*", "priority": -1}]
    seen["package_manager"] = {**seen["package_manager"], "rules": rules}
    settings = settings_from({"gpuprep_components": components, "gpuprep_as_of": "2026-11-25"})
    plan = plan_host(observed(seen), settings, CATALOG)
    assert plan.code == "E_FOREIGN_PIN"
    assert "nvidia-utils-580-server" in str(plan.error)


# --- the ladder -----------------------------------------------------------------------------------


def test_the_signer_is_checked_and_not_only_that_there_is_one() -> None:
    locked = {"observation.secure_boot": True, "observation.mok_enrolled": True}
    signed = healthy({**locked, "observation.modules.on_disk.0.signer": "DKMS module signing key"})
    own = signed.checks(verified())["module.signed"]
    assert own.status is CheckStatus.PASSED
    theirs = signed.checks(replace(verified(), signer=SIGNER))["module.signed"]
    assert theirs.status is CheckStatus.FAILED
    assert f"not by {SIGNER}" in theirs.detail


# --- the transaction ------------------------------------------------------------------------------


def test_modules_that_the_archive_does_not_have_are_told_as_that() -> None:
    text = f"E: Unable to locate package {MODULES}{NEWER}"
    said = deb.explain(text, {"install": {}, "remove": []})
    assert f"no modules of this driver for kernel {NEWER}" in said


# --- other machines -------------------------------------------------------------------------------


def test_gb200_on_24_04_is_planned_for_its_machine() -> None:
    desired = DesiredStack(as_of="2026-11-25", components=("driver",))
    facts = HostFacts(
        ("10de:2941",) * 4,
        "ubuntu-24.04",
        arch="aarch64",
        kernel="6.8.0-1067-oracle-64k",
        shape="BM.GPU.GB200.4",
    )
    found = resolve(facts, desired, CATALOG)
    assert isinstance(found, Stack)
    assert {"nvidia-open-580", "nvidia-imex", "linux-headers-6.8.0-1067-oracle-64k"} <= names(found)
    assert found.repository is not None
    assert found.repository.url.endswith("/ubuntu2404/sbsa/")


def test_the_compiler_of_a_kernel_is_looked_for_on_the_host() -> None:
    facts = HostFacts((A10,), "ubuntu-22.04", kernel=KERNEL, kernel_cc="gcc-12 (Ubuntu) 12.3.0")
    found = resolve(facts, DesiredStack(components=("driver",), as_of="2026-11-25"), CATALOG)
    assert isinstance(found, Stack)
    assert "gcc-12" in names(found)
    asked = observation_request(CATALOG, settings_from({}))["packages"]
    # What is never reported would be installed again and again.
    assert [name for name in names(found) if not re.match(asked, name)] == []
