"""NVIDIA's driver packages for Enterprise Linux: one version's closure, add-ons and module streams.

Everything of the driver has epoch 3, the add-ons have none. Names: repository listings and module
lists seen in public code (NVIDIA/yum-packaging-*, NVIDIA/cuda-repo-management), and the package
lists of Amazon Linux. Habits that callers must live with are kept: `nvidia-kmod-common` needs
`nvidia-modprobe` of any version and changes every boot entry, add-ons belong to no stream, and
%post of the modules swallows what dkms says.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import yaml

from sandbox.nvrepo import compiled, driver, fabric
from sandbox.nvrepo.deb import Entry
from sandbox.nvrepo.driver import FLAVOURS, MODULES, Driver, Flavour
from sandbox.nvrepo.rpm import LDCONFIG, Rpm, Scriptlet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

EPOCH: Final = 3
LIBRARIES: Final = "usr/lib64"
MODULE: Final = "nvidia-driver"
DEFAULT_STREAM: Final = "open-dkms"
STREAMLESS_SINCE: Final = 10
"""From this major version of Enterprise Linux on the repository has no module streams."""
COMMON_SINCE: Final = 610
"""From this branch on `nvidia-driver-common` holds what three library packages held before."""
SAME_EPOCH_SINCE: Final = 590
"""From this branch on add-ons are built with the driver: its epoch, and a release with the system's
name; the epoch is a guess."""
PROPRIETARY_UNTIL: Final = 610
"""The last branch with proprietary modules in packages."""
KMOD: Final = {"open": "kmod-nvidia-open-dkms", "proprietary": "kmod-nvidia-latest-dkms"}
META: Final = {"open": "nvidia-open", "proprietary": "cuda-drivers"}

PAYLOAD: Final = {
    "libnvidia-ml": ("libnvidia-ml1",),
    "libnvidia-cfg": ("libnvidia-cfg1",),
    "libnvidia-gpucomp": ("libnvidia-gpucomp",),
    "nvidia-driver-common": ("libnvidia-ml1", "libnvidia-cfg1", "libnvidia-gpucomp"),
    "nvidia-driver-cuda-libs": ("libcuda1", "libnvidia-ptxjitcompiler1", "libnvidia-nvvm4"),
    "nvidia-driver-libs": ("libnvidia-glcore", "libnvidia-eglcore"),
    "nvidia-driver-cuda": ("nvidia-driver-cuda", "nvidia-opencl-icd"),
    "nvidia-persistenced": ("nvidia-persistenced",),
    "nvidia-modprobe": ("nvidia-modprobe",),
    "nvidia-settings": ("nvidia-settings",),
    "nvidia-libXNVCtrl": ("libxnvctrl0",),
    "nvidia-kmod-common": ("firmware-nvidia-gsp",),
    "nvidia-fabricmanager": ("nvidia-fabricmanager",),
    "nvidia-imex": ("nvidia-imex",),
    "libnvidia-nscq": ("libnvidia-nscq",),
    "libnvsdm": ("libnvsdm",),
}
"""The Debian packages whose files each package holds."""
NOARCH: Final = {"nvidia-kmod-common", *KMOD.values(), *META.values()}
ADD_ONS: Final = ("nvidia-fabricmanager", "nvidia-imex", "libnvidia-nscq", "libnvsdm", "nvlink5")
IN_NO_STREAM: Final = frozenset(ADD_ONS) - {"nvidia-fabricmanager"}

SELINUX: Final = ("nvidia-driver-selinux", "0.1", "2")
"""A package with a version of its own, wanted where SELinux's policy is installed."""
_ARGUMENTS: Final = "rd.driver.blacklist=nouveau,nova_core modprobe.blacklist=nouveau,nova_core"
BOOT: Final = f"""\
[ ! -x /usr/sbin/grubby ] ||
    grubby --update-kernel=ALL --args="{_ARGUMENTS}" --remove-args=nomodeset > /dev/null || :
"""
NO_BOOT: Final = f"""\
[ "$1" = 0 ] && [ -x /usr/sbin/grubby ] || exit 0
grubby --update-kernel=ALL --remove-args="{_ARGUMENTS}" > /dev/null || :
"""
NOUVEAU: Final = "blacklist nouveau\noptions nouveau modeset=0\n"
NO_INITRAMFS: Final = 'omit_drivers+=" nvidia nvidia-modeset nvidia-uvm nvidia-drm "\n'
DKMS_CONF: Final = """\
PACKAGE_NAME="nvidia"
PACKAGE_VERSION="{version}"
AUTOINSTALL="yes"
MAKE[0]="make KERNEL_UNAME=${{kernelver}} modules"
CLEAN="make KERNEL_UNAME=${{kernelver}} clean"
"""
# As NVIDIA's own packages have it: dnf ends well whatever dkms says.
BUILD: Final = """\
dkms add -m nvidia -v {version} -q || :
dkms build -m nvidia -v {version} -q || :
dkms install -m nvidia -v {version} -q --force || :
"""
FORGET: Final = "dkms remove -m nvidia -v {version} -q --all || :\n"
RELOAD: Final = "[ ! -d /run/systemd/system ] || systemctl daemon-reload || :\n"


