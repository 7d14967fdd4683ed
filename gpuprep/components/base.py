"""What a component of the stack is: one object in one file.

Whatever lists components elsewhere (settings, planner, reports, lock, playbooks, documentation)
takes its list from :mod:`gpuprep.components`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gpuprep.catalog import Catalog
    from gpuprep.components.differences import Differences
    from gpuprep.components.state import RoleState
    from gpuprep.model import Message, Settings, Stack
    from gpuprep.observe import HostObservation
    from gpuprep.packages.family import PackageFamily
    from gpuprep.resolve.case import Case

TEMPORARY: Final = "/tmp"  # noqa: S108 - where package managers unpack what they check

Resolve: TypeAlias = "Callable[[Case, Stack], Stack]"


class Situation(Value, frozen=True):
    """What a component plans from.

    Attributes:
        observation: what the host said of itself.
        stack: what the resolver chose for it.
        settings: what the user set.
        family: its package family.
        catalog: what belongs together.
        driver_cuda: newest CUDA that the driver runs which the host gets or has; None = no driver.

    """

    observation: HostObservation
    stack: Stack
    settings: Settings
    family: PackageFamily
    catalog: Catalog
    driver_cuda: str | None = None


class Written(Value, frozen=True):
    """Something that a component installs or writes, for the table in its role's README."""

    what: str
    where: str | None = None  # None: the files that the package family manages


REPOSITORY = Written("source, key and pin of NVIDIA's repository")


def _no_obstacle(_situation: Situation, _roles: Collection[str]) -> Message | None:
    return None


def _no_more_space(_situation: Situation, _kinds: Collection[str]) -> Mapping[str, int]:
    return {}


def _nothing(_stack: Stack) -> Mapping[str, str]:
    return {}


class Component(Value, frozen=True, kw_only=True):
    """One component of the stack.

    Attributes:
        name: as in ``gpuprep_components``.
        title: as people write it.
        role: the role that converges it.
        decided_by: components that the resolver looks at to decide this one; they come first.
        after: components that its role needs on the host, though they decide nothing of it.
        opt_in: it is a part of the stack only where ``gpuprep_components`` names it.
        wanted: whether the variables ask for it, were it chosen.
        resolve: adds what the resolver chooses for it to a stack.
        plan: finds the differences and returns what the role has to establish.
        current: version on a host, None when it is not there.
        desired: version that a stack asks for, ``-`` when it asks for none.
        locks: what a lock file fixes of it beside packages, by name.
        paths: files that are looked at on a host.
        services: units that are looked at on a host, from the catalog.
        uses_packages: it needs the package manager; False works on every system.
        obstacle: what forbids its part of a plan now, given the roles in the plan; None = nothing.
        accounts: users that are looked at on a host.
        checkouts: checkouts of sources that are looked at on a host.
        space_mb: free space in MiB that it needs on a bare host, by directory.
        more_space_mb: the same for steps of some kinds beside packages, as this host needs it.
        checks: ids of the checks of the ladder that it brings.
        writes: what it installs and writes.
        exports: facts that its role leaves for other tasks, by name and meaning.

    """

    name: str
    title: str
    role: str
    decided_by: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    opt_in: bool = False
    wanted: Callable[[Mapping[str, Any]], bool]
    resolve: Resolve
    plan: Callable[[Differences, Situation], RoleState]
    current: Callable[[HostObservation], str | None]
    desired: Callable[[Stack], str]
    locks: Callable[[Stack], Mapping[str, str]] = _nothing
    paths: Callable[[Settings], tuple[str, ...]] = lambda _settings: ()
    obstacle: Callable[[Situation, Collection[str]], Message | None] = _no_obstacle
    accounts: tuple[str, ...] = ()
    checkouts: tuple[str, ...] = ()
    uses_packages: bool = True
    space_mb: Mapping[str, int] = {}
    more_space_mb: Callable[[Situation, Collection[str]], Mapping[str, int]] = _no_more_space
    checks: tuple[str, ...] = ()
    writes: tuple[Written, ...] = ()
    exports: Mapping[str, str] = {}
