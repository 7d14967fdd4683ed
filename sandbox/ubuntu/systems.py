"""The Ubuntu releases there are hosts of, their kernels and what their archive has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as Ubuntu packages it.

    Attributes:
        base: version without ABI, ``6.8.0``.
        abi: ABI number, ``1067``.
        compiler: first line of the compiler that made it, as the kernel's settings record it.
        flavour: end of the release, ``oracle``.

    """

    base: str
    abi: int
    compiler: str
    flavour: str = "oracle"

    @property
    def uname(self) -> str:
        """What ``uname -r`` says while it runs."""
        return f"{self.base}-{self.abi}-{self.flavour}"

    @property
    def version(self) -> str:
        """The version of its packages."""
        return f"{self.base}-{self.abi}.{self.abi - 1000}"

    @property
    def meta_version(self) -> str:
        """The version of the packages that always need the newest kernel."""
        return f"{self.base}.{self.abi}.{self.abi - 1000}"


@dataclass(frozen=True, slots=True)
class System:
    """An Ubuntu release: who it says it is, whose files it has, which kernels there are.

    Attributes:
        name: image name, as the catalog calls the system.
        version: ``VERSION_ID`` of os-release.
        title: version and code name in words.
        codename: suite of the archive.
        suite: the Debian release whose files and whose apt it has.
        gcc: major version of the system's compiler.
        kernel: the installed one.
        newer: what the archive has after an update.
        drivers: versions of the archive's drivers at first.
        newer_drivers: those after an update.

    """

    name: str
    version: str
    title: str
    codename: str
    suite: str
    gcc: int
    kernel: Kernel
    newer: Kernel
    drivers: tuple[str, ...] = ("580.173.02", "595.71.05")
    newer_drivers: tuple[str, ...] = ("580.178.04", "595.91.07")

    @property
    def distro(self) -> str:
        """The directory of NVIDIA's repository for it."""
        return f"ubuntu{self.version.replace('.', '')}"


_GCC12: Final = "x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04.2) 12.3.0"
_GCC13: Final = "x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0"
_GCC15: Final = "x86_64-linux-gnu-gcc-15 (Ubuntu 15.2.0-16ubuntu1) 15.2.0"

SYSTEMS: Final = {
    system.name: system
    for system in (
        System(
            *("ubuntu-22.04", "22.04", "22.04.5 LTS (Jammy Jellyfish)", "jammy", "bookworm", 11),
            Kernel("6.8.0", 1067, _GCC12),
            Kernel("6.8.0", 1068, _GCC12),
        ),
        System(
            *("ubuntu-24.04", "24.04", "24.04.4 LTS (Noble Numbat)", "noble", "bookworm", 13),
            Kernel("7.0.0", 1016, _GCC13),
            Kernel("7.0.0", 1017, _GCC13),
        ),
        System(
            *("ubuntu-26.04", "26.04", "26.04.1 LTS (Resolute Raccoon)"),
            *("resolute", "trixie", 15),
            Kernel("7.0.0", 1016, _GCC15),
            Kernel("7.0.0", 1017, _GCC15),
        ),
    )
}
