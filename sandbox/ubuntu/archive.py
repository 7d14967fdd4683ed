"""Ubuntu's archive: what is in it, suite by suite, and how it is indexed and signed."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sandbox.nvrepo.deb import Deb, Entry, script
from sandbox.nvrepo.driver import Driver
from sandbox.ubuntu import driver, kernels, modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sandbox.nvrepo.publish import SigningKey
    from sandbox.ubuntu.modules import ModuleKey
    from sandbox.ubuntu.systems import Kernel, System

# What there is at first; after an update of the kernel, for which there are no modules yet; after
# updates of kernel and driver.
POCKETS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "now": {"": ("release",), "-updates": (), "-security": ()},
    "kernel-first": {"": ("release",), "-updates": ("security",), "-security": ("security",)},
    "later": {"": ("release",), "-updates": ("security", "phased"), "-security": ("security",)},
}
"""The groups of packages in each pocket, by state."""
KEYRING: Final = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
# CUDA of each branch, as its libcuda tells it.
_CUDA: Final = {580: 13000, 595: 13020}
_TRANSITIONAL: Final = ((535, 580), (570, 580), (590, 595))
_COMPILER: Final = {"bookworm": 12, "trixie": 14}


def group(system: System, state: str, name: str, key: ModuleKey, work: Path) -> list[Deb]:
    """Describe one group of the packages that an archive has in a state."""
    if name == "release":
        current = _kernel(system, system.kernel, system.drivers, key, work)
        return [*_compilers(system), *current, *_drivers(system, system.drivers, work)]
    if name == "phased":  # so far that no host gets these by an upgrade
        return _phased(_drivers(system, system.newer_drivers, work), 0)
    if state == "kernel-first":
        return kernels.all_packages(system.newer, work)
    return _kernel(system, system.newer, system.newer_drivers, key, work)


def _kernel(
    system: System, kernel: Kernel, versions: Iterable[str], key: ModuleKey, work: Path
) -> list[Deb]:
    cuts = [driver.of_archive(_driver(version), system.version) for version in versions]
    return [*kernels.all_packages(kernel, work), *modules.packages(kernel, cuts, key, work)]


def _drivers(system: System, versions: Iterable[str], work: Path) -> list[Deb]:
    found = []
    for version in versions:
        one = _driver(version)
        found += driver.archive_packages(one, system.version, work)
        own = driver.of_archive(one, system.version).version
        for old, new in _TRANSITIONAL:
            if new == one.branch:
                found += driver.transitional(old, new, own)
    return found


def _driver(version: str) -> Driver:
    return Driver(version, cuda=_CUDA[int(version.partition(".")[0])])


def _compilers(system: System) -> list[Deb]:
    """Describe the system's compiler, where Debian's release has none of that number."""
    theirs, ours = _COMPILER[system.suite], system.gcc
    if ours <= theirs:
        return []
    version = f"4:{ours}.2.0-1ubuntu1"
    named = {
        "gcc": (f"gcc-{ours}", "cpp"),
        "g++": (f"g++-{ours}", f"gcc (= {version})"),
        f"gcc-{ours}": (f"gcc-{theirs}",),
        f"g++-{ours}": (f"g++-{theirs}", f"gcc-{ours}"),
    }
    return [
        Deb(
            name=name,
            version=version if name in {"gcc", "g++"} else version.partition(":")[2],
            description=f"GNU compiler {ours}; its files are those of {theirs}",
            section="devel",
            relations={"Depends": needs},
            files={f"usr/bin/{name}": _program(name, theirs, ours)},
        )
        for name, needs in named.items()
    ]


def _program(name: str, theirs: int, ours: int) -> Entry:
    """Return what a compiler's name leads to: a compiler goes by the name of its file."""
    tool = name.partition("-")[0]
    if tool == name:
        return Entry(link=f"{tool}-{ours}")
    return script(f'#!/bin/sh\nexec {tool}-{theirs} "$@"\n')


def repository(
    directory: Path, system: System, pools: Mapping[str, Iterable[Path]], key: SigningKey
) -> None:
    """Fill `directory` with the pockets of a release, by name, and their signed indexes.

    The directory is replaced as a whole, so that no reader meets half of a new one.
    """
    stage = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(stage, ignore_errors=True)
    for pocket, debs in pools.items():
        suite = f"{system.codename}{pocket}"
        pool = stage / "pool" / suite / "restricted"
        pool.mkdir(parents=True)
        for deb in debs:
            os.link(deb, pool / deb.name)
        index = stage / "dists" / suite / "restricted" / "binary-amd64"
        index.mkdir(parents=True)
        packages = _archive(stage, "packages", str(pool.relative_to(stage)))
        (index / "Packages").write_bytes(packages)
        (index / "Packages.gz").write_bytes(gzip.compress(packages, mtime=0))
        fields = {
            "Origin": "Ubuntu",
            "Label": "Ubuntu",
            "Suite": suite,
            "Codename": system.codename,
            "Architectures": "amd64",
            "Components": "restricted",
        }
        settings = [
            part
            for name, value in fields.items()
            for part in ("-o", f"APT::FTPArchive::Release::{name}={value}")
        ]
        release = index.parents[1] / "Release"
        release.write_bytes(_archive(index.parents[1], *settings, "release", "."))
        key.sign(release)
    shutil.rmtree(directory, ignore_errors=True)
    stage.rename(directory)


def _phased(debs: Iterable[Deb], percentage: int) -> list[Deb]:
    """Return packages that only a share of hosts is to get by an upgrade."""
    field = {"Phased-Update-Percentage": (str(percentage),)}
    return [replace(deb, relations={**deb.relations, **field}) for deb in debs]


def _archive(directory: Path, *arguments: str) -> bytes:
    hashes = [f"APT::FTPArchive::{name}=false" for name in ("MD5", "SHA1", "SHA512")]
    options = [part for choice in hashes for part in ("-o", choice)]
    command = ["apt-ftparchive", "-q", *options, *arguments]
    return subprocess.run(command, check=True, capture_output=True, cwd=directory).stdout
