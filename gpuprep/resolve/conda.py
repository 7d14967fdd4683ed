"""The conda installer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.model import CondaInstaller
from gpuprep.resolve.case import Refused

if TYPE_CHECKING:
    from gpuprep.resolve.case import Case


def choose_installer(case: Case) -> CondaInstaller:
    """Choose Miniforge's release, with URL and checksum for the machine.

    Raises:
        Refused: unknown release without a checksum, or a machine without an installer.

    """
    rules, desired, arch = case.catalog.conda, case.desired, case.facts.arch
    automatic = desired.conda_version == "auto"
    version = rules.default if automatic else desired.conda_version
    sums = rules.releases.get(version, {})
    known = sorted({machine for release in rules.releases.values() for machine in release})
    if arch not in known:
        raise Refused("E_CONDA_ARCH", arch=arch, known=", ".join(known))
    checksum = desired.conda_sha256 or sums.get(arch)
    if checksum is None:
        known_versions = ", ".join(rules.releases)
        raise Refused("E_CONDA_UNKNOWN", "conda_version", version=version, known=known_versions)
    base = (desired.conda_mirror or rules.base).rstrip("/")
    why = "newest release whose checksum is known" if automatic else "asked for"
    case.because("conda", version, why, "conda")
    return CondaInstaller(version, rules.url.format(base=base, v=version, arch=arch), checksum)
