"""Differences that several roles share: files, packages, holds, units."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING

from gpuprep.model import Package, Step
from gpuprep.packages.closure import is_installed, matches, walk
from gpuprep.packages.deb import upstream_version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gpuprep.observe import Observation
    from gpuprep.packages.closure import Packages
    from gpuprep.planner.target import ManagedFile


@dataclass(slots=True)
class Differences:
    """Collects the steps of one role, each object once."""

    role: str
    steps: list[Step] = field(default_factory=list)

    def add(  # noqa: PLR0913, PLR0917 - the fields of a step
        self,
        kind: str,
        target: str,
        action: str,
        reason: str,
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        """Add a step unless the same object already has one."""
        step = Step(
            f"{self.role}.{kind}.{target}", self.role, kind, target, action, reason, before, after
        )
        if all(step.id != other.id for other in self.steps):
            self.steps.append(step)

    def has(self, *kinds: str) -> bool:
        """Whether a step of one of these kinds was found."""
        return any(step.kind in kinds for step in self.steps)


def diff_files(found: Differences, seen: Observation, files: Iterable[ManagedFile]) -> None:
    """Find files that are absent, have another content, key, mode or owner."""
    for setting in files:
        there = seen["files"].get(setting.path)
        if there is None:
            found.add(setting.kind, setting.path, "create", f"{setting.path} does not exist")
            continue
        if there["kind"] != "file":
            found.add(
                setting.kind,
                setting.path,
                "change",
                f"{setting.path} is a {there['kind']}, no file",
            )
            continue
        if setting.key is not None:
            keys = seen["keys"].get(setting.path, [])
            if keys != [setting.key.fingerprint]:
                held = ", ".join(keys) or "no key"
                reason = f"{setting.path} does not hold exactly the repository's key"
                found.add(
                    setting.kind, setting.path, "change", reason, held, setting.key.fingerprint
                )
        elif there.get("sha256") != _sha256(setting.content or ""):
            found.add(setting.kind, setting.path, "change", f"{setting.path} has another content")
        rights = (there["mode"], there["owner"], there["group"])
        wanted = (setting.mode, setting.owner, setting.group)
        if rights != wanted:
            reason = f"{setting.path} has other rights"
            found.add(
                setting.kind, setting.path, "change", reason, " ".join(rights), " ".join(wanted)
            )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def spec(name: str, version: str | None) -> str:
    """Return a package as apt is given it."""
    return f"{name}={version}" if version else name


@dataclass(frozen=True, slots=True)
class PackageFindings:
    """What the package comparison found.

    Attributes:
        wanted: packages for the transaction, as apt is given them.
        members: installed packages that belong to the part.

    """

    wanted: tuple[str, ...]
    members: tuple[str, ...]


def diff_packages(  # noqa: PLR0913 - one comparison, named arguments
    found: Differences,
    seen: Observation,
    roots: Sequence[Package],
    patterns: Collection[str],
    *,
    version: str | None = None,
    bound: Collection[str] = (),
    exact: Mapping[str, str] = MappingProxyType({}),
) -> PackageFindings:
    """Find packages that are absent, broken, at another version, or whose dependencies are.

    Args:
        found: where steps are added.
        seen: the observation.
        roots: packages the stack names.
        patterns: names that belong to the part; dependencies are followed through them.
        version: upstream version that packages matching ``bound`` must share, when known.
        bound: names that must be at ``version``.
        exact: versions that packages which the roots need must have.

    """
    packages = seen["packages"]
    wanted: dict[str, str | None] = {}
    moving: set[str] = set()

    def fixed(name: str) -> str | None:
        shared = f"{version}-*" if version and matches(name, bound) else None
        return exact.get(name) or shared

    for root in roots:
        wanted[root.name] = root.version or fixed(root.name)
        if _diff_root(found, packages, root, wanted[root.name]):
            moving.add(root.name)
    stragglers = _stragglers(packages, bound, version) if version else []
    closure = walk(packages, [root.name for root in roots], patterns, {*moving, *stragglers})
    for gap in closure.missing:
        reason = f"{gap.needed_by} needs {gap.name}" + (f" {gap.wanted}" if gap.wanted else "")
        wanted[gap.name] = gap.wanted or wanted.get(gap.name) or fixed(gap.name)
        action = "change" if gap.found else "install"
        found.add("package", gap.name, action, reason, gap.found, wanted[gap.name])
    for name in closure.members:
        there = packages[name]["version"]
        if name in exact and name not in wanted and there != exact[name]:
            reason = f"{name} is locked at another version"
            found.add("package", name, "change", reason, there, exact[name])
            wanted[name] = exact[name]
    # A root that moves takes its dependencies along; otherwise each straggler is named.
    for name in [] if moving else [name for name in stragglers if name not in exact]:
        reason = f"{name} is at another version than the rest of the stack"
        there = packages[name]["version"]
        found.add("package", name, "change", reason, there, f"{version}-*")
        wanted[name] = f"{version}-*"
    specs = tuple(spec(name, exact) for name, exact in wanted.items())
    return PackageFindings(specs, closure.members)


def _diff_root(found: Differences, packages: Packages, root: Package, exact: str | None) -> bool:
    """Compare one package that the stack names; whether it is to be installed or moved."""
    name = root.name
    if not is_installed(packages, name):
        state = packages.get(name, {}).get("status", "not installed")
        absent = state in {"not installed", "not-installed", "config-files"}
        reason = f"{name} is {state.replace('config-files', 'removed')}"
        found.add("package", name, "install" if absent else "configure", reason, after=exact)
        return True
    there = packages[name]["version"]
    if exact is None or fnmatchcase(there, exact):
        return False
    found.add("package", name, "change", f"{name} is at another version", there, exact)
    return True


def _stragglers(packages: Packages, bound: Collection[str], version: str) -> list[str]:
    return [
        name
        for name in sorted(packages)
        if matches(name, bound)
        and is_installed(packages, name)
        and upstream_version(packages[name]["version"]) != version
    ]


def diff_holds(
    found: Differences, seen: Observation, patterns: Collection[str], *, bare: bool
) -> None:
    """Find packages that should be held and are not.

    Args:
        found: where the step is added.
        seen: the observation.
        patterns: names to hold.
        bare: packages are about to change, so the hold has to be renewed in any case.

    """
    packages = seen["packages"]
    loose = sorted(
        name
        for name, package in packages.items()
        if matches(name, patterns) and is_installed(packages, name) and not package["hold"]
    )
    if loose or bare:
        names = ", ".join(loose) or "the packages to be installed"
        found.add("hold", "packages", "set", f"not held: {names}")


def diff_units(found: Differences, seen: Observation, names: Iterable[str]) -> None:
    """Find units that are masked, disabled or not running."""
    for name in names:
        unit = seen["units"].get(name, {})
        faults = [
            text
            for wrong, text in (
                (not unit.get("exists"), "not installed"),
                (unit.get("masked"), "masked"),
                (unit.get("exists") and not unit.get("enabled"), "disabled"),
                (unit.get("exists") and not unit.get("active"), "not running"),
            )
            if wrong
        ]
        if faults:
            state = " and ".join(faults)
            found.add("unit", name, "enable", f"{name} is {state}", state, "enabled and running")
