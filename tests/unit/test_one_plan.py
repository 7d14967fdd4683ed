"""One plan: what a role does in the whole run is what it does when it is used alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cases import KERNEL, Observation, bare, observed

from gpuprep.catalog import load
from gpuprep.components import BY_NAME, BY_ROLE, NAMES, ROLES
from gpuprep.model import SHARED_KINDS, PlanState
from gpuprep.planner import HostPlan, plan_host, settings_from

CATALOG = load()
SYSTEMS = {
    "debian-12": {"id": "debian", "version_id": "12"},
    "debian-13": {"id": "debian", "version_id": "13"},
    "ubuntu-22.04": {"id": "ubuntu", "version_id": "22.04"},
    "ubuntu-24.04": {"id": "ubuntu", "version_id": "24.04"},
}
GPUS = ("10de:2236", "10de:1db1", "10de:2330", "10de:20b0", "10de:2901", "10de:15f8")
LOADED = (None, "535.288.01", "570.172.08", "580.95.05", "595.58.03")


def host(system: str, gpu: str | None, loaded: str | None, switches: int = 0) -> Observation:
    """A host with a GPU (or none), a driver that runs (or none) and NVSwitches."""
    vendor, device = gpu.split(":") if gpu else ("", "")
    devices = [
        {"slot": str(n), "vendor": "10de", "device": "22a3", "pci_class": "068000"}
        for n in range(switches)
    ]
    if gpu:
        devices.append({"slot": "9", "vendor": vendor, "device": device, "pci_class": "030200"})
    seen = bare(pci=devices, os=SYSTEMS[system])
    if loaded:
        seen["driver"] |= {"proc_version": loaded, "flavour": "proprietary"}
        seen["modules"] = {"loaded": {"nvidia": loaded}, "on_disk": []}
        seen["kernel"] |= {"loads_modules": True}
    return seen


def plans(seen: Observation, variables: dict[str, Any]) -> tuple[HostPlan, dict[str, HostPlan]]:
    """The whole plan, and the plan of each role used alone, from the same inputs."""
    observation, wanted = observed(seen), settings_from(variables)
    whole = plan_host(observation, wanted, CATALOG)
    alone = {role: plan_host(observation, wanted, CATALOG, role=role) for role in ROLES}
    return whole, alone


def assert_parts_agree(whole: HostPlan, alone: dict[str, HostPlan]) -> None:
    for role, part in whole.roles.items():
        own = alone[role]
        assert own.ok, (role, own.code, own.error)
        assert own.roles[role].state == part.state, role
        left = [step for step in own.roles[role].steps if step.kind not in SHARED_KINDS]
        assert left == [step for step in part.steps if step.kind not in SHARED_KINDS], role
        # Nothing of a shared file is missing in both: some role of the whole plan has it.
        shared = {s.target for s in own.roles[role].steps if s.kind in SHARED_KINDS}
        assert shared <= {s.target for s in whole.steps if s.kind in SHARED_KINDS}, role


VARIABLES = st.fixed_dictionaries(
    {
        "gpuprep_as_of": st.just("2026-11-20"),
        "gpu_driver_branch": st.sampled_from(
            ["auto", "keep", "none", *sorted(CATALOG.branches)],
        ),
        "gpuprep_channel": st.sampled_from(sorted(CATALOG.channels)),
        "gpu_driver_source": st.sampled_from(["nvidia", "distro"]),
        "gpu_driver_profile": st.sampled_from(["full", "compute"]),
        "gpu_driver_flavour": st.sampled_from(["auto", "open", "proprietary"]),
        "gpu_driver_version": st.sampled_from(["auto", "580.95.05", "570.172.08"]),
        "gpu_driver_reboot_allowed": st.booleans(),
        "cuda_toolkit_versions": st.sampled_from(
            [["auto"], ["none"], ["12.9"], ["12"], ["13.0", "12.9"]]
        ),
        "cudnn_version": st.sampled_from(["auto", "none", "9"]),
        "conda_installer_version": st.sampled_from(["auto", "none"]),
        "gpuprep_components": st.lists(
            st.sampled_from(NAMES), unique=True, min_size=1, max_size=len(NAMES)
        ),
    }
)


@settings(max_examples=400, deadline=None)
@given(
    variables=VARIABLES,
    system=st.sampled_from(sorted(SYSTEMS)),
    gpu=st.sampled_from([*GPUS, None]),
    loaded=st.sampled_from(LOADED),
    switches=st.sampled_from([0, 4]),
)
def test_part_of_the_whole_plan_is_the_plan_of_the_role_alone(
    variables: dict[str, Any], system: str, gpu: str | None, loaded: str | None, switches: int
) -> None:
    whole, alone = plans(host(system, gpu, loaded, switches), variables)
    if whole.ok:
        assert_parts_agree(whole, alone)


@pytest.mark.parametrize("branch", ["535", "570", "580", "595", "keep"])
def test_the_property_is_not_empty_for_the_branches_that_people_run(branch: str) -> None:
    seen = host("debian-12", "10de:2236", "570.172.08" if branch == "keep" else None)
    whole, alone = plans(seen, {"gpu_driver_branch": branch, "gpuprep_as_of": "2026-11-20"})
    assert whole.state is PlanState.DRIFTED, whole.error
    assert set(whole.roles) == {BY_NAME[name].role for name in NAMES}
    assert_parts_agree(whole, alone)


@pytest.mark.parametrize(
    ("variables", "loaded", "cuda", "cudnn"),
    [
        ({}, None, "cuda-toolkit-13-0", "cudnn9-cuda-13"),
        ({"gpu_driver_branch": "535"}, None, "cuda-toolkit-12-2", "cudnn9-cuda-12"),
        ({"gpu_driver_branch": "570"}, None, "cuda-toolkit-12-8", "cudnn9-cuda-12"),
        ({"gpu_driver_branch": "595"}, None, "cuda-toolkit-13-2", "cudnn9-cuda-13"),
        ({"gpu_driver_branch": "keep"}, "570.172.08", "cuda-toolkit-12-8", "cudnn9-cuda-12"),
        ({"gpu_driver_source": "distro"}, None, "cuda-toolkit-12-2", "cudnn9-cuda-12"),
        ({"gpuprep_channel": "pb"}, None, "cuda-toolkit-13-2", "cudnn9-cuda-13"),
        ({"cuda_toolkit_versions": ["12.9"]}, None, "cuda-toolkit-12-9", "cudnn9-cuda-12"),
    ],
)
def test_a_role_alone_knows_the_driver_that_is_wanted_or_kept(
    variables: dict[str, Any], loaded: str | None, cuda: str, cudnn: str
) -> None:
    _, alone = plans(host("debian-12", "10de:2236", loaded), variables)
    toolkits = {
        request.name for request in alone["cuda_toolkit"].roles["cuda_toolkit"].state.packages
    }
    assert cuda in toolkits
    assert cudnn in {request.name for request in alone["cudnn"].roles["cudnn"].state.packages}


def test_a_role_alone_needs_no_gpu_where_only_the_driver_would() -> None:
    _, alone = plans(host("debian-12", None, None), {})
    assert alone["gpu_driver"].code == "E_NO_GPU"
    for role in ("cuda_toolkit", "cudnn", "conda"):
        assert alone[role].state is PlanState.DRIFTED, alone[role].error


def test_a_role_alone_is_wanted_whatever_the_fleet_wants_but_for_its_own_none() -> None:
    _, alone = plans(bare(), {"gpuprep_components": ["driver"], "cudnn_version": "none"})
    assert alone["conda"].roles["conda"].steps
    assert alone["cudnn"].roles == {}
    assert alone["cudnn"].ok


def test_what_decides_a_component_comes_before_it() -> None:
    order = {component.name: number for number, component in enumerate(BY_ROLE.values())}
    for component in BY_ROLE.values():
        assert all(order[name] < order[component.name] for name in component.decided_by)


def test_a_broken_hand_over_would_be_seen() -> None:
    """The comparison fails for a role that decides without the driver, as it once did."""
    variables = {"gpu_driver_branch": "570", "gpu_driver_kernel": KERNEL}
    whole, alone = plans(host("debian-12", "10de:2236", None), variables)
    blind = settings_from({**variables, "gpu_driver_branch": "none"})
    seen = observed(host("debian-12", "10de:2236", None))
    alone["cuda_toolkit"] = plan_host(seen, blind, CATALOG, role="cuda_toolkit")
    with pytest.raises(AssertionError, match="cuda_toolkit"):
        assert_parts_agree(whole, alone)
