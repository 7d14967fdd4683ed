"""The port: what a package family must know, on the controller.

Planner, components and lock speak of packages through it and name no package manager. The other
half, in the same words, is ``gpuprep/on_host``: what is done with packages on a host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuprep.model import Family, ManagedFile, Repository, Stack
    from gpuprep.observe.observation import PackageRule

HEADER = "# Managed by gpuprep; changes are overwritten.\n"


def upstream_version(version: str) -> str:
    """Return a full version without epoch and packaging release: ``580.95.05``."""
    return version.rpartition(":")[2].rpartition("-")[0] or version


class Requirement(Value, frozen=True):
    """One alternative of a dependency: ``libcuda1 (= 580.95.05-1)``.

    Attributes:
        name: of a package, or of something that packages provide.
        operator: ``<``, ``<=``, ``=``, ``>=``, ``>`` or None: any version.
        version: the version to compare with, in the family's notation.

    """

    name: str
    operator: str | None = None
    version: str | None = None


class PackageFamily(Protocol):
    """What a package family must know."""

    @property
    def name(self) -> Family:
        """Return the family's name."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the absolute paths of the files that this family manages."""

    @property
    def initramfs_tool(self) -> str:
        """Return the command that makes the initial RAM disk; hosts without it have none.

        Empty where the packages keep the driver and nouveau out of it by themselves.
        """

    @property
    def silent_builds(self) -> bool:
        """Return whether a transaction ends well although a kernel module could not be built."""

    @property
    def pins_needed(self) -> bool:
        """Return whether its files fix what packages need; else transactions have to name it."""

    @property
    def repair(self) -> str:
        """Return the commands that finish what a broken transaction left."""

    @property
    def absent(self) -> Collection[str]:
        """Return the states of packages that are as good as not installed."""

    @property
    def interrupted(self) -> Collection[str]:
        """Return the states that an interrupted transaction leaves and the next one finishes."""

    def compare(self, left: str, right: str) -> int:
        """Return a negative number, zero or a positive one as left is older, equal or newer."""

    def upstream(self, version: str) -> str:
        """Return a full version without the packaging's own parts: ``580.95.05``."""

    def requirements(self, text: str) -> Sequence[Sequence[Requirement]]:
        """Return a dependency field as groups of alternatives; unreadable parts are left out."""

    def release_of(self, upstream: str) -> str:
        """Return the pattern (fnmatch) of all full versions of an upstream version."""

    def branch_of(self, branch: str) -> str:
        """Return the pattern (fnmatch) of all full versions of a driver branch."""

    def repository_files(self, stack: Stack) -> tuple[ManagedFile, ...]:
        """Return the files through which a host trusts and prefers the stack's repository."""

    def build_files(self, stack: Stack) -> tuple[ManagedFile, ...]:
        """Return the files that say how kernel modules are built, where that has to be said."""

    def forbidding(
        self, rules: Sequence[PackageRule], stack: Stack, names: Sequence[str]
    ) -> Sequence[tuple[PackageRule, Sequence[str]]]:
        """Return the rules of others that forbid packages of the stack, with those.

        Args:
            rules: the host's, in the order that they apply.
            stack: what is to be installed; its own rules are taken as written.
            names: the packages.

        """

    def version_locks(self, stack: Stack, version: str | None) -> tuple[str, ...]:
        """Return the lines of the version lock that keep the driver at a version.

        Args:
            stack: what is to be installed.
            version: upstream version; None while it is not known: then any of its branch.

        Returns:
            The lines; none in a family that holds packages by name.

        """

    def has_index(self, repository: Repository, indexes: Collection[str]) -> bool:
        """Return whether a repository's package index is among a host's index files."""

    def preparation(self, stack: Stack) -> Sequence[Mapping[str, Any]]:
        """Return operations that must precede the first transaction of the driver."""
