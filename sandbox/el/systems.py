"""The Enterprise Linux systems there are hosts of, and their kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

REGION: Final = "eu-frankfurt-1"
DOMAIN: Final = "oci.oraclecloud.com"
MIRROR: Final = f"yum.{REGION}.{DOMAIN}"
"""The name by which Oracle's hosts know the sandbox's web server."""

Flavour = Literal["uek", "rhck"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's release string (without architecture) and the compiler that made it.

    Attributes:
        flavour: Oracle's kernel (``uek``) or the one that is Red Hat's.
        release: ``6.12.0-100.28.2.2.el9uek``.
        compiler: first line of the compiler that made it, as the kernel's settings record it.
        own_compiler: whether that is the system's own gcc; otherwise it needs a toolset.

    """

    flavour: Flavour
    release: str
    compiler: str
    own_compiler: bool = True

    @property
    def uname(self) -> str:
        """What ``uname -r`` says while it runs."""
        return f"{self.release}.x86_64"

    @property
    def split(self) -> bool:
        """Whether its modules are in packages by use, with a list of what is where: UEK 8."""
        return self.flavour == "uek" and self.release.startswith("6.12.")

    @property
    def stem(self) -> str:
        """What its packages' names begin with."""
        return "kernel-uek" if self.flavour == "uek" else "kernel"


@dataclass(frozen=True, slots=True)
class System:
    """An operating system: who it says it is, whose files it has, which kernels there are.

    Attributes:
        name: image name, ``ol-9``, as the catalog calls the system.
        ident: ``ID`` of os-release.
        title: ``NAME`` of os-release.
        version: full version.
        suite: the Debian release whose files and whose dnf it has.
        gcc: version of the system's compiler.
        kernels: installed ones, the default for the next boot first.
        offered: kernels that its repository has besides.
        toolsets: newer compilers for the kernels that need one, by major version.
        python: version of Python that ``python3`` is; empty: that of the suite.
        dkms: versions of DKMS that its extra packages have.

    """

    name: str
    ident: str
    title: str
    version: str
    suite: str
    gcc: str
    kernels: tuple[Kernel, ...]
    offered: tuple[Kernel, ...] = ()
    toolsets: tuple[int, ...] = ()
    python: str = ""
    dkms: tuple[str, ...] = ("3.0.10", "3.4.3")

    @property
    def major(self) -> int:
        """The major version, as in 9."""
        return int(self.version.partition(".")[0])

    @property
    def distro(self) -> str:
        """The directory of NVIDIA's repository for it."""
        return f"rhel{self.major}"

    @property
    def oracle(self) -> bool:
        """Whether it is Oracle Linux."""
        return self.ident == "ol"


_GCC8: Final = "gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-26.0.1)"
_GCC11: Final = "gcc (GCC) 11.5.0 20240719 (Red Hat 11.5.0-5.0.1)"
_GCC14: Final = "gcc (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7)"
_UEK7_8: Final = Kernel(
    "uek",
    "5.15.0-308.179.6.el8uek",
    "gcc (GCC) 11.2.1 20220127 (Red Hat 11.2.1-9.1.0.6)",
    own_compiler=False,
)
_UEK7_9: Final = Kernel("uek", "5.15.0-308.179.6.el9uek", _GCC11)
_UEK8_9: Final = Kernel("uek", "6.12.0-100.28.2.2.el9uek", _GCC14, own_compiler=False)
_UEK8_10: Final = Kernel("uek", "6.12.0-100.28.2.2.el10uek", _GCC14)
_RHCK8: Final = Kernel("rhck", "4.18.0-553.51.1.el8_10", _GCC8)
_RHCK9: Final = Kernel("rhck", "5.14.0-570.12.1.0.1.el9_6", _GCC11)
_RHCK9_NEWER: Final = Kernel("rhck", "5.14.0-611.5.1.0.1.el9_7", _GCC11)
_RHCK10: Final = Kernel("rhck", "6.12.0-55.9.1.0.1.el10_0", _GCC14)
_ROCKY9: Final = Kernel("rhck", "5.14.0-570.12.1.el9_6", _GCC11)

_ORACLE: Final = "Oracle Linux Server"
SYSTEMS: Final = {
    system.name: system
    for system in (
        System(
            "ol-8",
            *("ol", _ORACLE, "8.10", "bookworm", "8.5.0"),
            (_UEK7_8, _RHCK8),
            toolsets=(11,),
            python="3.6",
            dkms=("3.0.10",),
        ),
        System(
            "ol-9",
            *("ol", _ORACLE, "9.6", "bookworm", "11.5.0"),
            (_UEK8_9, _RHCK9),
            offered=(_UEK7_9, _RHCK9_NEWER),
            toolsets=(14,),
        ),
        System(
            "ol-10",
            *("ol", _ORACLE, "10.0", "trixie", "14.2.1"),
            (_UEK8_10, _RHCK10),
            dkms=("3.2.2", "3.4.3"),
        ),
        System("rocky-9", *("rocky", "Rocky Linux", "9.6", "bookworm", "11.5.0"), (_ROCKY9,)),
    )
}
WITH_DRIVER: Final = {"ol-9-gpu": ("ol-9", "580.95.05")}
"""Images of a system whose maker has put a driver into them, as Oracle's Gen2-GPU images: the
system and the driver's version."""


def system_of(image: str) -> System | None:
    """Return the system of an image by its name; None for another's, and for a snapshot's."""
    return SYSTEMS.get(WITH_DRIVER.get(image, (image, ""))[0])
