"""NVIDIA's driver packages for Debian: the closure of one version, its metas and its pins.

Names: holds and `dpkg -l` lists of hosts with NVIDIA's Debian repository (570.158.01, 580.105.08,
595.58.03), seen in public code. From branch 590 on no name carries the branch. Every package of a
driver needs its siblings at exactly its own version.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sandbox.nvrepo import compiled
from sandbox.nvrepo.deb import Deb, Entry, script

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = "usr/lib/x86_64-linux-gnu"
UNSUFFIXED_SINCE = 590
"""From this branch on package names lost their branch."""

Flavour = Literal["open", "proprietary"]
FLAVOURS: tuple[Flavour, ...] = ("open", "proprietary")
VERMAGIC_MARK = b"vermagic=@VERMAGIC@"

DKMS = {"open": "nvidia-kernel-open-dkms", "proprietary": "nvidia-kernel-dkms"}
LICENSE = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}
MODULES = {
    "nvidia": "",
    "nvidia-modeset": "nvidia",
    "nvidia-uvm": "nvidia",
    "nvidia-drm": "nvidia-modeset",
}
"""Kernel modules and what they depend on."""

COMPUTE = (
    *("libcuda1", "libnvidia-ml1", "libnvidia-ptxjitcompiler1", "libnvidia-nvvm4"),
    *("nvidia-opencl-icd", "nvidia-persistenced", "nvidia-modprobe"),
)
"""What nvidia-driver-cuda needs."""
DISPLAY = ("nvidia-driver-libs", "libnvidia-cfg1")
"""What nvidia-driver needs; the real one also pulls in the X server, which is left out here."""

OWN_SOURCE = frozenset({"nvidia-persistenced", "nvidia-modprobe", "nvidia-settings"})
PLAIN_LIBRARIES = {
    "libnvidia-ptxjitcompiler1": "libnvidia-ptxjitcompiler.so.1",
    "libnvidia-nvvm4": "libnvidia-nvvm.so.4",
    "libnvidia-cfg1": "libnvidia-cfg.so.1",
    "libnvidia-gpucomp": "libnvidia-gpucomp.so.1",
    "libnvidia-glcore": "libnvidia-glcore.so.1",
    "libnvidia-eglcore": "libnvidia-eglcore.so.1",
    "nvidia-opencl-icd": "libnvidia-opencl.so.1",
    "libxnvctrl0": "libXNVCtrl.so.0",
}

UNIT = """\
[Unit]
Description={description}
{after}
[Service]
Type=simple
ExecStart={command}

[Install]
WantedBy=multi-user.target
"""

START_UNIT = """\
if [ "$1" = configure ]; then
    deb-systemd-helper unmask {unit} > /dev/null || true
    if deb-systemd-helper --quiet was-enabled {unit}; then
        deb-systemd-helper enable {unit} > /dev/null || true
    else
        deb-systemd-helper update-state {unit} > /dev/null || true
    fi
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload > /dev/null || true
        deb-systemd-invoke restart {unit} > /dev/null || true
    fi
fi
"""
STOP_UNIT = """\
if [ -d /run/systemd/system ] && [ "$1" = remove ]; then
    deb-systemd-invoke stop {unit} > /dev/null || true
fi
"""
PURGE_UNIT = """\
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload > /dev/null || true
fi
if [ "$1" = purge ]; then
    deb-systemd-helper purge {unit} > /dev/null || true
