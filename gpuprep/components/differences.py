"""Differences that several components share: files, packages, holds, units."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import TYPE_CHECKING

from gpuprep.components.state import PackageRequest
from gpuprep.model import Step, StepKind
from gpuprep.model.names import fits, matches
from gpuprep.model.value import Value
from gpuprep.observe.observation import Unit
from gpuprep.packages.closure import is_installed, walk
from gpuprep.packages.foreign import rivals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gpuprep.model import ManagedFile, Package, Repository
    from gpuprep.observe.observation import FileFacts, HostObservation
    from gpuprep.packages.closure import Packages
    from gpuprep.packages.family import PackageFamily


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
        """Return whether a step of one of these kinds was found."""
        return any(step.kind in kinds for step in self.steps)


def diff_files(
    differences: Differences, observation: HostObservation, files: Iterable[ManagedFile]
) -> None:
    """Find files that are absent, not wanted, or differ in content, key, rights or label."""
    for file in files:
        current = observation.files.get(file.path)
        if file.absent:
            if current is not None:
                reason = f"{file.path} is no longer needed"
                differences.add(file.kind, file.path, "remove", reason)
            continue
        if current is None:
            differences.add(file.kind, file.path, "create", f"{file.path} does not exist")
            continue
        if current.kind != "file":
            reason = f"{file.path} is a {current.kind}, no file"
            differences.add(file.kind, file.path, "change", reason)
            continue
        if file.key is not None:
            keys = observation.keys.get(file.path, ())
            # The file of a key without a known fingerprint is kept as it was checked.
            known = keys if file.key.fingerprint else (f"sha256:{current.sha256}",)
            if known != (file.key.identity,):
                held = ", ".join(keys) or "no key"
                reason = f"{file.path} does not hold exactly the repository's key"
                differences.add(file.kind, file.path, "change", reason, held, file.key.identity)
        elif current.sha256 != _sha256(file.content or ""):
            differences.add(file.kind, file.path, "change", f"{file.path} has another content")
        _diff_access(differences, file, current)


def _diff_access(differences: Differences, file: ManagedFile, current: FileFacts) -> None:
    """Find another mode, owner or SELinux label of a file."""
    rights = (current.mode, current.owner, current.group)
    desired = (file.mode, file.owner, file.group)
    if rights != desired:
        reason = f"{file.path} has other rights"
        before, after = " ".join(rights), " ".join(desired)
        differences.add(file.kind, file.path, "change", reason, before, after)
    wrong = current.wrong_label
    if wrong is not None:
        reason = f"{file.path} has another SELinux label than the policy's"
        differences.add(file.kind, file.path, "change", reason, wrong.label, wrong.wanted)


def diff_sources(
    differences: Differences,
    observation: HostObservation,
    repository: Repository | None,
    own: Collection[str],
) -> tuple[str, ...]:
    """Find files of others that name the stack's repository; return those to set aside."""
    if repository is None:
        return ()
    found = rivals(observation.package_manager.sources, repository, own)
    for rival in found:
        reason = f"it names {rival.address}, which gpuprep's own source stands for"
        differences.add(StepKind.SOURCE, rival.path, "disable", reason, rival.address)
    return tuple(rival.path for rival in found if rival.alone)


def diff_stream(differences: Differences, observation: HostObservation, wanted: str | None) -> None:
    """Find that another module stream is enabled than the wanted one, or none."""
    if wanted is None:
        return
    module, _, stream = wanted.partition(":")
    current = observation.package_manager.streams.get(module)
    if current == stream:
        return
    reason = f"stream {stream} of {module} is not enabled"
    action = "switch" if current else "enable"
    differences.add(StepKind.STREAM, module, action, reason, current, stream)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class PackageFindings(Value, frozen=True):
    """What the package comparison found.

    Attributes:
        wanted: packages for the transaction.
        members: installed packages that belong to the component.

    """

    wanted: tuple[PackageRequest, ...]
    members: tuple[str, ...]


class VersionLock(Value, frozen=True):
    """Packages that must share one version.

    Attributes:
        version: upstream version, None while it is not known.
        names: name patterns of the packages.
        exact: full versions by name that a lock file fixes.
        branch: driver branch that they must be of, while the version is not known.

    """

    version: str | None = None
    names: Collection[str] = ()
    exact: Mapping[str, str] = {}
    branch: str | None = None

    def wants(self, name: str, family: PackageFamily) -> str | None:
        """Return the pattern that a package's version must fit, None when any will do."""
        if name in self.exact:
            return self.exact[name]
        if self.version and matches(name, self.names):
            return family.release_of(self.version)
        return None

    def keeps(self, name: str, family: PackageFamily) -> str | None:
        """Return the pattern that the version of an installed package must fit, None for any."""
        if not self.version and self.branch and matches(name, self.names):
            return self.exact.get(name) or family.branch_of(self.branch)
        return self.wants(name, family)