def payloads(version: Driver, work: Path) -> dict[str, dict[str, Entry]]:
    """Compile one version's files below `work`; return them by the Debian package that has them."""
    debs = (*driver.packages(version, work), *fabric.packages(version, work))
    suffix = f"-{version.branch}"
    return {deb.name.removesuffix(suffix): dict(deb.files) for deb in debs if deb.files}


def packages(version: Driver, el: int, payload: Mapping[str, Mapping[str, Entry]]) -> list[Rpm]:
    """Describe every package of one driver version for Enterprise Linux `el`."""
    described = _Closure(version, el, payload)
    flavours = FLAVOURS if version.branch <= PROPRIETARY_UNTIL else FLAVOURS[:1]
    return [
        *described.libraries(),
        *described.programs(),
        described.common(),
        *(described.modules(flavour) for flavour in flavours),
        *(described.meta(flavour) for flavour in flavours),
        *described.add_ons(),
    ]


def policy(el: int) -> Rpm:
    """Describe the package with SELinux's rules for the driver, without the rules."""
    name, version, release = SELINUX
    return Rpm(
        name=name,
        version=version,
        release=f"{release}.el{el}",
        summary="SELinux policy module for the NVIDIA driver",
        architecture="noarch",
        relations={"requires": ("selinux-policy-targeted",)},
    )


