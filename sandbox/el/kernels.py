"""Kernel packages: boot entries and stand-in images, and trees in which modules really compile.

The trees are Debian's headers under a release of Enterprise Linux.
"""

from __future__ import annotations

import lzma
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sandbox.el import debs
from sandbox.nvrepo import compiled, driver
from sandbox.nvrepo.deb import Entry
from sandbox.nvrepo.rpm import Rpm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sandbox.el.systems import Kernel

SPLIT_SINCE: Final = 9
"""From this major version on a part of the modules has a package of its own."""
UEK8_PARTS: Final = (*("extra", "desktop", "usb", "wireless", "deprecated", "extra-netfilter"),)
"""What UEK 8 has in packages that nothing pulls in."""
MODULES: Final = {
    "drm": ("gpu/drm", "modules-core"),
    "drm_kms_helper": ("gpu/drm", "modules-core"),
    "drm_ttm_helper": ("gpu/drm", "modules-core"),
    "drm_client_lib": ("gpu/drm/clients", "modules-core"),
    "ttm": ("gpu/drm/ttm", "modules-core"),
    "i2c-algo-bit": ("i2c/algos", "modules-core"),
    "ib_core": ("infiniband/core", "modules-core"),
    "ib_umad": ("infiniband/core", "modules-core"),
    "ib_uverbs": ("infiniband/core", "modules-core"),
    "mlx5_core": ("net/ethernet/mellanox/mlx5/core", "modules-core"),
    "mlx5_ib": ("infiniband/hw/mlx5", "modules-core"),
    "video": ("acpi", "modules"),
    "bluetooth": ("bluetooth", "modules-extra"),
    "nouveau": ("gpu/drm/nouveau", "modules-desktop"),
    "usb-serial": ("usb/serial", "modules-usb"),
    "iwlwifi": ("net/wireless/intel/iwlwifi", "modules-wireless"),
}
"""Modules that there are files of: their folder below kernel/drivers and the package in UEK 8."""
COMMON: Final = ".common"
"""Where in a tree what several of Debian's kernels share lies."""
_ROOM: Final = 160
"""Of the vermagic in a module without code."""
_SYSTEM_LACKS: Final = "INIT_STACK_ALL_ZERO"
"""What only the compiler of Debian's kernel knows, so that an older one refuses it."""


def small(
    kernel: Kernel, major: int, modules: Mapping[str, Mapping[str, Entry]] | None = None
) -> list[Rpm]:
    """Describe what boots and what loads: all packages of a kernel but those for compiling.

    `modules` are the files of `compiled_modules`.
    """
    parts = ["core", "modules", *(["modules-core"] if major >= SPLIT_SINCE else [])]
    if kernel.split:
        parts += [f"modules-{part}" for part in UEK8_PARTS]
    names = [f"{kernel.stem}-{part}" for part in parts]
    files = _by_part(kernel, parts, modules or {})
    whole = [name for name in names if name.rpartition("modules-")[2] not in UEK8_PARTS]
    return [
        _core(
            kernel, (f"{kernel.stem}-modules-core",) if major >= SPLIT_SINCE else (), files["core"]
        ),
        *(
            replace(_package(kernel, name, (names[0],)), files=files[part])
            for part, name in zip(parts[1:], names[1:], strict=True)
        ),
        _package(kernel, kernel.stem, whole),
    ]


def installed(kernel: Kernel, major: int, modules: Mapping[str, Mapping[str, Entry]]) -> list[Rpm]:
    """Return the packages of a kernel that a fresh system has."""
    optional = {f"{kernel.stem}-modules-{part}" for part in UEK8_PARTS}
    return [one for one in small(kernel, major, modules) if one.name not in optional]


def _by_part(
    kernel: Kernel, parts: Iterable[str], modules: Mapping[str, Mapping[str, Entry]]
) -> dict[str, dict[str, Entry]]:
    """Return the module files of each package of a kernel, by the end of its name."""
    found: dict[str, dict[str, Entry]] = {part: {} for part in parts}
    for name, files in modules.items():
        part = MODULES[name][1]
        if not kernel.split:
            part = "modules-core" if "modules-core" in found else "modules"
        found[part] |= files
    return found


