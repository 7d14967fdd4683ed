"""Which driver releases build on which kernels: measured cases, and what holds for all."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuprep.catalog import load
from gpuprep.model import KernelHeaders
from gpuprep.model.versions import at_least, key
from gpuprep.resolve.kernels import Kernel, carried, is_untried, obstacle, oldest_of_branch

if TYPE_CHECKING:
    from gpuprep.catalog.kernels import KernelChange

TABLE = load().kernels
CHANGES = list(TABLE.changes.values())
OPEN, PROPRIETARY = "open", "proprietary"


def builds(version: str, flavour: str, release: str, headers: KernelHeaders | None = None) -> bool:
    return obstacle(TABLE, Kernel(release, headers), version, flavour) is None


@pytest.mark.parametrize(
    ("version", "flavour", "release", "result"),
    [
        # compiled
        ("580.178.04", PROPRIETARY, "7.3.4+deb13-amd64", True),
        ("595.91.07", PROPRIETARY, "7.3.4+deb13-amd64", True),
        ("590.48.01", OPEN, "7.0.0-1017-oracle", False),
        ("580.178.04", PROPRIETARY, "6.8.0-1068-oracle", True),
        ("570.211.01", OPEN, "6.8.0-1068-oracle", False),
        ("580.95.05", OPEN, "6.8.0-1068-oracle", False),
        ("535.288.01", OPEN, "5.15.0-1118-oracle", False),
        ("535.288.01", OPEN, "6.12.118+deb13-amd64", False),
        ("580.178.04", PROPRIETARY, "7.0.0-1017-oracle", True),
        ("580.142", OPEN, "7.0.0-1017-oracle", True),
        ("580.126.18", OPEN, "7.0.0-1017-oracle", True),
        # reported
        ("580.126.18", PROPRIETARY, "7.0.0-1017-oracle", False),
        ("580.119.02", PROPRIETARY, "7.0.0-1017-oracle", False),
        ("610.43.03", OPEN, "7.2.6+deb13-amd64", False),
        ("610.57.04", OPEN, "7.2.6+deb13-amd64", True),
        ("580.142", PROPRIETARY, "7.1.0", False),
        ("580.159.03", OPEN, "7.1.0", False),
        ("580.173.02", OPEN, "7.1.0", True),
        ("595.45.04", OPEN, "7.1.0", False),
        ("550.163.01", OPEN, "6.12.96+deb13-amd64", True),
        ("550.163.01", OPEN, "6.12.100+deb13-amd64", False),
        ("570.172.08", OPEN, "6.12.98", False),
        ("575.57.08", OPEN, "5.14.0-687.12.1.el9_8.x86_64", False),
        ("575.64.05", OPEN, "5.14.0-687.12.1.el9_8.x86_64", True),
        ("575.57.08", OPEN, "5.14.0-611.41.1.el9_7.x86_64", True),
        ("595.58.03", OPEN, "5.14.0-611.41.1.el9_7.x86_64", True),
        ("580.126.16", OPEN, "4.18.0-553.104.1.el8_10.x86_64", True),
        # only the open modules call the function
        ("570.211.01", PROPRIETARY, "6.8.0-1068-oracle", True),
        ("470.256.02", PROPRIETARY, "6.8.0-1068-oracle", True),
        # each kernel before and from the backport on
        ("570.211.01", OPEN, "6.8.0-1063-oracle", True),
        ("570.211.01", OPEN, "6.8.0-1064-oracle", False),
        ("570.211.01", OPEN, "6.8.0-1064-oracle-64k", False),
        ("570.211.01", OPEN, "5.15.0-1113-oracle", True),
        ("570.211.01", OPEN, "5.15.0-1114-oracle", False),
        ("570.211.01", OPEN, "5.15.0-203-generic", True),
        ("570.211.01", OPEN, "5.15.0-204-generic", False),
        ("570.211.01", OPEN, "6.8.0-150-generic", True),
        ("570.211.01", OPEN, "6.8.0-151-generic", False),
        ("570.211.01", OPEN, "6.14.0-1018-oracle", True),
        ("570.211.01", OPEN, "6.17.0-1020-oracle", True),
        ("570.211.01", OPEN, "6.1.0-50-amd64", True),
        ("570.211.01", OPEN, "6.1.0-53-amd64", False),
        ("570.211.01", OPEN, "6.1.0-57-cloud-amd64", False),
        ("570.211.01", OPEN, "6.18.39", True),
        ("570.211.01", OPEN, "6.18.40", False),
        ("580.126.09", OPEN, "6.8.0-1068-oracle", True),
        ("535.309.01", OPEN, "5.15.0-1118-oracle", True),
    ],
)
def test_what_was_measured(version: str, flavour: str, release: str, result: bool) -> None:  # noqa: FBT001  (a column)
    assert builds(version, flavour, release) is result


@pytest.mark.parametrize(
    ("version", "flavour", "newest", "first_that_breaks"),
    [
        ("470.256.02", PROPRIETARY, "6.9", "6.10"),
        ("535.309.01", PROPRIETARY, "6.18", "6.19"),
        ("535.309.01", OPEN, "6.18", "6.19"),
        ("535.274.02", PROPRIETARY, "6.18", "6.19"),
        ("550.163.01", PROPRIETARY, "6.14", "6.15"),
        ("565.57.01", PROPRIETARY, "6.12", "6.13"),
        ("570.211.01", PROPRIETARY, "6.18", "6.19"),
        ("570.148.08", PROPRIETARY, "6.14", "6.15"),
        ("575.57.08", PROPRIETARY, "6.14", "6.15"),
        ("575.64.05", OPEN, "6.16", "6.17"),
        ("580.65.06", OPEN, "6.16", "6.17"),
        ("580.105.08", PROPRIETARY, "6.18", "6.19"),
        ("580.105.08", OPEN, "6.17", "6.18"),
        ("580.119.02", OPEN, "6.18", "6.19"),
        ("580.126.09", PROPRIETARY, "6.19", "7.0"),
        ("580.142", PROPRIETARY, "7.0", "7.1"),
        ("580.159.04", OPEN, "7.1", "7.2"),
        ("590.44.01", PROPRIETARY, "6.18", "6.19"),
        ("590.48.01", OPEN, "6.18", "6.19"),
        ("590.48.01", PROPRIETARY, "6.19", "7.0"),
        ("595.58.03", PROPRIETARY, "7.0", "7.1"),
        ("610.43.02", OPEN, "7.1", "7.2"),
    ],
)
def test_the_newest_kernel_of_a_release(
    version: str, flavour: str, newest: str, first_that_breaks: str
) -> None:
    assert builds(version, flavour, newest)
    assert not builds(version, flavour, first_that_breaks)
    told = carried(TABLE, version, flavour)
    assert (told.before, told.words) == (first_that_breaks, f"before {first_that_breaks}")


@pytest.mark.parametrize("version", TABLE.built)
def test_a_release_builds_where_it_was_seen_to(version: str) -> None:
    told = carried(TABLE, version, OPEN)
    assert told.words == f"up to {TABLE.built[version]}"
    assert builds(version, OPEN, f"{TABLE.built[version]}.9")


def test_a_kernel_that_nobody_has_tried_is_told_from_others() -> None:
    assert is_untried(TABLE, Kernel("7.4.0-1001-oracle"))
    assert not is_untried(TABLE, Kernel(f"{TABLE.newest_seen}.99+deb13-amd64"))
    assert not is_untried(TABLE, Kernel("5.14.0-687.12.1.el9_8.x86_64"))


# --- headers and numbers --------------------------------------------------------------------------
BACKPORT = "pci_resize_resource"
UEK = "6.12.0-205.60.1.el9uek.x86_64"


def test_what_headers_show_counts_more_than_the_number() -> None:
    old, new = KernelHeaders(None, {BACKPORT: False}), KernelHeaders(None, {BACKPORT: True})
    assert builds("570.211.01", OPEN, UEK)
    assert not builds("570.211.01", OPEN, UEK, new)
    assert not builds("570.211.01", OPEN, "6.8.0-1068-oracle")
    assert builds("570.211.01", OPEN, "6.8.0-1068-oracle", old)
    found = obstacle(TABLE, Kernel(UEK, new), "580.95.05", OPEN)
    assert found is not None
    assert (found.change.name, found.shown, found.fixed) == (BACKPORT, True, "580.126.09")


def test_what_headers_do_not_tell_is_judged_by_the_number() -> None:
    assert not builds("570.211.01", OPEN, "6.8.0-1068-oracle", KernelHeaders("6.8.12", {}))
    assert not builds("570.148.08", PROPRIETARY, "6.15", KernelHeaders("6.15.0", {}))


def test_the_version_in_the_headers_stands_for_a_name_without_it() -> None:
    release = "6.1.0-99-of-somebody"
    assert builds("570.211.01", OPEN, release, KernelHeaders("6.1.176", {}))
    assert not builds("570.211.01", OPEN, release, KernelHeaders("6.1.192", {}))


def test_headers_older_than_the_old_form_show_nothing() -> None:
    shown = KernelHeaders(None, {"iommu_dev_enable_feature": True})
    assert builds("550.163.01", OPEN, "4.18.0-553.el8_10.x86_64", shown)
    assert not builds("550.163.01", OPEN, "5.14.0-570.12.1.el9_6.x86_64", shown)


def test_the_first_release_that_builds_follows_every_change() -> None:
    found = obstacle(TABLE, Kernel("7.1"), "580.65.06", OPEN)
    assert found is not None
    assert found.fixed == "580.159.04"
    assert oldest_of_branch(TABLE, Kernel("7.1"), "580.178.04", OPEN) == "580.159.04"
    assert oldest_of_branch(TABLE, Kernel("6.8.0-1063-oracle"), "580.178.04", OPEN) is None
    never = obstacle(TABLE, Kernel("7.1"), "590.44.01", OPEN)
    assert never is not None
    assert never.fixed is None


def test_patches_of_a_distribution_follow_changes() -> None:
    debian = ("del_timer_sync", "vma_start_write_gpl")
    kernel = Kernel("6.15.6+deb13-amd64")
    assert obstacle(TABLE, kernel, "550.163.01", PROPRIETARY) is not None
    assert obstacle(TABLE, kernel, "550.163.01", PROPRIETARY, debian) is None
    assert carried(TABLE, "550.163.01", PROPRIETARY, debian).before == "6.17"


# --- what holds for all ---------------------------------------------------------------------------
MAINLINE = sorted({c.kernel for c in CHANGES if c.kernel} | {"4.15", "5.4", "6.8", "7.3"}, key=key)
RELEASES = sorted({v for c in CHANGES for v in c.fixed.values()} | set(TABLE.built), key=key)
flavours = st.sampled_from([OPEN, PROPRIETARY])
kernels = st.sampled_from(
    [
        *(f"{mainline}{patch}" for mainline in MAINLINE for patch in ("", ".0", ".250")),
        *("6.8.0-1063-oracle", "6.8.0-1064-oracle", "5.15.0-1114-oracle", "6.1.0-53-amd64"),
        *("5.14.0-687.12.1.el9_8.x86_64", UEK),
    ]
)
shown = st.none() | st.builds(
    KernelHeaders,
    st.sampled_from([None, "6.1.192", "6.12.118"]),
    st.dictionaries(st.sampled_from([c.name for c in CHANGES if c.look]), st.booleans()),
)


@given(
    version=st.sampled_from(RELEASES),
    flavour=flavours,
    older=st.sampled_from(MAINLINE),
    newer=st.sampled_from(MAINLINE),
)
def test_a_release_that_builds_on_a_kernel_builds_on_older_ones(
    version: str, flavour: str, older: str, newer: str
) -> None:
    older, newer = sorted((older, newer), key=key)
    if builds(version, flavour, newer):
        assert builds(version, flavour, older)


@given(
    versions=st.tuples(st.sampled_from(RELEASES), st.sampled_from(RELEASES)),
    flavour=flavours,
    release=kernels,
    headers=shown,
)
def test_a_newer_release_of_a_branch_builds_where_an_older_one_does(
    versions: tuple[str, str], flavour: str, release: str, headers: KernelHeaders | None
) -> None:
    older, newer = sorted(versions, key=key)
    uses_more = any(
        not at_least(older, c.drivers[0]) and at_least(newer, c.drivers[0]) for c in CHANGES
    )
    if older[:3] == newer[:3] and not uses_more and builds(older, flavour, release, headers):
        assert builds(newer, flavour, release, headers)


@given(version=st.sampled_from(RELEASES), flavour=flavours, release=kernels, headers=shown)
def test_the_first_release_that_is_told_builds_and_the_oldest_is_none_before_it(
    version: str, flavour: str, release: str, headers: KernelHeaders | None
) -> None:
    kernel = Kernel(release, headers)
    found = obstacle(TABLE, kernel, version, flavour)
    if found is not None and found.fixed is not None:
        assert not at_least(version, found.fixed)
        # A newer release can use what an older one did not.
        again = obstacle(TABLE, kernel, found.fixed, flavour)
        assert again is None or not at_least(version, again.change.drivers[0])
    oldest = oldest_of_branch(TABLE, kernel, version, flavour)
    if oldest is not None and at_least(version, oldest):
        assert found is None or version[:3] not in found.change.fixed


@given(version=st.sampled_from(RELEASES), flavour=flavours, mainline=st.sampled_from(MAINLINE))
def test_what_a_release_is_said_to_carry_is_what_it_builds_on(
    version: str, flavour: str, mainline: str
) -> None:
    told = carried(TABLE, version, flavour)
    expected = told.before is None or key(mainline) < key(told.before)
    assert builds(version, flavour, mainline) is expected
    for backport in told.except_for:
        assert not builds(version, flavour, backport.replace("*", ""))


# --- the data -------------------------------------------------------------------------------------
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_is_told_in_full(change: KernelChange) -> None:
    assert all(version.startswith(f"{branch}.") for branch, version in change.fixed.items())
    assert all(key(branch) < key(change.since) for branch in change.fixed)
    assert change.kernel or change.backports or change.look
    for backport in change.backports:
        own = Kernel(backport.replace("*", ""))
        one = replace(TABLE, changes={change.name: change})
        version = change.drivers[0] or "470.1"
        assert obstacle(one, own, version, change.flavours[0]) is not None
    if change.look:
        re.compile(change.look.unchanged)
        re.compile(change.look.changed or "")


def test_changes_stand_in_the_order_of_kernels() -> None:
    numbers = [key(change.kernel) for change in CHANGES if change.kernel]
    assert numbers == sorted(numbers)
