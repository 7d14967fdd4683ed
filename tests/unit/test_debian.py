"""Versions and dependencies as dpkg understands them; dpkg itself is the judge."""

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpuprep.observe.observation import InstalledPackage
from gpuprep.packages.closure import accepts, provided_by
from gpuprep.packages.deb import DEB, compare_versions, parse_depends, version_key
from gpuprep.packages.family import Requirement

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg judges here")

# Debian Policy 5.6.12: an upstream version starts with a digit; a revision holds no hyphen.
UPSTREAM = st.from_regex(r"[0-9][0-9a-zA-Z.+~]{0,9}(-[0-9a-z.+~]{1,3})?", fullmatch=True)
REVISION = st.from_regex(r"[0-9a-zA-Z.+~]{1,6}", fullmatch=True)
EPOCH = st.integers(0, 3)


@st.composite
def versions(draw: st.DrawFn) -> str:
    upstream = draw(UPSTREAM)
    epoch, revision = draw(st.none() | EPOCH), draw(st.none() | REVISION)
    if revision is None and "-" in upstream:
        revision = "1"
    text = upstream if revision is None else f"{upstream}-{revision}"
    return text if epoch is None else f"{epoch}:{text}"


def dpkg_says(left: str, operator: str, right: str) -> bool:
    command = ["dpkg", "--compare-versions", left, operator, right]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert not done.stderr, done.stderr  # it warns about a version that is none
    return done.returncode == 0


@needs_dpkg
@settings(max_examples=200, deadline=None)
@given(versions(), versions())
@example("1.0~rc1", "1.0")
@example("1.0", "1.0-0")
@example("1.0+b", "1.0a")
@example("1.0.", "1.0.~")
@example("0:1.0", "1.0")
@example("580.95.05-1", "580.126.09-1")
@example("1.0a", "1.0a0")
@example("1~~", "1~~a")
def test_versions_are_ordered_as_dpkg_orders_them(left: str, right: str) -> None:
    ours = compare_versions(left, right)
    assert dpkg_says(left, "lt", right) == (ours < 0)
    assert dpkg_says(left, "eq", right) == (ours == 0)


@needs_dpkg
@settings(max_examples=60, deadline=None)
@given(versions(), st.sampled_from(["<<", "<=", "=", ">=", ">>"]), versions())
def test_relations_accept_what_dpkg_accepts(wanted: str, operator: str, there: str) -> None:
    ((requirement,),) = parse_depends(f"x ({operator} {wanted})")
    assert accepts(requirement, there, DEB) == dpkg_says(there, operator, wanted)


@given(versions(), versions(), versions())
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    assert compare_versions(a, a) == 0
    assert (compare_versions(a, b) > 0) == (compare_versions(b, a) < 0)
    first, second, third = sorted((a, b, c), key=version_key)
    assert compare_versions(first, third) <= 0
    assert compare_versions(first, second) <= 0


def test_without_a_version_any_will_do() -> None:
    assert accepts(Requirement("x"), "0~", DEB)


@pytest.mark.parametrize(
    ("version", "upstream"),
    [
        ("580.95.05-1", "580.95.05"),
        ("1:535.309.01-0+deb12u1", "535.309.01"),
        ("9.10.2.21-1", "9.10.2.21"),
        ("8.9.7.29-1+cuda12.2", "8.9.7.29"),
        ("2025.06.11", "2025.06.11"),
        ("1.2-3-4", "1.2-3"),
    ],
)
def test_upstream_version_drops_epoch_and_revision(version: str, upstream: str) -> None:
    assert DEB.upstream(version) == upstream


def test_depends_are_groups_of_alternatives() -> None:
    text = "libc6 (>= 2.34), libcuda1 (= 580.95.05-1) | libcuda.so.1, python3:any, debconf"
    assert parse_depends(text) == (
        (Requirement("libc6", ">=", "2.34"),),
        (Requirement("libcuda1", "=", "580.95.05-1"), Requirement("libcuda.so.1")),
        (Requirement("python3"),),
        (Requirement("debconf"),),
    )


def test_unreadable_parts_of_depends_are_left_out() -> None:
    assert parse_depends("") == ()
    assert parse_depends("${misc:Depends}, a") == ((Requirement("a"),),)


def test_virtual_names_lead_to_who_provides_them() -> None:
    provides = {"a": "virtual, other (= 2)", "b": "virtual", "c": ""}
    packages = {
        name: InstalledPackage("1", "installed", provides=text) for name, text in provides.items()
    }
    assert provided_by(packages, DEB) == {"virtual": ["a", "b"], "other": ["a"]}