def compiled_modules(kernel: Kernel, work: Path) -> dict[str, dict[str, Entry]]:
    """Make the files of a kernel's modules below `work`: what modinfo tells, without code."""
    found = {}
    for name, (folder, _) in MODULES.items():
        macros = {"NAME": name.replace("-", "_"), "LICENSE": "GPL", "VERSION": "", "DEPENDS": ""}
        plain = work / "modules" / f"{name}.ko"
        if not plain.exists():
            compiled.relocatable("module.c", plain, macros)
        content = plain.read_bytes()
        start = content.index(driver.VERMAGIC_MARK)
        magic = f"vermagic={kernel.uname} SMP preempt mod_unload modversions ".encode()
        content = content[:start] + magic.ljust(_ROOM, b"\0") + content[start + _ROOM :]
        target = work / "modules" / kernel.uname / f"{name}.ko.xz"
        target.parent.mkdir(parents=True, exist_ok=True)
        # What the kernel's own decompressor reads.
        target.write_bytes(lzma.compress(content, check=lzma.CHECK_CRC32, preset=0))
        place = f"usr/lib/modules/{kernel.uname}/kernel/drivers/{folder}/{name}.ko.xz"
        found[name] = {place: Entry(source=target)}
    return found


def matched(kernel: Kernel) -> Rpm:
    """Describe the package that binds a kernel and its tree, which dkms wants beside a core."""
    return _package(kernel, f"{kernel.stem}-devel-matched", _names(kernel, "core", "devel"))


def devel(kernel: Kernel, tree: Path, *, compiler: str = "gcc", older_gcc: bool = False) -> Rpm:
    """Describe the package with the kernel's build tree, made of what `assemble` left in `tree`.

    `compiler` is the package it needs; with `older_gcc` that is older than what made Debian's
    kernel, and the tree one that it can use.
    """
    home = f"usr/src/kernels/{kernel.uname}"
    link = f"/lib/modules/{kernel.uname}/build"
    files = debs.tree(tree) | _renamed(tree, kernel, drop=_SYSTEM_LACKS if older_gcc else "")
    return Rpm(
        name=f"{kernel.stem}-devel",
        version=_version(kernel),
        release=_release(kernel),
        summary="Development package for building kernel modules to match the kernel",
        relations={
            "requires": (compiler, "make"),
            "provides": (f"{kernel.stem}-devel-uname-r = {kernel.uname}", "installonlypkg(kernel)"),
        },
        files={f"{home}/{path}": entry for path, entry in files.items()},
        directories=(home,),
        scripts={"post": f"[ -e {link} ] || {{ mkdir -p {link[:-6]}; ln -s /{home} {link}; }}\n"},
        large=True,
    )


def _core(kernel: Kernel, needs: Iterable[str], modules: Mapping[str, Entry]) -> Rpm:
    home, uname = f"usr/lib/modules/{kernel.uname}", kernel.uname
    empty = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
    remove = f'[ "$1" = 0 ] || exit 0\nkernel-install remove {uname}\n'
    found = _package(kernel, f"{kernel.stem}-core", needs)
    return Rpm(
        name=found.name,
        version=found.version,
        release=found.release,
        summary="The Linux kernel",
        relations={
            **found.relations,
            "provides": (
                f"{kernel.stem} = {kernel.release}",
                f"{kernel.stem}-uname-r = {uname}",
                "installonlypkg(kernel)",
            ),
        },
        files={
            f"boot/vmlinuz-{uname}": Entry(text=f"stand-in for the kernel {uname}\n", mode=0o755),
            f"boot/config-{uname}": Entry(text=_setting(kernel.compiler)),
            f"{home}/config": Entry(text=_setting(kernel.compiler)),
            f"{home}/build": Entry(link=f"/usr/src/kernels/{uname}"),
            **{f"{home}/{name}": Entry(text="") for name in empty},
            **({f"{home}/modules.packages": Entry(text=_where())} if kernel.split else {}),
            **modules,
        },
        directories=(home,),
        scripts={
            "posttrans": f"kernel-install add {uname} /lib/modules/{uname}/vmlinuz || :\n",
            "preun": remove,
        },
    )


