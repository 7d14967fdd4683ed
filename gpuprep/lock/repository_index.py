"""What a package repository offers, read from its index on the machine that gpuprep runs on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuprep.model.versions import newest
from gpuprep.packages.closure import accepts
from gpuprep.packages.family import upstream_version
from gpuprep.packages.index import packages_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuprep.model import Repository
    from gpuprep.packages.family import PackageFamily


@dataclass(frozen=True, slots=True)
class PackageIndex:
    """Packages of a repository.

    Attributes:
        versions: by name.
        depends: dependency field by name and version.

    """

    versions: Mapping[str, tuple[str, ...]]
    depends: Mapping[tuple[str, str], str] = field(default_factory=dict)


def index_of(repository: Repository) -> PackageIndex:
    """Read what a repository offers, from its index.

    Raises:
        ConfigError: the index cannot be had or understood.

    """
    index = "Packages.gz" if repository.family == "deb" else "repodata/repomd.xml"
    listed = packages_of(repository.url + index)
    versions: dict[str, tuple[str, ...]] = {}
    for package in listed:
        versions[package.name] = (*versions.get(package.name, ()), package.version)
    return PackageIndex(versions, {(p.name, p.version): p.depends for p in listed if p.depends})


def required(
    offered: PackageIndex,
    roots: Mapping[str, str],
    driver: str | None,
    family: PackageFamily | None,
) -> dict[str, str]:
    """Return the repository's packages that others need, each at the version it would get today.

    Of alternatives all are given: which one apt takes depends on the host.

    Args:
        offered: the repository.
        roots: exact versions by name.
        driver: driver version; of the driver's own packages only this one is taken.
        family: what reads dependencies; None where they are not known.

    Returns:
        Exact version by name, without the roots.

    """
    chosen, todo = dict(roots), list(roots)
    while todo:
        name = todo.pop()
        depends = offered.depends.get((name, chosen[name]), "")
        groups = family.requirements(depends) if family else ()
        for relation in (one for group in groups for one in group):
            if relation.name in chosen:
                continue
            versions = offered.versions.get(relation.name, ())
            fits = [v for v in versions if family and accepts(relation, v, family)]
            version = newest_beside(driver, fits)
            if version is not None:
                chosen[relation.name] = version
                todo.append(relation.name)
    return {name: version for name, version in sorted(chosen.items()) if name not in roots}


def newest_beside(driver: str | None, versions: Iterable[str]) -> str | None:
    """Return the newest version that goes with a driver; None when none does.

    Packages of the driver carry its version: theirs is the one taken. Others have versions of
    their own, and a version of another driver is never taken.
    """
    offered = tuple(versions)
    of_driver = tuple(v for v in offered if upstream_version(v) == driver)
    fits = of_driver or tuple(v for v in offered if not _is_driver_version(v))
    return newest(fits) if fits else None


def _is_driver_version(version: str) -> bool:
    return re.match(r"\d{3}\.\d", version.rpartition(":")[2]) is not None
