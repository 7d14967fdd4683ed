"""Kernel packages: boot entries and stand-in images, and trees in which modules really compile.

The trees are Debian's headers under a release of Enterprise Linux.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Final

from sandbox.el import debs
from sandbox.nvrepo.deb import Entry
from sandbox.nvrepo.rpm import Rpm

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sandbox.el.systems import Kernel

SPLIT_SINCE: Final = 9
"""From this major version on a part of the modules has a package of its own."""
COMMON: Final = ".common"
"""Where in a tree what several of Debian's kernels share lies."""
_SYSTEM_LACKS: Final = "INIT_STACK_ALL_ZERO"
"""What only the compiler of Debian's kernel knows, so that an older one refuses it."""


def small(kernel: Kernel, major: int) -> list[Rpm]:
    """Describe what boots and what loads: all packages of a kernel but those for compiling."""
    parts = ["core", "modules", *(["modules-core"] if major >= SPLIT_SINCE else [])]
    names = [f"{kernel.stem}-{part}" for part in parts]
    return [
        _core(kernel, (f"{kernel.stem}-modules-core",) if major >= SPLIT_SINCE else ()),
        *(_package(kernel, name, (f"{kernel.stem}-core",)) for name in names[1:]),
        _package(kernel, kernel.stem, names),
    ]


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


def _core(kernel: Kernel, needs: Iterable[str]) -> Rpm:
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
        },
        directories=(home,),
        scripts={
            "posttrans": f"kernel-install add {uname} /lib/modules/{uname}/vmlinuz || :\n",
            "preun": remove,
        },
    )


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
    return {path: Entry(text=text) for path, text in texts.items()}


def _replaced(text: str, pattern: str, by: str) -> str:
    return re.sub(pattern, lambda _: by, text, flags=re.MULTILINE)
