"""How far gpuprep goes on a system, in the words that every place uses."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from gpuprep.catalog.rules import host_rules
from gpuprep.packages import FAMILIES

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Catalog, System


class Support(StrEnum):
    """How far gpuprep goes on a system and machine."""

    PROVEN = "installed and proven"
    INSTALLED = "installed, not yet proven"
    EXPLAINED = "explained only"

    @property
    def meaning(self) -> str:
        """What it means for who has such a host."""
        return _MEANINGS[self]


_MEANINGS = {
    Support.PROVEN: "the roles install it; tests take such hosts from bare to prepared",
    Support.INSTALLED: "the roles install it; no test has taken such a host from bare to prepared",
    Support.EXPLAINED: "the stack is resolved and told; roles that install packages refuse",
}


def support_of(system: System, arch: str) -> Support:
    """Return how far gpuprep goes on a system and machine."""
    if not system.installs or system.family not in FAMILIES:
        return Support.EXPLAINED
    proven = arch in host_rules().proven_systems.get(system.name, ())
    return Support.PROVEN if proven else Support.INSTALLED


def supported(catalog: Catalog, level: Support) -> str:
    """Return the systems of a level; with their machine where their others are of another level."""
    names = []
    for system in catalog.systems.values():
        arches = [arch for arch in system.arches if support_of(system, arch) is level]
        if arches:
            some = "" if len(arches) == len(system.arches) else f" ({', '.join(arches)})"
            names.append(system.name + some)
    return ", ".join(names)