def _where() -> str:
    """Return the list that says which package has a module; its form was not seen."""
    lines = (f"{name} kernel-uek-{part}" for name, (_, part) in sorted(MODULES.items()))
    return "\n".join(lines) + "\n"


def _names(kernel: Kernel, *parts: str) -> tuple[str, ...]:
    return tuple(f"{kernel.stem}-{part}" for part in parts)


def _package(kernel: Kernel, name: str, needs: Iterable[str]) -> Rpm:
    """Describe a package without files that is bound to others of this release."""
    return Rpm(
        name=name,
        version=_version(kernel),
        release=_release(kernel),
        summary=f"Part of the kernel {kernel.release}",
        relations={
            "requires": tuple(f"{need} = {kernel.release}" for need in needs),
            "provides": ("installonlypkg(kernel-module)",) if "modules" in name else (),
        },
    )


def _version(kernel: Kernel) -> str:
    return kernel.release.partition("-")[0]


def _release(kernel: Kernel) -> str:
    return kernel.release.partition("-")[2]


def _setting(compiler: str) -> str:
    return f'CONFIG_CC_VERSION_TEXT="{compiler}"\nCONFIG_MODULES=y\n'


def assemble(headers: Iterable[Path], work: Path) -> Path:
    """Make one build tree below `work` out of Debian's packages; return where it is."""
    debs.unpack(headers, work)
    return joined(work)


def joined(work: Path) -> Path:
    """Make one tree of the three that Debian's packages left below `work`; return where it is."""
    (tree,) = work.glob("usr/src/linux-headers-*-amd64")
    (common,) = work.glob("usr/src/linux-headers-*-common")
    (programs,) = work.glob("usr/lib/linux-kbuild-*")
    common = common.rename(tree / COMMON)
    for place in (tree, common):
        for name in ("scripts", "tools"):
            # Debian's are links to where the package of the programs lies.
            if (place / name).is_symlink():
                (place / name).unlink()
            if (programs / name).is_dir():
                shutil.copytree(programs / name, place / name, symlinks=True, dirs_exist_ok=True)
    (tree / ".kernelvariables").unlink(missing_ok=True)  # it names Debian's compiler
    return tree


def _renamed(tree: Path, kernel: Kernel, drop: str) -> dict[str, Entry]:
    """Return the files that say which kernel a tree is of and who compiled it, without `drop`."""
    uname, name = kernel.uname, "CONFIG_CC_VERSION_TEXT"
    makefile = (
        f"include /usr/src/kernels/{uname}/{COMMON}/Makefile\n"
        f"override ARCH = x86\noverride KERNELRELEASE = {uname}\n"
    )
    automatic = (tree / "include/config/auto.conf").read_text()
    quote = '"' if f'{name}="' in automatic else ""  # quoted up to 5.x, bare later
    edits = {
        ".config": (rf"^{name}=.*$", f'{name}="{kernel.compiler}"'),
        "include/config/auto.conf": (rf"^{name}=.*$", f"{name}={quote}{kernel.compiler}{quote}"),
        "include/generated/autoconf.h": (rf'{name} ".*"', f'{name} "{kernel.compiler}"'),
        "include/generated/utsrelease.h": (r'UTS_RELEASE ".*"', f'UTS_RELEASE "{uname}"'),
    }
    texts = {"Makefile": makefile, "include/config/kernel.release": f"{uname}\n"}
    for path, (pattern, text) in edits.items():
        texts[path] = _replaced((tree / path).read_text(), pattern, text)
        if drop:
            texts[path] = _replaced(texts[path], rf"^.*{drop}.*\n", "")
    # A tree without the kernel itself has nothing to take types from, and its family no pahole.
    types = r"^CONFIG_DEBUG_INFO_BTF_MODULES=.*\n"
    texts["include/config/auto.conf"] = _replaced(texts["include/config/auto.conf"], types, "")
    return {path: Entry(text=text) for path, text in texts.items()}


def _replaced(text: str, pattern: str, by: str) -> str:
    return re.sub(pattern, lambda _: by, text, flags=re.MULTILINE)