class _Closure:
    """The packages of one version; relations between them name epoch and version."""

    def __init__(
        self, version: Driver, el: int, payload: Mapping[str, Mapping[str, Entry]]
    ) -> None:
        self.driver, self.el, self.payload = version, el, payload

    def exactly(self, *names: str) -> tuple[str, ...]:
        return tuple(f"{name} = {EPOCH}:{self.driver.version}" for name in names)

    def package(
        self,
        name: str,
        summary: str,
        requires: Iterable[str] = (),
        *,
        content: str = "",
    ) -> Rpm:
        files = {
            path.replace(driver.LIBRARIES, LIBRARIES): entry
            for deb in PAYLOAD.get(content or name, ())
            for path, entry in self.payload.get(deb, {}).items()
        }
        scripts: dict[Scriptlet, str] = {}
        if _has(files, ".so."):
            scripts = {"posttrans": LDCONFIG}
        if _has(files, ".service"):
            scripts = {"post": RELOAD, "postun": RELOAD}
        return Rpm(
            name=name,
            version=self.driver.version,
            release=f"1.el{self.el}",
            summary=summary,
            epoch=EPOCH,
            architecture="noarch" if name in NOARCH else "x86_64",
            relations={"requires": tuple(requires)},
            files=files,
            directories=tuple(sorted(self._folders(files))),
            scripts=scripts,
        )

    def _folders(self, files: Iterable[str]) -> set[str]:
        """Return the folders that are of this version alone, and go with it."""
        every = {folder for path in files for folder in PurePosixPath(path).parents}
        return {str(folder) for folder in every if folder.name == self.driver.version}

    def libraries(self) -> list[Rpm]:
        shared: tuple[str, ...] = ("libnvidia-ml", "libnvidia-cfg", "libnvidia-gpucomp")
        display: tuple[str, ...] = (shared[0], shared[2])
        more: tuple[str, ...] = ()
        if self.driver.branch >= COMMON_SINCE:
            shared = display = ("nvidia-driver-common",)
            more = ("egl-wayland2",)
        needs = {
            "nvidia-driver-cuda-libs": self.exactly(*(f"{name}(x86-64)" for name in shared)),
            "nvidia-driver-libs": (*self.exactly(*(f"{name}(x86-64)" for name in display)), *more),
        }
        names = (*shared, "libnvidia-fbc", *needs)
        found = [self.package(name, f"{name} libraries", needs.get(name, ())) for name in names]
        if self.driver.branch >= COMMON_SINCE:
            found[0] = _replacing(found[0], "libnvidia-ml", "libnvidia-cfg", "libnvidia-gpucomp")
        return found

    def programs(self) -> list[Rpm]:
        needs = {
            "nvidia-driver": self.exactly("nvidia-driver-libs(x86-64)", "nvidia-kmod-common"),
            "nvidia-driver-cuda": self.exactly(
                "nvidia-driver-cuda-libs(x86-64)", "nvidia-kmod-common", "nvidia-persistenced"
            ),
            "nvidia-settings": self.exactly("nvidia-libXNVCtrl"),
        }
        plain = ["nvidia-persistenced", "nvidia-modprobe", "nvidia-libXNVCtrl"]
        if self.driver.branch < COMMON_SINCE:
            needs["xorg-x11-nvidia"] = self.exactly("nvidia-driver(x86-64)")
            plain.append("nvidia-xconfig")
        found = [
            self.package(name, f"NVIDIA's {name}", needs.get(name, ())) for name in (*needs, *plain)
        ]
        if self.driver.branch >= COMMON_SINCE:
            found[0] = _replacing(found[0], "xorg-x11-nvidia", "nvidia-xconfig")
        return found

    def common(self) -> Rpm:
        found = self.package(
            "nvidia-kmod-common",
            "Common file for NVIDIA's proprietary driver kernel modules",
            # Without a version: an older driver leaves a newer one of these in place.
            ("nvidia-modprobe", *self.exactly("nvidia-kmod"), *self._policy()),
        )
        recommends = self.exactly(KMOD["open"]) if self.el >= STREAMLESS_SINCE else ()
        return replace(
            found,
            relations={**found.relations, "recommends": recommends},
            scripts={"post": BOOT, "preun": NO_BOOT},
            files={
                **found.files,
                "usr/lib/modprobe.d/nvidia.conf": Entry(text=NOUVEAU),
                "usr/lib/dracut/dracut.conf.d/99-nvidia.conf": Entry(text=NO_INITRAMFS),
            },
        )

    def _policy(self) -> tuple[str, ...]:
        since = self.driver.branch >= COMMON_SINCE
        return (f"({SELINUX[0]} if selinux-policy-targeted)",) if since else ()

    def modules(self, flavour: Flavour) -> Rpm:
        version, home = self.driver.version, f"usr/src/nvidia-{self.driver.version}"
        other = KMOD["proprietary" if flavour == "open" else "open"]
        found = self.package(
            KMOD[flavour],
            f"NVIDIA kernel modules, {flavour}, built by DKMS",
            (*self.exactly("nvidia-kmod-common"), "dkms"),
        )
        return replace(
            found,
            relations={
                **found.relations,
                "provides": self.exactly("nvidia-kmod"),
                "conflicts": (other,),
            },
            directories=(home,),
            files=_sources(version, flavour, home),
            scripts={
                "post": BUILD.format(version=version),
                "preun": FORGET.format(version=version),
            },
        )

    def meta(self, flavour: Flavour) -> Rpm:
        parts = ["nvidia-driver", "nvidia-driver-cuda", KMOD[flavour], "nvidia-settings"]
        if self.driver.branch < COMMON_SINCE:
            parts += ["nvidia-xconfig", "xorg-x11-nvidia"]
        found = self.package(
            META[flavour], f"NVIDIA driver meta-package, {flavour}", self.exactly(*parts)
        )
        other = META["proprietary" if flavour == "open" else "open"]
        if self.driver.branch > PROPRIETARY_UNTIL:
            # The one that is left is found by the other's name too.
            return replace(found, relations={**found.relations, "provides": self.exactly(other)})
        return replace(found, relations={**found.relations, "conflicts": (other,)})

    def add_ons(self) -> list[Rpm]:
        """Describe what is of the driver's version and bound to it by nothing else."""
        suffixed = self.driver.branch < fabric.FABRIC_UNSUFFIXED_SINCE
        together = self.driver.branch >= SAME_EPOCH_SINCE
        found = []
        for name in ADD_ONS:
            called = name
            if suffixed:
                called = f"{name}-{self.driver.branch}"
                if name == "nvidia-fabricmanager":
                    called = "nvidia-fabric-manager"
            part = self.package(called, f"NVIDIA's {name}", content=name)
            if not together or name == "nvlink5":
                part = replace(part, epoch=0, release="1")
            found.append(part)
        return found


