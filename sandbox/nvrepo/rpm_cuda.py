"""NVIDIA's CUDA and cuDNN packages for Enterprise Linux, from the descriptions for Debian.

They differ in names (`-devel` for `-dev`), in where libraries and headers lie, and in relations to
the distribution. One package serves Enterprise Linux 8, 9 and 10: its release names no system.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sandbox.nvrepo.rpm import LDCONFIG, Rpm, Scriptlet

if TYPE_CHECKING:
    from sandbox.nvrepo.deb import Deb

PLACES: Final = {
    "usr/lib/x86_64-linux-gnu": "usr/lib64",
    "usr/include/x86_64-linux-gnu": "usr/include",
}
NAMES: Final = {"build-essential": "gcc-c++"}
"""Names that differ from the rule."""
OF_DEBIAN: Final = frozenset({"libc6"})
_DEV: Final = re.compile(r"-dev(?=-|$)")
_BOUND: Final = re.compile(r"(\S+) \((\S+) (\S+)\)")


def converted(deb: Deb) -> Rpm:
    """Describe the package that Enterprise Linux has in place of `deb`."""
    version, _, release = deb.version.partition("-")
    needs = [text for text in deb.relations.get("Depends", ()) if text.split()[0] not in OF_DEBIAN]
    conflicts = deb.relations.get("Conflicts", ())
    return Rpm(
        name=_named(deb.name),
        version=version,
        release=release.replace("+", "."),
        summary=deb.description,
        architecture="noarch" if deb.architecture == "all" else "x86_64",
        relations={
            "requires": tuple(_relation(text) for text in needs),
            "conflicts": tuple(_relation(text) for text in conflicts),
        },
        files={_placed(path): entry for path, entry in deb.files.items()},
        scripts=_scriptlets(deb),
        large=deb.compression == "zstd",
    )


def _named(name: str) -> str:
    return NAMES.get(name) or _DEV.sub("-devel", name)


def _placed(path: str) -> str:
    for before, after in PLACES.items():
        path = path.replace(before, after)
    return path


def _relation(text: str) -> str:
    bound = _BOUND.fullmatch(text)
    if bound is None:
        return _named(text)
    name, operator, version = bound.groups()
    # NVIDIA's relations to its driver name the epoch of Enterprise Linux.
    epoch = "3:" if name == "cuda-drivers" else ""
    return f"{_named(name)} {operator} {epoch}{version.replace('+', '.')}"


def _scriptlets(deb: Deb) -> dict[Scriptlet, str]:
    """Return the maintainer scripts as scriptlets, which get a count in place of a word."""
    found: dict[Scriptlet, str] = {}
    if "postinst" in deb.scripts:
        found["post"] = f"set -- configure\n{_placed(deb.scripts['postinst'])}"
    if "prerm" in deb.scripts:
        text = _placed(deb.scripts["prerm"])
        found["preun"] = f'[ "$1" = 0 ] || exit 0\nset -- remove\n{text}'
    if any("ldconfig" in trigger for trigger in deb.triggers) or "update-alternatives" in "".join(
        found.values()
    ):
        found["posttrans"] = LDCONFIG
    return found
