"""Kernel packages: names, relations and files that are looked for; nothing boots or compiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.nvrepo import compiled
from sandbox.nvrepo.deb import Deb, Entry
from sandbox.ubuntu import headers

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.ubuntu.systems import Kernel

_EXTRA = ("infiniband/core/ib_umad", "infiniband/hw/mlx5/mlx5_ib")
"""Modules that cloud kernels keep apart."""
_REBOOT = (
    'if [ "$1" = configure ]; then\n'
    "    echo '*** System restart required ***' > /run/reboot-required\n"
    "    echo {name} >> /run/reboot-required.pkgs\n"
    "fi\n"
)


def installed(kernel: Kernel, work: Path) -> list[Deb]:
    """Describe what an instance has from the start, the metas of its flavour among it."""
    return [_image(kernel), _modules(kernel, work), *_headers(kernel), *_metas(kernel)]


def all_packages(kernel: Kernel, work: Path) -> list[Deb]:
    """Describe every package of a kernel, compiling its modules' files below `work`."""
    return [*installed(kernel, work), _extra(kernel, work)]


def _module(name: str, kernel: Kernel, work: Path) -> Entry:
    """Return what stands for a module of the kernel itself: metadata without code."""
    macros = {"NAME": name, "DEPENDS": "", "VERSION": kernel.base, "LICENSE": "GPL"}
    target = work / f"kernel-{kernel.uname}" / f"{name}.ko"
    return Entry(source=compiled.relocatable("module.c", target, macros))


def _deb(kernel: Kernel, name: str, **rest: object) -> Deb:
    return Deb(
        name=name,
        version=kernel.version,
        description=f"Linux kernel {kernel.uname}",
        section="kernel",
        **rest,  # type: ignore[arg-type]
    )


def _image(kernel: Kernel) -> Deb:
    k = kernel.uname
    return _deb(
        kernel,
        f"linux-image-{k}",
        relations={"Depends": (f"linux-modules-{k}", "kmod")},
        files={
            f"boot/vmlinuz-{k}": Entry(text=f"stand-in for the kernel {k}\n", mode=0o600),
        },
        scripts={"postinst": _REBOOT.format(name=f"linux-image-{k}")},
    )


def _modules(kernel: Kernel, work: Path) -> Deb:
    k = kernel.uname
    home = f"usr/lib/modules/{k}"
    empty = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
    return _deb(
        kernel,
        f"linux-modules-{k}",
        relations={"Depends": (f"linux-image-{k} | linux-image-unsigned-{k}",)},
        files={
            f"boot/config-{k}": Entry(text=f'CONFIG_CC_VERSION_TEXT="{kernel.compiler}"\n'),
            **{f"{home}/{name}": Entry(text="") for name in empty},
            f"{home}/kernel/drivers/net/tun.ko": _module("tun", kernel, work),
        },
        scripts={"postinst": f'if [ "$1" = configure ]; then depmod {k} || :; fi\n'},
    )


def _extra(kernel: Kernel, work: Path) -> Deb:
    k = kernel.uname
    home = f"usr/lib/modules/{k}/kernel/drivers"
    return _deb(
        kernel,
        f"linux-modules-extra-{k}",
        relations={"Depends": (f"linux-image-{k} | linux-image-unsigned-{k}",)},
        files={
            f"{home}/{path}.ko": _module(path.rpartition("/")[2], kernel, work) for path in _EXTRA
        },
        scripts={"postinst": f'if [ "$1" = configure ]; then depmod {k} || :; fi\n'},
    )


def _headers(kernel: Kernel) -> list[Deb]:
    """Describe what all configurations share and what is of one, which leads to the former."""
    k = kernel.uname
    home = f"usr/src/linux-headers-{k}"
    common = f"linux-{kernel.flavour}-headers-{kernel.base}-{kernel.abi}"
    hook = (
        'if [ "$1" = configure ] && [ -d /etc/kernel/header_postinst.d ]; then\n'
        f"    run-parts --arg={k} /etc/kernel/header_postinst.d\n"
        "fi\n"
    )
    return [
        _deb(
            kernel,
            common,
            files={
                f"usr/src/{common}/Kconfig": Entry(text=""),
                **{
                    f"usr/src/{common}/include/{path}": Entry(text=text)
                    for path, text in headers.common(kernel).items()
                },
            },
        ),
        _deb(
            kernel,
            f"linux-headers-{k}",
            relations={"Depends": (common,)},
            files={
                f"{home}/Makefile": Entry(text=f"KERNELRELEASE = {k}\n"),
                f"{home}/.config": Entry(
                    text=f'CONFIG_MODULES=y\nCONFIG_CC_VERSION_TEXT="{kernel.compiler}"\n'
                ),
                f"{home}/include/config/kernel.release": Entry(text=f"{k}\n"),
                f"{home}/include/generated/utsrelease.h": Entry(
                    text=f'#define UTS_RELEASE "{k}"\n'
                ),
                f"{home}/include/generated/uapi/linux/version.h": Entry(
                    text=headers.number(kernel)
                ),
                **{
                    f"{home}/include/{folder}": Entry(link=f"../../{common}/include/{folder}")
                    for folder in ("drm", "linux")
                },
                f"usr/lib/modules/{k}/build": Entry(link=f"/{home}"),
            },
            scripts={"postinst": hook},
        ),
    ]


def _metas(kernel: Kernel) -> list[Deb]:
    """Describe the packages through which the newest kernel of a flavour comes."""
    flavour, k = kernel.flavour, kernel.uname
    exactly = f"(= {kernel.meta_version})"
    needs = {
        f"linux-image-{flavour}": (f"linux-image-{k}",),
        f"linux-headers-{flavour}": (f"linux-headers-{k}",),
        f"linux-{flavour}": (
            f"linux-image-{flavour} {exactly}",
            f"linux-headers-{flavour} {exactly}",
        ),
    }
    return [
        Deb(
            name=name,
            version=kernel.meta_version,
            description=f"Newest {flavour} kernel",
            section="kernel",
            relations={"Depends": depends},
        )
        for name, depends in needs.items()
    ]
