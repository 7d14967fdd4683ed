"""Free space: each file system has room for all that a plan puts on it, or the host is refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cases import KERNEL, Observation, bare, carried_out, observed, space

from gpuprep.catalog import load
from gpuprep.components import COMPONENTS
from gpuprep.components.driver import BLACKLIST
from gpuprep.on_host.observe.main import SPACE
from gpuprep.planner import plan_host, settings_from
from gpuprep.planner.space import Need, shortage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.planner import HostPlan

CATALOG = load()
WISH = settings_from({"oci_shape": "VM.GPU.A10.1"})
INITRAMFS = f"/boot/initrd.img-{KERNEL}"
DEFAULT = [component for component in COMPONENTS if not component.opt_in]
NEEDS: Counter[str] = sum((Counter(component.space_mb) for component in DEFAULT), Counter())
ALL = NEEDS.total()


def plan(seen: Observation) -> HostPlan:
    return plan_host(observed(seen), WISH, CATALOG)


def on_devices(devices: Iterable[int], free: dict[int, int]) -> Observation:
    """Return free space where each path lies on the device that is given for it."""
    return {
        path: {"free_mb": free[device], "device": device}
        for path, device in zip(SPACE, devices, strict=True)
    }


def with_initramfs(megabytes: int, **changes: Any) -> Observation:
    """Return a bare host whose initial RAM disk is made anew."""
    return bare(
        commands={"update-initramfs": True},
        initramfs={INITRAMFS: []},
        initramfs_mb={INITRAMFS: megabytes},
        **changes,
    )


PARTITIONS = st.tuples(*(st.integers(1, len(SPACE)) for _ in SPACE))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), devices=PARTITIONS, megabytes=st.sampled_from([0, 1, 40, 400]))
def test_a_host_is_refused_where_the_sum_on_one_file_system_is_more_than_is_free(
    data: st.DataObject, devices: tuple[int, ...], megabytes: int
) -> None:
    wanted: Counter[int] = Counter()
    boot = -(-megabytes * 5 // 4)
    for path, device in zip(SPACE, devices, strict=True):
        wanted[device] += boot if path == "/boot" else NEEDS[path]
    beside = st.integers(-2, 2) | st.integers(-20_000, 50_000)
    free = {device: max(0, need + data.draw(beside)) for device, need in wanted.items()}
    made = plan(with_initramfs(megabytes, space=on_devices(devices, free)))
    short = [device for device, need in wanted.items() if free[device] < need]
    assert made.code == ("E_DISK" if short else None), made.error
    if short:
        words = [
            f"has {free[device]} MiB free, and this plan needs about {wanted[device]}"
            for device in short
        ]
        assert any(text in (made.error or "") for text in words)


def test_paths_on_one_file_system_are_added_up_and_told() -> None:
    assert ALL == 16_090
    assert plan(bare(space=space(ALL))).state == "drifted"
    for free in (9_800, ALL - 1):
        made = plan(bare(space=space(free)))
        assert (made.state, made.code, made.steps) == ("refused", "E_DISK", ())
        assert (made.error or "").startswith(
            f"/usr, /var, /tmp and /opt share a file system that has {free} MiB free, and this plan"
            f" needs about {ALL} MiB there (2150 for NVIDIA driver, 10020 for CUDA,"
            " 2720 for cuDNN, 1200 for conda); make room"
        )


def test_each_path_on_a_file_system_of_its_own_needs_its_own_part_only() -> None:
    own = {path[1:]: need for path, need in NEEDS.items()}
    assert plan(bare(space=space(0, **own))).state == "drifted"


def test_what_is_there_needs_no_space() -> None:
    seen = carried_out(bare(), plan(bare()))
    assert plan({**seen, "space": space(0)}).state == "converged"
    del seen["packages"]["cudnn9-cuda-13"]
    (cudnn,) = (component for component in COMPONENTS if component.name == "cudnn")
    need = sum(cudnn.space_mb.values())
    assert plan({**seen, "space": space(need)}).state == "drifted"
    assert plan({**seen, "space": space(need - 1)}).code == "E_DISK"


@pytest.mark.parametrize(("free", "code"), [(0, "E_DISK"), (49, "E_DISK"), (50, None)])
def test_a_new_initial_ram_disk_has_room_beside_the_old_one(free: int, code: str | None) -> None:
    made = plan(with_initramfs(40, space=space(boot=free)))
    assert made.code == code
    if code:
        words = f"/boot has {free} MiB free, and this plan needs about 50 MiB there"
        assert words in (made.error or "")


def test_a_boot_folder_on_the_root_file_system_is_added_there() -> None:
    assert plan(with_initramfs(40, space=space(ALL + 50))).state == "drifted"
    made = plan(with_initramfs(40, space=space(ALL + 49)))
    assert made.code == "E_DISK"
    assert "/usr, /var, /tmp, /boot and /opt share" in (made.error or "")
    assert "2200 for NVIDIA driver" in (made.error or "")


def test_the_largest_of_the_kernels_initial_ram_disks_counts() -> None:
    seen = carried_out(bare(), plan(bare()))
    seen["commands"]["update-initramfs"] = True
    seen["initramfs"] = {INITRAMFS: [BLACKLIST], f"{INITRAMFS}.old": []}
    seen["initramfs_mb"] = {INITRAMFS: 80, f"{INITRAMFS}.old": 100}
    # Nothing else is to be done, so nothing else needs room.
    assert [step.kind for step in plan({**seen, "space": space(125)}).steps] == ["initramfs"]
    assert plan({**seen, "space": space(124)}).code == "E_DISK"


def test_a_full_boot_folder_matters_only_where_an_initial_ram_disk_is_made() -> None:
    full = space(boot=0)
    assert plan(bare(space=full, initramfs_mb={INITRAMFS: 40})).state == "drifted"
    seen = with_initramfs(40)
    there = carried_out(seen, plan(seen))
    assert plan({**there, "space": full}).state == "converged"


def test_a_path_that_nobody_observed_is_not_judged() -> None:
    assert shortage([Need("CUDA", "/usr", 1)], {}) is None
    assert plan(bare(space={})).state == "drifted"
