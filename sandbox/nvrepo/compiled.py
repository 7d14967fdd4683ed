"""Compile the C sources of the substitutes with the machine's gcc."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCES = Path(__file__).parent / "src"


def _gcc(
    source: Path, target: Path, flags: tuple[str, ...], macros: Mapping[str, str | int]
) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    defines = [
        f"-D{name}={value}" if isinstance(value, int) else f'-D{name}="{value}"'
        for name, value in macros.items()
    ]
    command = ["gcc", "-O1", "-s", "-Wall", "-Werror", *defines, *flags, str(source)]
    subprocess.run([*command, "-o", str(target)], check=True)
    return target


def library(
    source: str,
    target: Path,
    *,
    soname: str,
    macros: Mapping[str, str | int] | None = None,
    home: Path = SOURCES,
) -> Path:
    """Compile `source` of `home` into the shared library `target`; text macros become C strings."""
    flags = ("-shared", "-fPIC", f"-Wl,-soname,{soname}")
    return _gcc(home / source, target, flags, macros or {})


def program(source: str, target: Path, macros: Mapping[str, str | int] | None = None) -> Path:
    """Compile `source` into the program `target`; text macros become C strings."""
    return _gcc(SOURCES / source, target, (), macros or {})


def relocatable(source: str, target: Path, macros: Mapping[str, str | int] | None = None) -> Path:
    """Compile `source` into an object file, the form of a kernel module."""
    flags = ("-c", "-fno-asynchronous-unwind-tables", "-fno-pic", "-mcmodel=kernel")
    return _gcc(SOURCES / source, target, flags, macros or {})
