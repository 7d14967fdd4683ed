"""Further mirrors beside the sandbox's, signed by its key: a choice of its packages, or others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.catalog import load
from sandbox.el.systems import SYSTEMS
from sandbox.nvrepo import content, rpm, rpm_driver, rpm_publish
from sandbox.nvrepo.build import REPOS
from sandbox.nvrepo.publish import Naming, SigningKey, flat_repository
from sandbox.paths import STATE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WEB = STATE / "www"


def packages(distribution: str, pattern: str = "*.deb") -> list[Path]:
    """Files of the sandbox's repository for a distribution (``debian12``)."""
    return [*(WEB / REPOS / distribution / "x86_64").glob(pattern)]


def publish(name: str, distribution: str, debs: Iterable[Path]) -> str:
    """Publish packages as a mirror; return its path below the web root."""
    place = WEB / name / distribution / "x86_64"
    place.parent.mkdir(parents=True, exist_ok=True)
    key = SigningKey.ensure(STATE / "keys" / "nvrepo")
    systems = load().systems.values()
    key_file = next(system.key.file for system in systems if system.distro == distribution)
    names = Naming("NVIDIA CUDA", key_file)
    flat_repository(place, debs, key, names)
    return name


def publish_rpms(name: str, system: str, rpms: Iterable[Path]) -> str:
    """Publish packages as a mirror for a system of Enterprise Linux (``ol-9``), with its streams.

    Returns:
        The mirror's path below the web root.

    """
    place = WEB / name / SYSTEMS[system].distro / "x86_64"
    place.parent.mkdir(parents=True, exist_ok=True)
    files = {path: rpm.read(path) for path in rpms}
    versions = {driver.version for driver in content.EL_DRIVERS}
    drivers = [package for package in files.values() if package.version in versions]
    rpm_publish.repository(
        place,
        files,
        SigningKey.ensure(STATE / "keys" / "nvrepo"),
        load().systems[system].key.file,
        rpm_driver.streams(drivers),
    )
    return name
