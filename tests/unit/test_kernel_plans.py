"""Hosts whose kernel moved on: what is planned, refused and told before a compiler finds out."""

from __future__ import annotations

from typing import Any

import pytest
from planner_cases import DRIVER, KERNEL, Observation, bare, carried_out, module, observed
from verify_cases import healthy, stack

from gpuprep.catalog import load
from gpuprep.model import CheckStatus
from gpuprep.planner import HostPlan, plan_host, settings_from
from gpuprep.report.text import fleet_in_words

CATALOG = load()
BACKPORT = "6.1.0-57-amd64"  # has pci_resize_resource() with a fourth argument
OPEN, PROPRIETARY = "Dual MIT/GPL", "NVIDIA"
SHOWN = {"version": "6.1.192", "changes": {"pci_resize_resource": True}}


def plan(observation: Observation, **settings: Any) -> HostPlan:
    wanted = {"gpuprep_components": ["driver"], **settings}
    return plan_host(observed(observation), settings_from(wanted), CATALOG)


def prepared(licence: str = OPEN, **kernel: Any) -> Observation:
    """Return a host that was prepared under KERNEL, with its kernels set to others."""
    host = bare()
    host = carried_out(host, plan(host))
    host["modules"]["on_disk"] = [{**module(KERNEL), "license": licence}]
    host["kernel"] = {**host["kernel"], **kernel}
    return host


def rebooted(licence: str = OPEN, release: str = BACKPORT) -> Observation:
    """Return that host after a kernel update and a reboot: its driver has no module now."""
    host = prepared(licence, running=release, target=release, next_boot=release)
    host["packages"][f"linux-headers-{release}"] = {
        **host["packages"][f"linux-headers-{KERNEL}"],
        "version": "6.1.192-3",
    }
    return host


def test_a_driver_that_cannot_follow_its_kernel_is_moved_to_a_release_that_can() -> None:
    made = plan(rebooted())
    (step,) = [s for s in made.steps if s.kind == "package"]
    assert (step.target, step.action, step.before) == ("nvidia-open-580", "change", f"{DRIVER}-1")
    assert f"driver {DRIVER} does not build on kernel {BACKPORT}" in step.reason
    assert "580.126.09 and later of branch 580 do" in step.reason
    assert "module" not in {s.kind for s in made.steps}  # the packages' own scripts build it
    operations = made.roles["gpu_driver"].to_dict()["operations"]["packages"]
    (transaction,) = [o for o in operations if o["op"] == "packages" and o["locked"]]
    assert {"name": "nvidia-open-580", "version": "580.*"} in transaction["install"]
    assert transaction["locked"]["version"] == "580.*"  # the newest that is offered
    assert made.warnings == ()


def test_it_is_moved_to_no_release_that_the_repository_cannot_be_asked_for() -> None:
    """An exact version is the user's word: refused, not moved."""
    made = plan(rebooted(), gpu_driver_version=DRIVER, gpu_driver_flavour="open")
    assert made.code == "E_DRIVER_KERNEL"
    assert "Would work: -e gpu_driver_flavour=auto" in str(made.error)


def test_what_was_built_all_the_same_is_left_alone() -> None:
    host = rebooted()
    host["modules"]["on_disk"] = [{**module(BACKPORT), "license": OPEN}]
    assert plan(host).steps == ()
    assert plan(host).warnings == ()


def test_a_driver_that_can_follow_is_built_and_not_moved() -> None:
    host = rebooted(release="6.1.0-50-amd64")
    assert {s.kind for s in plan(host).steps} == {"module"}


def test_headers_decide_where_the_number_says_nothing() -> None:
    host = rebooted(release="6.1.0-50-amd64")
    host["kernel"]["shown"] = {"6.1.0-50-amd64": SHOWN}
    assert {s.target for s in plan(host).steps if s.kind == "package"} == {"nvidia-open-580"}
    host = rebooted()
    host["kernel"]["shown"] = {BACKPORT: {"changes": {"pci_resize_resource": False}}}
    assert {s.kind for s in plan(host).steps} == {"module"}


# --- a driver that stays --------------------------------------------------------------------------
KEEP = {"gpu_driver_branch": "keep"}


def warned(made: HostPlan) -> list[str]:
    return [w.message for w in made.warnings if w.code == "W_DRIVER_KERNEL"]


def test_a_kept_driver_that_cannot_follow_its_kernel_is_told() -> None:
    (message,) = warned(plan(rebooted(), **KEEP))
    advice = "gpuprep apply with -e gpu_driver_branch=auto gives"
    for words in (f"driver {DRIVER} with open", BACKPORT, "which runs", "580.126.09", advice):
        assert words in message
    assert warned(plan(rebooted(PROPRIETARY), **KEEP)) == []
    assert warned(plan(rebooted(release="6.1.0-50-amd64"), **KEEP)) == []


