"""Which kernels the modules of a driver release build on: ``kernel_changes`` of the data, typed.

A kernel changes an interface, and driver releases that do not know the new form do not compile.
Nothing here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuprep.model.value import Value
from gpuprep.model.versions import at_least, at_most, key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.model import Flavour

_BOTH: tuple[Flavour, ...] = ("open", "proprietary")


class Look(Value, frozen=True):
    """How a kernel's headers show whether they have a change.

    Attributes:
        file: header, relative to the kernel's tree.
        unchanged: regular expression that only the old form matches.
        changed: one that only the new form matches; None: the old form missing is the change.
        since: first kernel with the old form; what older headers show means nothing.

    """

    file: str
    unchanged: str
    changed: str | None = None
    since: str | None = None


class KernelChange(Value, frozen=True):
    """A change in the kernel's interface for modules.

    Attributes:
        name: ``follow_pfn``.
        what: what changed, in words.
        kernel: first mainline release that has it; None: known of other kernels only.
        backports: other kernels that have it: ``6.12.97`` and later of 6.12, or
            ``6.8.0-1064-oracle*`` and later of these kernels of a distribution.
        flavours: kernel-module flavours that use the interface.
        drivers: first and last driver release that use it; None = an open end.
        fixed: by branch, its first release that builds again; a branch not named never does.
        since: branch from which on every release builds.
        look: how headers show it; None where they cannot.
        source: where the fact comes from.
        guess: whether some of this was not seen in a document or measured.

    """

    name: str
    what: str
    kernel: str | None
    backports: tuple[str, ...]
    flavours: tuple[Flavour, ...]
    drivers: tuple[str | None, str | None]
    fixed: Mapping[str, str]
    since: str
    look: Look | None
    source: str
    guess: bool

    def concerns(self, flavour: str, version: str) -> bool:
        """Return whether modules of a driver release use the interface in its old form."""
        first, last = self.drivers
        used = at_least(version, first) and at_most(version, last)
        return flavour in self.flavours and used and not self.is_followed(version)

    def is_followed(self, version: str) -> bool:
        """Return whether a driver release knows the new form."""
        branch = version.split(".", maxsplit=1)[0]
        first = self.fixed.get(branch)
        if first is not None:
            return at_least(version, first)
        return at_least(branch, self.since)


class KernelTable(Value, frozen=True):
    """Everything known about drivers and kernels.

    Attributes:
        changes: by name, those of older kernels first.
        built: newest kernel (``7.3``) that a driver release was seen to build on, by release.

    """

    changes: Mapping[str, KernelChange]
    built: Mapping[str, str]

    @property
    def newest_seen(self) -> str:
        """Newest kernel that any driver release was seen to build on."""
        return max(self.built.values(), key=key)


def kernel_table(raw: Mapping[str, Any]) -> KernelTable:
    """Build the table from its block of the data file."""
    return KernelTable(
        changes={name: _change(name, item) for name, item in raw["items"].items()},
        built=raw["built"],
    )


def _change(name: str, raw: Mapping[str, Any]) -> KernelChange:
    first, last = raw.get("drivers", (None, None))
    return KernelChange(
        name=name,
        what=raw["what"],
        kernel=raw["kernel"],
        backports=tuple(raw.get("backports", ())),
        flavours=tuple(raw.get("flavours", _BOTH)),
        drivers=(first, last),
        fixed=raw["fixed"],
        since=raw["since"],
        look=Look(**raw["look"]) if "look" in raw else None,
        source=raw["source"],
        guess=raw.get("confidence") == "guess",
    )
