"""Which driver releases build on a kernel, and which kernels a release carries. Pure.

What a kernel's headers show counts; where they are not there, or cannot show it, its number does.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gpuprep.model.value import Value
from gpuprep.model.versions import at_least, key, newest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gpuprep.catalog.kernels import KernelChange, KernelTable
    from gpuprep.model import HostFacts, KernelHeaders

_MAINLINE = re.compile(r"\d+(?:\.\d+){0,2}")
_NUMBERED = re.compile(r"(?P<base>\d+\.\d+\.\d+)-(?P<number>\d+)[-.](?P<rest>.*)")


class Kernel(Value, frozen=True):
    """A kernel that modules are built for; ``headers`` None = they are not there."""

    release: str
    headers: KernelHeaders | None = None


class Obstacle(Value, frozen=True):
    """A change of a kernel that keeps a driver release from being built.

    Attributes:
        change: the change.
        shown: whether the kernel's headers show it.
        fixed: first release of the branch that builds again; None: there is none.

    """

    change: KernelChange
    shown: bool
    fixed: str | None


class Carried(Value, frozen=True):
    """The kernels that a driver release builds on.

    Attributes:
        before: first mainline kernel that it does not build on; None = none is known.
        change: what that kernel changed.
        except_for: older kernels of distributions and stable series that it does not build on.
        seen: newest kernel that it was seen to build on; None = not recorded.

    """

    before: str | None
    change: KernelChange | None
    except_for: tuple[str, ...]
    seen: str | None

    @property
    def words(self) -> str:
        """The newest kernels, in words."""
        if self.before is not None:
            return f"before {self.before}"
        return f"up to {self.seen}" if self.seen else "all known"


def kernel_of(facts: HostFacts) -> Kernel | None:
    """Return the kernel that a host's driver is built for; None when it is unknown."""
    return Kernel(facts.kernel, facts.kernel_headers) if facts.kernel else None


def obstacle(
    table: KernelTable,
    kernel: Kernel,
    version: str,
    flavour: str,
    mended: Collection[str] = (),
) -> Obstacle | None:
    """Return what keeps a driver release from being built for a kernel; None when nothing does.

    Args:
        table: what is known of drivers and kernels.
        kernel: the kernel.
        version: driver release.
        flavour: of its kernel modules.
        mended: names of changes that the packaged source follows by patches of its own.

    """
    found = [
        (change, shown)
        for change in table.changes.values()
        if change.name not in mended and change.concerns(flavour, version)
        for has, shown in [_has(change, kernel)]
        if has
    ]
    if not found:
        return None
    change, shown = next((pair for pair in found if pair[1]), found[0])
    return Obstacle(change, shown, _fixed([each for each, _ in found], version))


def oldest_of_branch(
    table: KernelTable, kernel: Kernel, version: str, flavour: str, mended: Collection[str] = ()
) -> str | None:
    """Return the oldest release of a branch that builds on a kernel; None = no limit is known.

    Args:
        table: what is known of drivers and kernels.
        kernel: the kernel.
        version: a release of the branch that builds.
        flavour: of its kernel modules.
        mended: as in :func:`obstacle`.

    """
    branch = _branch(version)
    floors = tuple(
        change.fixed[branch]
        for change in table.changes.values()
        if branch in change.fixed
        and change.name not in mended
        and flavour in change.flavours
        and _has(change, kernel)[0]
    )
    return newest(floors) if floors else None


def carried(
    table: KernelTable, version: str, flavour: str, mended: Collection[str] = ()
) -> Carried:
    """Return the kernels that a driver release builds on."""
    unfollowed = [
        change
        for change in table.changes.values()
        if change.name not in mended and change.concerns(flavour, version)
    ]
    first = min(
        (change for change in unfollowed if change.kernel),
        key=lambda change: key(change.kernel or ""),
        default=None,
    )
    before = first.kernel if first else None
    older = dict.fromkeys(
        backport
        for change in unfollowed
        for backport in change.backports
        if before is None or not at_least(_mainline(backport), before)
    )
    return Carried(before, first, tuple(older), table.built.get(version))


def is_untried(table: KernelTable, kernel: Kernel) -> bool:
    """Return whether a kernel is newer than all that a driver release was seen to build on."""
    return key(_mainline(kernel.release))[:2] > key(table.newest_seen)[:2]


def _has(change: KernelChange, kernel: Kernel) -> tuple[bool, bool]:
    """Return whether a kernel has a change, and whether its headers say so."""
    shown = kernel.headers.changes.get(change.name) if kernel.headers else None
    since = change.look.since if change.look else None
    if shown is not None and at_least(_mainline(kernel.release), since):
        return shown, True
    return _by_number(change, kernel), False


def _by_number(change: KernelChange, kernel: Kernel) -> bool:
    told = kernel.headers.version if kernel.headers else None
    versions = [_mainline(kernel.release), *([told] if told else [])]
    if change.kernel is not None and any(at_least(each, change.kernel) for each in versions):
        return True
    return any(_follows(backport, kernel.release, versions) for backport in change.backports)


def _follows(backport: str, release: str, versions: Iterable[str]) -> bool:
    """Return whether a kernel is one with a backport, or a later one of the same series."""
    first = _NUMBERED.fullmatch(backport)
    if first is None:
        same = (each for each in versions if key(each)[:2] == key(backport)[:2])
        return any(at_least(each, backport) for each in same)
    own = _NUMBERED.fullmatch(release)
    return (
        own is not None
        and own["base"] == first["base"]
        and int(own["number"]) >= int(first["number"])
        and fnmatchcase(own["rest"], first["rest"])
    )


def _mainline(release: str) -> str:
    """Return the dotted number at a release's start: ``6.8.0`` of ``6.8.0-1064-oracle``."""
    found = _MAINLINE.match(release)
    return found.group() if found else "0"


def _fixed(changes: Iterable[KernelChange], version: str) -> str | None:
    branch = _branch(version)
    floors = [change.fixed.get(branch) for change in changes]
    known = tuple(floor for floor in floors if floor is not None)
    return newest(known) if len(known) == len(floors) else None


def _branch(version: str) -> str:
    return version.split(".", maxsplit=1)[0]
