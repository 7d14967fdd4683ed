"""Which packages belong to a stack, found by the dependencies they declare themselves."""

from collections.abc import Mapping, Sequence

import pytest

from gpuprep.model.names import matches
from gpuprep.observe.observation import InstalledPackage
from gpuprep.packages.closure import Closure, Missing, is_installed
from gpuprep.packages.closure import walk as follow
from gpuprep.packages.deb import DEB

PATTERNS = ("nvidia-*", "libcuda1", "!nvidia-container-*")


def package(
    depends: str = "", version: str = "1-1", status: str = "installed", provides: str = ""
) -> InstalledPackage:
    return InstalledPackage(version, status, depends=depends, provides=provides)


def walk(
    packages: Mapping[str, InstalledPackage], roots: Sequence[str], patterns: Sequence[str]
) -> Closure:
    return follow(packages, roots, patterns, DEB)


def test_dependencies_are_followed_inside_the_patterns_only() -> None:
    packages = {
        "nvidia-open": package("nvidia-driver (= 1-1), libc6"),
        "nvidia-driver": package("libcuda1 (>= 1), nvidia-container-x, dkms"),
        "libcuda1": package("libc6"),
        "libc6": package("nvidia-odd"),
        "nvidia-odd": package(),
        "nvidia-container-x": package(),
    }
    closure = walk(packages, ["nvidia-open"], PATTERNS)
    assert closure.members == ("nvidia-open", "nvidia-driver", "libcuda1")
    assert closure.missing == ()


def test_a_gap_tells_what_is_wanted_what_is_there_and_by_whom() -> None:
    packages = {
        "nvidia-open": package("nvidia-driver (= 2-1), libcuda1 (>= 3)"),
        "nvidia-driver": package(version="1-1"),
    }
    assert walk(packages, ["nvidia-open"], PATTERNS).missing == (
        Missing("nvidia-driver", "2-1", "1-1", "nvidia-open"),
        Missing("libcuda1", None, None, "nvidia-open"),
    )


def test_an_alternative_or_a_provider_satisfies() -> None:
    packages = {
        "nvidia-open": package("nvidia-smi | libcuda1, nvidia-virtual"),
        "libcuda1": package(provides="nvidia-virtual"),
    }
    assert walk(packages, ["nvidia-open"], PATTERNS).missing == ()


def test_an_alternative_outside_the_patterns_satisfies_too() -> None:
    packages = {"nvidia-open": package("nvidia-smi | other"), "other": package()}
    assert walk(packages, ["nvidia-open"], PATTERNS).missing == ()


@pytest.mark.parametrize("status", ["half-configured", "unpacked", "config-files"])
def test_what_is_not_completely_installed_is_missing(status: str) -> None:
    packages = {"nvidia-open": package("libcuda1"), "libcuda1": package(status=status)}
    assert not is_installed(packages, "libcuda1")
    assert [gap.name for gap in walk(packages, ["nvidia-open"], PATTERNS).missing] == ["libcuda1"]


def test_circles_end() -> None:
    packages = {"nvidia-a": package("nvidia-b"), "nvidia-b": package("nvidia-a")}
    assert walk(packages, ["nvidia-a"], PATTERNS).members == ("nvidia-a", "nvidia-b")


def test_roots_that_are_not_there_are_passed_over() -> None:
    assert walk({}, ["nvidia-open"], PATTERNS) == walk({}, [], PATTERNS)


@pytest.mark.parametrize(
    ("name", "fits"),
    [("nvidia-smi", True), ("nvidia-container-x", False), ("libcuda1", True), ("libcuda", False)],
)
def test_patterns_exclude_with_an_exclamation_mark(name: str, fits: bool) -> None:  # noqa: FBT001
    assert matches(name, PATTERNS) is fits
