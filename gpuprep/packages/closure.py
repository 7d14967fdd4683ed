"""Which installed packages belong to a stack, and which of them are gone or have moved.

The closure is found by walking the dependencies that the packages themselves declare, so nothing
has to be remembered between runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from gpuprep.packages.deb import Relation, parse_depends, provided_by

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Packages: TypeAlias = "Mapping[str, Mapping[str, Any]]"


@dataclass(frozen=True, slots=True)
class Missing:
    """A dependency that nothing installed satisfies."""

    name: str
    wanted: str | None  # exact version when the dependency names one
    found: str | None  # version that is there instead
    needed_by: str


@dataclass(frozen=True, slots=True)
class Closure:
    """Installed members, and the dependencies inside the closure that are not satisfied."""

    members: tuple[str, ...]
    missing: tuple[Missing, ...]


def is_installed(packages: Packages, name: str) -> bool:
    """Whether a package is completely installed."""
    package = packages.get(name)
    return package is not None and package["status"] == "installed"


def _satisfied(relation: Relation, packages: Packages, providers: Mapping[str, list[str]]) -> bool:
    if is_installed(packages, relation.name):
        return relation.accepts(packages[relation.name]["version"])
    return any(is_installed(packages, name) for name in providers.get(relation.name, ()))


def matches(name: str, patterns: Collection[str]) -> bool:
    """Whether a name fits the patterns; a pattern that starts with ``!`` excludes."""
    if any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!")):
        return False
    return any(fnmatchcase(name, p) for p in patterns if not p.startswith("!"))


def walk(
    packages: Packages,
    roots: Sequence[str],
    patterns: Collection[str],
    moving: Collection[str] = (),
) -> Closure:
    """Follow dependencies from the roots through names that fit the patterns.

    Args:
        packages: the observation's packages of the host.
        roots: packages the stack names itself; those not installed are skipped.
        patterns: fnmatch patterns of names that belong to the stack.
        moving: packages that get another version, and other dependencies with it: what those
            that are there lack is no matter.

    """
    providers = provided_by({n: p for n, p in packages.items() if is_installed(packages, n)})
    todo = [name for name in roots if is_installed(packages, name)]
    members: dict[str, None] = {}
    missing: dict[str, Missing] = {}
    while todo:
        name = todo.pop(0)
        if name in members:
            continue
        members[name] = None
        for group in parse_depends(packages[name].get("depends") or ""):
            inside = [relation for relation in group if matches(relation.name, patterns)]
            if not inside:
                continue
            satisfied = any(_satisfied(relation, packages, providers) for relation in group)
            if name not in moving and not satisfied:
                first = inside[0]
                found = packages.get(first.name) if is_installed(packages, first.name) else None
                missing[first.name] = Missing(
                    first.name,
                    first.version if first.operator == "=" else None,
                    found["version"] if found else None,
                    name,
                )
            todo += [r.name for r in inside if is_installed(packages, r.name)]
    return Closure(tuple(members), tuple(missing.values()))