def test_a_kept_driver_is_warned_of_the_kernel_that_waits() -> None:
    host = prepared(next_boot=BACKPORT)
    (message,) = warned(plan(host, **KEEP))
    assert "which the next boot starts" in message
    assert f"-e gpu_driver_branch=auto -e gpu_driver_kernel={BACKPORT} gives" in message
    assert warned(plan(prepared(), **KEEP)) == []
    host["kernel"]["shown"] = {BACKPORT: {"changes": {"pci_resize_resource": False}}}
    assert warned(plan(host, **KEEP)) == []


def test_modules_that_the_archive_built_need_nothing() -> None:
    host = prepared(running="6.8.0-1063-oracle", next_boot="6.8.0-1068-oracle")
    host["os"] = {"id": "ubuntu", "version_id": "24.04"}
    assert warned(plan(host, **KEEP))
    name = "linux-modules-nvidia-580-server-open-6.8.0-1068-oracle"
    host["packages"][name] = {"version": "6.8.0-1068.1", "status": "installed"}
    assert warned(plan(host, **KEEP)) == []


def test_patches_of_the_archive_are_known() -> None:
    release = "6.15.6+deb13-amd64"
    host = prepared(PROPRIETARY, running=release, target=release, next_boot=release)
    host["os"] = {"id": "debian", "version_id": "13"}
    host["modules"]["on_disk"] = [{**module(KERNEL, "550.163.01"), "license": PROPRIETARY}]
    host["driver"]["proc_version"] = None
    for package in host["packages"].values():
        package["version"] = package["version"].replace(DRIVER, "550.163.01")
    assert warned(plan(host, **KEEP)) == []
    host["os"]["version_id"] = "12"  # whose archive has another release
    assert warned(plan(host, **KEEP))


# --- a kernel that waits for its reboot -----------------------------------------------------------
def test_a_refused_host_is_told_what_its_reboot_would_cost() -> None:
    made = plan(prepared(next_boot=BACKPORT))
    assert made.code == "E_REBOOT_FIRST"
    assert "which the next boot starts" in warned(made)[0]
    assert (
        f"before the reboot, gpuprep apply with -e gpu_driver_kernel={BACKPORT}" in warned(made)[0]
    )
    text = "\n".join(fleet_in_words({"h": made}))
    assert "E_REBOOT_FIRST" in text
    assert f"W_DRIVER_KERNEL: driver {DRIVER}" in text


def test_settings_that_would_lose_the_driver_are_refused_before_the_reboot() -> None:
    host = bare(kernel={**bare()["kernel"], "next_boot": BACKPORT})
    host["kernel"]["shown"] = {BACKPORT: SHOWN}
    made = plan(host, gpu_driver_version=DRIVER, gpu_driver_flavour="open")
    assert made.code == "E_NEXT_KERNEL"
    for words in ("its headers show it", "Before the reboot: -e gpu_driver_flavour=auto"):
        assert words in str(made.error)
    del host["kernel"]["shown"]
    assert "its headers are not there" in str(
        plan(host, gpu_driver_version=DRIVER, gpu_driver_flavour="open").error
    )
    assert plan(host).code == "E_REBOOT_FIRST"  # what auto takes builds there


def test_the_driver_can_be_moved_before_the_reboot() -> None:
    host = prepared(next_boot=BACKPORT, target=BACKPORT)
    host["modules"]["on_disk"] = []  # of the target
    host["packages"][f"linux-headers-{BACKPORT}"] = dict(
        host["packages"][f"linux-headers-{KERNEL}"]
    )
    made = plan(host, gpu_driver_kernel=BACKPORT)
    assert {s.target for s in made.steps if s.kind == "package"} == {"nvidia-open-580"}
    assert warned(made) == []


# --- verify ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("version", "release", "shown", "words"),
    [
        ("580.95.05", BACKPORT, {}, "580.95.05 with open modules does not build on it"),
        ("580.95.05", "6.1.0-50-amd64", {}, None),
        ("580.95.05", "6.1.0-50-amd64", {"6.1.0-50-amd64": SHOWN}, "fourth argument"),
        ("580.126.09", BACKPORT, {}, None),
    ],
)
def test_verify_says_why_the_next_boot_has_no_module(
    version: str, release: str, shown: dict[str, Any], words: str | None
) -> None:
    module_file = {**module("6.1.0-40-amd64", version), "license": OPEN}
    change = {
        "observation.kernel.next_boot": release,
        "observation.kernel.shown": shown,
        "observation.driver.proc_version": f"NVRM version: {version}",
        "observation.driver.flavour": "open",
        "observation.modules.on_disk": [module_file],
    }
    check = healthy(change).checks(stack())["module.next_boot"]
    assert check.status is CheckStatus.FAILED
    if words is None:
        assert "build" not in check.detail
    else:
        assert words in check.detail
        assert "580.126.09" in check.detail