def _replacing(package: Rpm, *names: str) -> Rpm:
    """Return `package` so that it takes the place of older ones."""
    gone = tuple(f"{name} < {EPOCH}:{COMMON_SINCE}" for name in names)
    return replace(package, relations={**package.relations, "obsoletes": gone})


def _has(files: Mapping[str, Entry], part: str) -> bool:
    return any(part in path for path in files)


def _sources(version: str, flavour: Flavour, home: str) -> dict[str, Entry]:
    """Return C sources, one a module, that any kernel tree compiles."""
    code = (compiled.SOURCES / "kmod.c").read_text()
    makefile = (compiled.SOURCES / "kmod.mk").read_text()
    for mark, value in (
        ("@VERSION@", version),
        ("@LICENSE@", driver.LICENSE[flavour]),
        ("@MODULES@", " ".join(MODULES)),
    ):
        makefile = makefile.replace(mark, value)
    conf = DKMS_CONF.format(version=version) + "".join(
        f'BUILT_MODULE_NAME[{number}]="{name}"\nDEST_MODULE_LOCATION[{number}]="/extra"\n'
        for number, name in enumerate(MODULES)
    )
    return {
        f"{home}/dkms.conf": Entry(text=conf),
        f"{home}/Makefile": Entry(text=makefile),
        **{f"{home}/{name}.c": Entry(text=code) for name in MODULES},
    }


# --- module streams -------------------------------------------------------------------------------


def streams(described: Iterable[Rpm]) -> str:
    """Return the text of modules.yaml: a stream per branch and flavour, and the moving ones.

    The packages of the newest version in a stream are what dnf takes; all of the branch are in it.
    """
    by_branch: dict[int, list[Rpm]] = {}
    for package in described:
        by_branch.setdefault(int(package.version.partition(".")[0]), []).append(package)
    wanted: dict[str, tuple[int, Flavour]] = {}
    for branch in sorted(by_branch):
        wanted[f"{branch}-open"] = wanted["open-dkms"] = branch, "open"
        if branch <= PROPRIETARY_UNTIL:
            wanted[f"{branch}-dkms"] = wanted["latest-dkms"] = branch, "proprietary"
    documents: list[object] = [
        _stream(name, flavour, by_branch[branch]) for name, (branch, flavour) in wanted.items()
    ]
    documents.append(
        {
            "document": "modulemd-defaults",
            "version": 1,
            "data": {
                "module": MODULE,
                "stream": DEFAULT_STREAM,
                "profiles": {name: ["default"] for name in wanted},
            },
        }
    )
    return yaml.safe_dump_all(
        documents, explicit_start=True, explicit_end=True, sort_keys=False, width=1000
    )


def _stream(name: str, flavour: Flavour, of_branch: Iterable[Rpm]) -> dict[str, object]:
    other = "proprietary" if flavour == "open" else "open"
    inside = [
        package
        for package in of_branch
        if package.name not in {KMOD[other], META[other]}
        and not any(package.name.startswith(stem) for stem in IN_NO_STREAM)
    ]
    names = sorted({package.name for package in inside})
    fabric_names = [name for name in names if "fabric" in name]
    plain = [name for name in names if name not in fabric_names]
    # Lists of their own: libmodulemd reads no aliases, which YAML writes for a list met twice.
    profiles = {"default": [*plain], "fm": [*plain, *fabric_names], "ks": [*plain]}
    return {
        "document": "modulemd",
        "version": 2,
        "data": {
            "name": MODULE,
            "stream": name,
            "version": 20261101000000,
            "context": hashlib.sha256(name.encode()).hexdigest()[:8],
            "arch": "x86_64",
            "summary": f"Nvidia driver for {name} branch",
            "description": "Substitute for tests",
            "license": {"module": ["MIT"]},
            "artifacts": {"rpms": [package.nevra for package in inside]},
            "profiles": {key: {"rpms": value} for key, value in profiles.items()},
        },
    }
