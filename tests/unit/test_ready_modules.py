"""Modules that Ubuntu's archive has ready, as a host's package index says: planned or refused."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner_cases import Observation, bare, observed
from test_ubuntu import A10, KERNEL, LOCKED_DOWN, NEWER, SIGNER, V100

from gpuprep.catalog import load
from gpuprep.codes import table
from gpuprep.components import resolve
from gpuprep.model import DesiredStack, HostFacts, HostState, Refusal, Stack
from gpuprep.on_host.observe import deb
from gpuprep.planner import observation_request, plan_host, settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CATALOG = load()
REQUEST = observation_request(CATALOG, settings_from({}))["ready"]
WAITS = replace(LOCKED_DOWN, newest_kernel=NEWER)


def modules(branch: str, kernel: str = KERNEL, flavour: str = "server-open") -> str:
    return f"linux-modules-nvidia-{branch}-{flavour}-{kernel}"


def outcome(
    *offered: str,
    gpu: str = A10,
    os: str = "ubuntu-24.04",
    state: HostState = LOCKED_DOWN,
    releases: tuple[str, ...] = (),
    **setting: Any,
) -> Stack | Refusal:
    facts = HostFacts(
        (gpu,), os, kernel=KERNEL, state=state, ready_modules=dict.fromkeys(offered, releases)
    )
    wanted = {"as_of": "2026-11-25", "components": ("driver",), **setting}
    return resolve(facts, DesiredStack(**wanted), CATALOG)


def stack(*offered: str, **named: Any) -> Stack:
    found = outcome(*offered, **named)
    assert isinstance(found, Stack), found
    return found


def refusal(*offered: str, **named: Any) -> Refusal:
    found = outcome(*offered, **named)
    assert isinstance(found, Refusal), found
    return found


def codes(found: Stack) -> set[str]:
    return {warning.code for warning in found.warnings}


# --- what is decided ------------------------------------------------------------------------------


def test_without_an_index_modules_are_taken_to_be_there() -> None:
    facts = HostFacts((A10,), "ubuntu-24.04", kernel=KERNEL, state=WAITS)
    desired = DesiredStack(as_of="2026-11-25", components=("driver",))
    found = resolve(facts, desired, CATALOG)
    assert isinstance(found, Stack)
    assert dict(found.ready) == {NEWER: modules("580", NEWER)}


def test_what_would_build_modules_goes_when_they_come_ready() -> None:
    """The linker of modules prefers those of DKMS, which nobody has signed."""
    for state in (LOCKED_DOWN, HostState()):
        ready = stack(modules("580"), state=state, source="distro")
        assert set(ready.conflicting) == {"nvidia-dkms-*-server-open", "nvidia-dkms-*-server"}
    built = stack(state=HostState(), source="distro")
    assert (dict(built.ready), built.conflicting) == ({}, ())
    assert "nvidia-dkms-580-server-open" in {package.name for package in built.packages}


def test_a_kernel_that_waits_for_its_reboot_gets_its_own() -> None:
    found = stack(modules("580"), modules("580", NEWER), state=WAITS)
    assert dict(found.ready) == {NEWER: modules("580", NEWER)}
    assert "W_NEXT_KERNEL_MODULES" not in codes(found)


def test_where_that_has_none_yet_the_running_one_keeps_its_own_and_it_is_told() -> None:
    found = stack(modules("580"), modules("595", NEWER), state=WAITS)
    assert dict(found.ready) == {KERNEL: modules("580")}
    (warning,) = [w for w in found.warnings if w.code == "W_NEXT_KERNEL_MODULES"]
    assert f"do not reboot into {NEWER}" in warning.message


def test_a_branch_without_modules_gives_way_to_the_next_with_the_reason() -> None:
    found = stack(modules("595"))
    assert (found.branch, dict(found.ready)) == ("595", {KERNEL: modules("595")})
    (kernels,) = [r for r in found.reasons if r.choice == "kernels"]
    assert (kernels.value, f"for {KERNEL} it has 595 open" in kernels.why) == (KERNEL, True)
    (reason,) = [r for r in found.reasons if r.choice == "branch"]
    assert f"has no modules of driver 580 for kernel {KERNEL}" in reason.why


def test_a_branch_that_was_asked_for_is_refused_with_the_nearest() -> None:
    found = refusal(modules("595"), branch="580")
    assert (found.code, found.settings) == ("E_READY_MODULES", ("branch",))
    assert f"for {KERNEL} it has 595 open" in found.message
    assert "driver 595" in str(found.nearest)


def test_a_branch_that_became_another_is_judged_as_that() -> None:
    assert stack(modules("580"), branch="570").branch == "580"
    assert refusal(modules("595"), branch="570").code == "E_READY_MODULES"


def test_an_exact_release_must_be_the_one_that_modules_are_of() -> None:
    there = {"releases": ("580.173.02",)}
    assert stack(modules("580"), version="580.173.02", **there).driver_version == "580.173.02"
    found = refusal(modules("580"), version="580.178.04", **there)
    assert found.code == "E_READY_MODULES"
    assert "580 open (580.173.02)" in found.message


def test_the_flavour_that_has_modules_is_taken() -> None:
    assert stack(modules("580", flavour="server")).flavour == "proprietary"
    found = refusal(modules("580", flavour="server"), flavour="open")
    assert (found.code, found.settings) == ("E_READY_MODULES", ("flavour",))


def test_a_kernel_without_any_is_refused_under_secure_boot() -> None:
    found = refusal()
    assert found.code == "E_READY_MODULES"
    assert f"for {KERNEL} it has none" in found.message
    assert "apt-get update" in table()["E_READY_MODULES"].remedy


def test_elsewhere_its_modules_are_built_instead() -> None:
    found = stack(state=HostState(), source="distro")
    names = {package.name for package in found.packages}
    assert {"nvidia-dkms-580-server-open", f"linux-headers-{KERNEL}"} <= names
    assert dict(found.ready) == {}
    assert found.signer is None
    (reason,) = [r for r in found.reasons if r.choice == "modules"]
    assert "built on the host" in reason.value


def test_what_would_be_built_is_built_for_a_kernel_that_runs() -> None:
    state = HostState(newest_kernel=NEWER)
    found = refusal(modules("595"), state=state, source="distro", branch="580")
    assert found.code == "E_READY_MODULES"


def test_a_v100_on_26_04_is_refused_where_its_only_branch_has_no_modules() -> None:
    found = outcome(modules("595"), gpu=V100, os="ubuntu-26.04", state=LOCKED_DOWN)
    assert isinstance(found, Refusal)
    assert found.code == "E_READY_MODULES"
    built = stack(modules("595"), gpu=V100, os="ubuntu-26.04", state=HostState())
    assert "nvidia-dkms-580-server" in {package.name for package in built.packages}


@pytest.mark.parametrize("flavour", ["aws", "azure", "gcp", "nvidia", "nvidia-64k"])
def test_the_index_knows_kernels_that_the_data_does_not(flavour: str) -> None:
    kernel = f"6.8.0-1040-{flavour}"
    facts = HostFacts(
        (A10,),
        "ubuntu-24.04",
        kernel=kernel,
        state=LOCKED_DOWN,
        ready_modules={modules("580", kernel): ("580.173.02",)},
    )
    desired = DesiredStack(as_of="2026-11-25", components=("driver",))
    found = resolve(facts, desired, CATALOG)
    assert isinstance(found, Stack)
    assert dict(found.ready) == {kernel: modules("580", kernel)}
    unknown = resolve(replace(facts, ready_modules=None), desired, CATALOG)
    assert isinstance(unknown, Refusal)


OFFERS = st.sets(
    st.builds(
        modules,
        st.sampled_from(["580", "595"]),
        st.sampled_from([KERNEL, NEWER]),
        st.sampled_from(["server", "server-open"]),
    )
)


@given(
    offered=OFFERS,
    waits=st.booleans(),
    locked=st.booleans(),
    branch=st.sampled_from(["auto", "570", "580", "595"]),
    gpu=st.sampled_from([A10, V100]),
)
def test_nothing_is_planned_that_the_index_does_not_have(
    offered: set[str], *, waits: bool, locked: bool, branch: str, gpu: str
) -> None:
    state = HostState(secure_boot=locked, newest_kernel=NEWER if waits else None)
    found = outcome(*offered, gpu=gpu, state=state, source="distro", branch=branch)
    if isinstance(found, Refusal):
        assert found.code in {"E_READY_MODULES", "E_BRANCH_ARCH", "E_DISTRO_BRANCH"}
        return
    planned = {p.name for p in found.packages if p.name.startswith("linux-modules-nvidia-")}
    assert planned <= offered
    assert planned == set(found.ready.values())
    assert planned or not locked
    assert set(found.ready) <= {KERNEL, NEWER} if waits else {KERNEL}
    if planned and waits and NEWER not in found.ready:
        assert "W_NEXT_KERNEL_MODULES" in codes(found)


# --- what is observed -----------------------------------------------------------------------------

STANZA = """\
Package: {name}
Architecture: amd64
Version: {version}
Depends: linux-image-{kernel} | linux-image, {common} (<= {driver}-1), {common} (>= {driver})
Description: modules
"""


def stanza(branch: str, kernel: str, driver: str) -> str:
    name, version = modules(branch, kernel), f"{kernel}+1"
    common = f"nvidia-kernel-common-{branch}-server"
    return STANZA.format(name=name, kernel=kernel, common=common, driver=driver, version=version)


def lists(folder: Path, texts: Mapping[str, str]) -> str:
    for name, text in texts.items():
        (folder / name).write_text(text)
    return f"{folder}/"


UPDATES = "mirror_dists_noble-updates_restricted_binary-amd64_Packages"
RELEASE = "mirror_dists_noble_restricted_binary-amd64_Packages"


def test_the_index_is_looked_into_for_the_hosts_kernels_only(tmp_path: Path) -> None:
    texts = [
        stanza("580", KERNEL, "580.173.02"),
        stanza("580", NEWER, "580.178.04"),
        stanza("580", f"1{KERNEL}", "580.95.05"),
        stanza("595", f"{KERNEL}-64k", "595.71.05"),
        f"Package: linux-objects-nvidia-580-server-open-{KERNEL}\nVersion: 1\n",
        stanza("595", KERNEL, "595.71.05"),
    ]
    second = stanza("580", KERNEL, "580.178.04")
    other = stanza("570", KERNEL, "570.211.01")
    folder = lists(
        tmp_path,
        {
            UPDATES: "\n".join(texts),
            RELEASE: second,
            "mirror_dists_noble_universe_binary-amd64_Packages": other,
        },
    )
    found = deb.ready_modules(REQUEST, {KERNEL}, {}, folder)
    assert found == {
        modules("580"): ["580.173.02", "580.178.04"],
        modules("595"): ["595.71.05"],
    }


def test_without_an_index_it_is_not_known(tmp_path: Path) -> None:
    assert deb.ready_modules(REQUEST, {KERNEL}, {}, lists(tmp_path, {})) is None
    folder = lists(tmp_path, {UPDATES: ""})
    assert deb.ready_modules(REQUEST, {KERNEL}, {}, folder) == {}


def test_installed_modules_count_when_the_index_forgot_them(tmp_path: Path) -> None:
    there = {
        modules("580"): {
            "status": "installed",
            "depends": "nvidia-kernel-common-580-server (>= 580.173.02)",
        },
        modules("595"): {"status": "config-files", "depends": ""},
        f"linux-headers-{KERNEL}": {"status": "installed", "depends": ""},
    }
    folder = lists(tmp_path, {UPDATES: stanza("580", NEWER, "580.178.04")})
    assert deb.ready_modules(REQUEST, {KERNEL}, there, folder) == {modules("580"): ["580.173.02"]}


def test_a_compressed_index_is_read_by_apts_own_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "apt-helper"
    helper.write_text('#!/bin/sh\n[ "$1" = cat-file ] && exec gzip -dc "$2"\n')
    helper.chmod(0o755)
    monkeypatch.setattr(deb, "UNPACK", str(helper))
    packed = tmp_path / f"{UPDATES}.gz"
    packed.write_bytes(gzip.compress(stanza("580", KERNEL, "580.173.02").encode()))
    found = deb.ready_modules(REQUEST, {KERNEL}, {}, f"{tmp_path}/")
    assert found == {modules("580"): ["580.173.02"]}


def test_only_who_may_take_the_archives_is_asked_for_them() -> None:
    nvidia = settings_from({"gpu_driver_source": "nvidia"})
    assert observation_request(CATALOG, nvidia)["ready"] is None
    assert re.compile(REQUEST["driver"]).groups == 1


# --- plans ----------------------------------------------------------------------------------------


def host(**ready: list[str]) -> Observation:
    seen = bare(
        os={"id": "ubuntu", "version_id": "24.04", "codename": "noble", "pretty": "Ubuntu"},
        secure_boot=True,
    )
    seen["kernel"] |= {"running": KERNEL, "target": KERNEL, "next_boot": KERNEL}
    seen["package_manager"]["ready"] = ready
    return seen


def test_a_plan_follows_what_the_host_said() -> None:
    settings = settings_from({"gpuprep_components": ["driver"], "gpuprep_as_of": "2026-11-25"})
    refused = plan_host(observed(host()), settings, CATALOG)
    assert (refused.code, refused.steps) == ("E_READY_MODULES", ())
    made = plan_host(observed(host(**{modules("595"): ["595.71.05"]})), settings, CATALOG)
    assert made.stack is not None
    assert (made.stack.branch, made.stack.signer) == ("595", SIGNER)