fi
"""


_FOUR_ARGUMENTS = (580, 126, 9)
"""First open modules that call pci_resize_resource() as kernels since July 2026 have it."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver version and the CUDA version its libcuda speaks (major * 1000 + minor * 10)."""

    version: str
    cuda: int

    @property
    def branch(self) -> int:
        """The release branch, as in 580."""
        return int(self.version.partition(".")[0])

    @property
    def package_version(self) -> str:
        """The version of the Debian packages."""
        return f"{self.version}-1"

    @property
    def suffixed(self) -> bool:
        """Whether package names of this branch carry the branch."""
        return self.branch < UNSUFFIXED_SINCE

    def exactly(self, *names: str) -> tuple[str, ...]:
        """Relations that bind `names` to this version."""
        return tuple(f"{name} (= {self.package_version})" for name in names)

    def package(
        self, name: str, description: str, *depends: str, files: dict[str, Entry] | None = None
    ) -> Deb:
        """Describe a package of the driver's own version."""
        return Deb(
            name=name,
            version=self.package_version,
            description=description,
            source=None if name in OWN_SOURCE else "nvidia-graphics-drivers",
            relations={"Depends": depends},
            files=files or {},
        )


def unit_scripts(unit: str) -> dict[str, str]:
    """Maintainer scripts that enable and start a service, as Debian's helpers do."""
    return {
        "postinst": START_UNIT.format(unit=unit),
        "prerm": STOP_UNIT.format(unit=unit),
        "postrm": PURGE_UNIT.format(unit=unit),
    }


def shared_library(soname: str, version: str, built: Path) -> dict[str, Entry]:
    """Files of a library: `libx.so.VERSION` and the link named by its soname."""
    real = f"{soname.partition('.so.')[0]}.so.{version}"
    return {f"{LIBRARIES}/{real}": Entry(source=built), f"{LIBRARIES}/{soname}": Entry(link=real)}


def packages(driver: Driver, work: Path) -> list[Deb]:
    """Describe every package of one driver version, compiling its files below `work`."""
    return [
        *_libraries(driver, work),
        *_programs(driver, work),
        *(_kernel_modules(driver, flavour, work) for flavour in FLAVOURS),
        *_collections(driver),
        *(meta for flavour in FLAVOURS for meta in _metas(driver, flavour)),
        full_pin(driver),
    ]


def _libraries(driver: Driver, work: Path) -> list[Deb]:
    v, macros = driver.version, {"VERSION": driver.version}
    cuda = compiled.library(
        "libcuda.c",
        work / f"libcuda.so.{v}",
        soname="libcuda.so.1",
        macros={"CUDA_VERSION": driver.cuda},
    )
    nvml = compiled.library(
        "libnvml.c", work / f"libnvidia-ml.so.{v}", soname="libnvidia-ml.so.1", macros=macros
    )
    built = {
        "libcuda1": ("libcuda.so.1", cuda),
        "libnvidia-ml1": ("libnvidia-ml.so.1", nvml),
    }
    for name, soname in PLAIN_LIBRARIES.items():
        target = work / f"{name}-{v}"
        text = {**macros, "SONAME": soname}
        built[name] = (
            soname,
            compiled.library("plain_library.c", target, soname=soname, macros=text),
        )
    depends = {
        "libcuda1": driver.exactly("libnvidia-ptxjitcompiler1", "libnvidia-nvvm4"),
        "libnvidia-nvvm4": driver.exactly("libnvidia-gpucomp"),
        "nvidia-opencl-icd": driver.exactly("libnvidia-nvvm4"),
    }
    return [
        replace(
            driver.package(
                name,
                f"NVIDIA driver library {soname}",
                *("libc6 (>= 2.34)", *depends.get(name, ())),
                files=shared_library(soname, v, path),
            ),
            triggers=("activate-noawait ldconfig",),
        )
        for name, (soname, path) in built.items()
    ]


