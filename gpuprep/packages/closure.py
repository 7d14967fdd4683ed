"""Which installed packages belong to a stack, and which of them are gone or have moved.

They are found by walking the dependencies that the packages themselves declare, so nothing has to
be remembered between runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from gpuprep.model.names import matches
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuprep.observe.observation import InstalledPackage
    from gpuprep.packages.family import PackageFamily, Requirement

Packages: TypeAlias = "Mapping[str, InstalledPackage]"


class Missing(Value, frozen=True):
    """A dependency that nothing installed satisfies."""

    name: str
    wanted: str | None  # exact version when the dependency names one
    current: str | None  # version that is there instead
    needed_by: str


class Closure(Value, frozen=True):
    """Installed members, and the dependencies among them that are not satisfied."""

    members: tuple[str, ...]
    missing: tuple[Missing, ...]


def is_installed(packages: Packages, name: str) -> bool:
    """Return whether a package is completely installed."""
    package = packages.get(name)
    return package is not None and package.status == "installed"


def accepts(requirement: Requirement, version: str, family: PackageFamily) -> bool:
    """Return whether a package of this version satisfies a requirement."""
    if requirement.operator is None or requirement.version is None:
        return True
    order = family.compare(version, requirement.version)
    return {
        "<": order < 0,
        "<=": order <= 0,
        "=": order == 0,
        ">=": order >= 0,
        ">": order > 0,
    }[requirement.operator]


def provided_by(packages: Packages, family: PackageFamily) -> dict[str, list[str]]:
    """Return which packages provide each virtual name."""
    found: dict[str, list[str]] = {}
    for name, package in packages.items():
        for group in family.requirements(package.provides):
            for requirement in group:
                found.setdefault(requirement.name, []).append(name)
    return found


def walk(
    packages: Packages,
    roots: Sequence[str],
    patterns: Collection[str],
    family: PackageFamily,
    changing: Collection[str] = (),
) -> Closure:
    """Follow dependencies from the roots through names that fit the patterns.

    Args:
        packages: the observation's packages of the host.
        roots: packages the stack names itself; those not installed are skipped.
        patterns: fnmatch patterns of names that belong to the stack.
        family: the host's package family.
        changing: packages that get another version, and other dependencies with it: what those
            that are there lack is no matter.

    """
    installed = {n: p for n, p in packages.items() if is_installed(packages, n)}
    providers = provided_by(installed, family)

    def satisfied(requirement: Requirement) -> bool:
        package = installed.get(requirement.name)
        if package is not None:
            return accepts(requirement, package.version or "", family)
        return bool(providers.get(requirement.name))

    todo = [name for name in roots if name in installed]
    members: dict[str, None] = {}
    missing: dict[str, Missing] = {}
    while todo:
        name = todo.pop(0)
        if name in members:
            continue
        members[name] = None
        for group in family.requirements(packages[name].depends):
            inside = [requirement for requirement in group if matches(requirement.name, patterns)]
            if not inside:
                continue
            if name not in changing and not any(map(satisfied, group)):
                first = inside[0]
                current = installed.get(first.name)
                missing[first.name] = Missing(
                    first.name,
                    first.version if first.operator == "=" else None,
                    current.version if current else None,
                    name,
                )
            todo += [r.name for r in inside if r.name in installed]
    return Closure(tuple(members), tuple(missing.values()))