def diff_packages(  # noqa: PLR0913, PLR0917 - one comparison, everything in it
    differences: Differences,
    packages: Packages,
    roots: Sequence[Package],
    patterns: Collection[str],
    family: PackageFamily,
    lock: VersionLock | None = None,
) -> PackageFindings:
    """Find packages that are absent, broken, at another version, or whose dependencies are.

    Args:
        differences: where steps are added.
        packages: the observation's packages.
        roots: packages the stack names.
        patterns: names that belong to the component; dependencies are followed through them.
        family: the host's package family.
        lock: packages that must share one version.

    """
    lock = lock or VersionLock()
    wanted: dict[str, str | None] = {}
    changing: set[str] = set()
    for root in roots:
        asked = lock.keeps if is_installed(packages, root.name) else lock.wants
        wanted[root.name] = root.version or asked(root.name, family)
        if _diff_root(differences, packages, root, wanted[root.name], family):
            changing.add(root.name)
    mismatched = _version_mismatch(packages, lock, family)
    names = [root.name for root in roots]
    closure = walk(packages, names, patterns, family, {*changing, *mismatched})
    for gap in closure.missing:
        reason = f"{gap.needed_by} needs {gap.name}" + (f" {gap.wanted}" if gap.wanted else "")
        wanted[gap.name] = gap.wanted or wanted.get(gap.name) or lock.wants(gap.name, family)
        action = "change" if gap.current else "install"
        differences.add(StepKind.PACKAGE, gap.name, action, reason, gap.current, wanted[gap.name])
    for name in closure.members:
        current = packages[name].version
        if name in lock.exact and name not in wanted and current != lock.exact[name]:
            reason = f"{name} is locked at another version"
            wanted[name] = lock.exact[name]
            differences.add(StepKind.PACKAGE, name, "change", reason, current, wanted[name])
    # A root that changes takes its dependencies along; otherwise each of them is named.
    for name in [] if changing else [name for name in mismatched if name not in lock.exact]:
        reason = f"{name} is at another version than the rest of the stack"
        wanted[name] = lock.keeps(name, family)
        current = packages[name].version
        differences.add(StepKind.PACKAGE, name, "change", reason, current, wanted[name])
    if not family.pins_needed and (changing or closure.missing):
        # Of what these need, the newest would come, whatever the lock file fixes.
        needed = (name for name in lock.exact if matches(name, patterns) and name not in packages)
        wanted |= {name: lock.exact[name] for name in needed if name not in wanted}
    requests = tuple(PackageRequest(name, version) for name, version in wanted.items())
    return PackageFindings(requests, closure.members)


def _diff_root(
    differences: Differences,
    packages: Packages,
    root: Package,
    exact: str | None,
    family: PackageFamily,
) -> bool:
    """Compare one package that the stack names; return whether it is installed or changed."""
    name = root.name
    if not is_installed(packages, name):
        state = packages[name].status if name in packages else "not installed"
        absent = name not in packages or state in family.absent
        reason = f"{name} is {'not installed' if absent else state}"
        action = "install" if absent else "configure"
        differences.add(StepKind.PACKAGE, name, action, reason, after=exact)
        return True
    current = packages[name].version or ""
    if exact is None or fits(current, exact):
        return False
    reason = f"{name} is at another version"
    differences.add(StepKind.PACKAGE, name, "change", reason, current, exact)
    return True


def _version_mismatch(packages: Packages, lock: VersionLock, family: PackageFamily) -> list[str]:
    if not lock.version and not lock.branch:
        return []
    return [
        name
        for name in sorted(packages)
        if matches(name, lock.names)
        and is_installed(packages, name)
        and not fits(packages[name].version or "", lock.keeps(name, family) or "*")
    ]


def shared_version(
    packages: Packages,
    patterns: Collection[str],
    family: PackageFamily,
    branch: str | None = None,
) -> str | None:
    """Return the version that most of the installed packages share, of several the newest.

    Args:
        packages: the observation's packages.
        patterns: names that belong together.
        family: the host's package family.
        branch: driver branch that the version must be of.

    """
    versions = Counter(
        family.upstream(package.version or "")
        for name, package in packages.items()
        if matches(name, patterns) and is_installed(packages, name)
    )
    newest = cmp_to_key(family.compare)
    inside = [v for v in versions if branch is None or v.startswith(f"{branch}.")]
    return max(inside, key=lambda v: (versions[v], newest(v)), default=None)


def diff_holds(
    differences: Differences, packages: Packages, patterns: Collection[str], *, renew: bool
) -> None:
    """Find packages that should be held and are not.

    Args:
        differences: where the step is added.
        packages: the observation's packages.
        patterns: names to hold.
        renew: packages are about to change, so the hold has to be renewed in any case.

    """
    unheld = sorted(
        name
        for name, package in packages.items()
        if matches(name, patterns) and is_installed(packages, name) and not package.hold
    )
    if unheld or renew:
        names = ", ".join(unheld) or "the packages to be installed"
        differences.add(StepKind.HOLD, "packages", "set", f"not held: {names}")


def diff_units(
    differences: Differences, observation: HostObservation, names: Iterable[str]
) -> None:
    """Find units that are masked, disabled or not running."""
    for name in names:
        unit = observation.units.get(name) or Unit()
        faults = [
            text
            for wrong, text in (
                (not unit.exists, "not installed"),
                (unit.masked, "masked"),
                (unit.exists and not unit.enabled, "disabled"),
                (unit.exists and not unit.active, "not running"),
            )
            if wrong
        ]
        if faults:
            state = " and ".join(faults)
            reason, after = f"{name} is {state}", "enabled and running"
            differences.add(StepKind.UNIT, name, "enable", reason, state, after)


def diff_unwanted_units(
    differences: Differences, observation: HostObservation, names: Iterable[str]
) -> None:
    """Find units that are enabled or running, or will be: packages do that to what is new."""
    for name in names:
        unit = observation.units.get(name) or Unit()
        faults = [word for on, word in ((unit.enabled, "enabled"), (unit.active, "running")) if on]
        if unit.exists and faults:
            state = " and ".join(faults)
            reason = f"{name} is {state}"
        elif not unit.exists and differences.has(StepKind.PACKAGE):
            state, reason = "not installed", f"its package enables and starts {name}"
        else:
            continue
        differences.add(StepKind.UNIT, name, "disable", reason, state, "disabled and stopped")