def _programs(driver: Driver, work: Path) -> list[Deb]:
    v = driver.version
    smi = compiled.program("nvidia_smi.c", work / f"nvidia-smi-{v}", {"VERSION": v})
    modprobe = compiled.program(
        "needs_module.c", work / f"nvidia-modprobe-{v}", {"NAME": "nvidia-modprobe", "VERSION": v}
    )
    settings = compiled.program(
        "needs_module.c", work / f"nvidia-settings-{v}", {"NAME": "nvidia-settings", "VERSION": v}
    )
    daemon = compiled.program(
        "daemon.c",
        work / f"nvidia-persistenced-{v}",
        {"GREETING": "nvidia-persistenced:  version ", "VERSION": v},
    )
    persistenced = driver.package(
        "nvidia-persistenced",
        "daemon to maintain persistent software state in the NVIDIA driver",
        "libc6 (>= 2.34)",
        "init-system-helpers",
        files={
            "usr/bin/nvidia-persistenced": Entry(source=daemon, mode=0o755),
            "usr/lib/systemd/system/nvidia-persistenced.service": Entry(
                text=UNIT.format(
                    description="NVIDIA Persistence Daemon",
                    after="",
                    command="/usr/bin/nvidia-persistenced --verbose",
                )
            ),
        },
    )
    return [
        driver.package(
            "nvidia-driver-cuda",
            "NVIDIA driver CUDA integration components",
            *driver.exactly(*COMPUTE),
            files={"usr/bin/nvidia-smi": Entry(source=smi, mode=0o755)},
        ),
        replace(persistenced, scripts=unit_scripts("nvidia-persistenced.service")),
        driver.package(
            "nvidia-modprobe",
            "utility to load NVIDIA kernel modules and create device nodes",
            files={"usr/bin/nvidia-modprobe": Entry(source=modprobe, mode=0o4755)},
        ),
        driver.package(
            "nvidia-settings",
            "Tool for configuring the NVIDIA graphics driver",
            *driver.exactly("libxnvctrl0"),
            files={"usr/bin/nvidia-settings": Entry(source=settings, mode=0o755)},
        ),
    ]


