"""What package families differ in, behind one port; see :mod:`gpuprep.packages.family`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.model import Family
from gpuprep.packages.deb import DEB
from gpuprep.packages.rpm import RPM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.packages.family import PackageFamily

# Families that hosts can be converged on.
FAMILIES: Mapping[Family, PackageFamily] = {Family.DEB: DEB, Family.RPM: RPM}

__all__ = ["FAMILIES", "family_of"]


def family_of(name: Family) -> PackageFamily | None:
    """Return the package family of a name; None where hosts of it cannot be converged yet."""
    return FAMILIES.get(name)