def _kernel_modules(driver: Driver, flavour: Flavour, work: Path) -> Deb:
    v, other = driver.version, DKMS["proprietary" if flavour == "open" else "open"]
    home = f"usr/src/nvidia-{v}"
    objects = {
        name: compiled.relocatable(
            "module.c",
            work / f"{flavour}-{v}" / f"{name}.ko",
            {"NAME": name, "DEPENDS": depends, "VERSION": v, "LICENSE": LICENSE[flavour]},
        )
        for name, depends in MODULES.items()
    }
    offsets = " ".join(f"{name}:{vermagic_offset(path)}" for name, path in objects.items())
    builder = (compiled.SOURCES / "dkms-substitute.sh").read_text()
    three = "true" if flavour == "open" and _numbers(v) < _FOUR_ARGUMENTS else "false"
    words = {"@VERSION@": v, "@MODULES@": offsets, "@THREE@": three}
    for mark, value in words.items():
        builder = builder.replace(mark, value)
    dkms_conf = f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{v}"\nAUTOINSTALL="yes"\n' + "".join(
        f'BUILT_MODULE_NAME[{number}]="{name}"\n' for number, name in enumerate(MODULES)
    )
    run = f"/{home}/dkms-substitute"
    return Deb(
        name=DKMS[flavour],
        version=driver.package_version,
        description=f"NVIDIA kernel module DKMS source, {flavour} flavour",
        source="nvidia-graphics-drivers",
        relations={
            "Depends": (
                "kmod",
                "dkms",
                *driver.exactly("firmware-nvidia-gsp", "nvidia-kernel-support"),
            ),
            "Provides": (f"nvidia-kernel-{v}",),
            "Conflicts": (other,),
            "Replaces": (other,),
        },
        files={
            f"{home}/dkms.conf": Entry(text=dkms_conf),
            f"{home}/dkms-substitute": script(builder),
            "etc/kernel/header_postinst.d/nvidia-dkms-substitute": Entry(
                source=compiled.SOURCES / "header-hook.sh", mode=0o755
            ),
            **{f"{home}/{name}.ko": Entry(source=path) for name, path in objects.items()},
        },
        scripts={
            "postinst": f'if [ "$1" = configure ]; then {run} autoinstall; fi\n',
            "prerm": f"{run} remove\n",
        },
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def dkms() -> Deb:
    """Describe what stands for Debian's dkms, which would bring a compiler for nothing."""
    return Deb(
        name="dkms",
        version="3.0.10~substitute-1",
        description="Dynamic Kernel Module Support Framework",
        architecture="all",
        files={"usr/sbin/dkms": Entry(source=compiled.SOURCES / "dkms.sh", mode=0o755)},
    )


def vermagic_offset(module: Path) -> int:
    """Find where the text of the vermagic begins in a compiled module."""
    content = module.read_bytes()
    if content.count(VERMAGIC_MARK) != 1:
        raise ValueError(f"{module}: expected the vermagic's mark exactly once")
    return content.index(VERMAGIC_MARK) + len(b"vermagic=")


def _collections(driver: Driver) -> list[Deb]:
    firmware = f"usr/lib/firmware/nvidia/{driver.version}"
    return [
        driver.package(
            "nvidia-kernel-support",
            "NVIDIA binary kernel module support files",
            *driver.exactly("nvidia-modprobe"),
        ),
        driver.package(
            "firmware-nvidia-gsp",
            "NVIDIA GSP firmware",
            files={
                f"{firmware}/gsp_{chips}.bin": Entry(text=f"substitute {driver.version}\n")
                for chips in ("tu10x", "ga10x")
            },
        ),
        driver.package(
            "nvidia-driver-libs",
            "NVIDIA metapackage (OpenGL/GLX/EGL/GLES libraries)",
            *driver.exactly("libnvidia-glcore", "libnvidia-eglcore", "libnvidia-gpucomp"),
        ),
        driver.package(
            "nvidia-driver",
            "NVIDIA metapackage",
            *driver.exactly(*DISPLAY, "nvidia-kernel-support"),
        ),
    ]


def _metas(driver: Driver, flavour: Flavour) -> list[Deb]:
    """Describe the names people install: with full version, with branch (before 590), bare."""
    plain = {"open": "nvidia-open", "proprietary": "cuda-drivers"}[flavour]
    closure = ("nvidia-driver", "nvidia-driver-cuda", DKMS[flavour], "nvidia-settings")
    names = [f"{plain}-{driver.version}", plain]
    if driver.suffixed:
        names.insert(1, f"{plain}-{driver.branch}")
    needs: tuple[str, ...] = closure
    metas = []
    for name in names:
        meta = driver.package(
            name, f"NVIDIA Driver meta-package, {flavour} kernel modules", *driver.exactly(*needs)
        )
        metas.append(replace(meta, source=plain))
        needs = (name,)
    return metas


def pin(scope: str, version: str, pattern: str) -> Deb:
    """Describe the package that locks apt onto a branch or a full version, named by `scope`."""
    name = f"nvidia-driver-pinning-{scope}"
    preferences = (
        "Package: src:*nvidia*:any src:cuda-drivers:any src:cuda-compat:any\n"
        f"Pin: version {pattern}\n"
        "Pin-Priority: 1000\n"
    )
    return Deb(
        name=name,
        version=version,
        description=f"Locks the NVIDIA driver packages onto {scope}",
        architecture="all",
        relations={
            "Provides": ("nvidia-driver-pinning",),
            "Conflicts": ("nvidia-driver-pinning",),
            "Replaces": ("nvidia-driver-pinning",),
        },
        # apt reads no file whose name has another extension, which a full version looks like.
        files={
            f"etc/apt/preferences.d/{name}{'.pref' if '.' in name else ''}": Entry(text=preferences)
        },
    )


def full_pin(driver: Driver) -> Deb:
    """Describe the pin of one full version."""
    return pin(driver.version, driver.package_version, f"{driver.version}-*")


def branch_pin(branch: int) -> Deb:
    """Describe the pin of a branch."""
    return pin(str(branch), f"{branch}-1", f"{branch}.*")
