"""Pack modules into one text for a host's ``python3 -S -E -``: the host has no file of ours."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from gpuprep.layout import package_root
from gpuprep.on_host.loader import LOADER, ROOT, program

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable
    from pathlib import Path

__all__ = ["ROOT", "pack", "packed"]


@cache
def _text(name: str) -> str:
    path = package_root().joinpath("on_host", *name.split(".")).with_suffix(".py")
    return path.read_text(encoding="utf-8")


def packed(names: tuple[str, ...], *lines: str) -> str:
    """Return a program that can import modules of ``gpuprep.on_host`` and then runs some lines.

    Args:
        names: modules below ``gpuprep.on_host``, with all that they import: ``converge.main``.
        lines: Python; imports the modules as parts of the package :data:`ROOT`.

    """
    texts = {f"{ROOT}.{name}": _text(name) for name in sorted({LOADER, *names})}
    text: str = program(texts, *lines)
    return text


def pack(folder: Path | Traversable, package: str, names: Iterable[str]) -> str:
    """Return Python source whose effect is ``import package`` with these modules in it.

    The source needs the standard library of Python 3.6 or newer and does nothing else by itself.

    Args:
        folder: where the modules are.
        package: name that they get on the host; they import each other relatively.
        names: modules without ``.py``.

    """
    texts = {
        f"{package}.{name}": (folder / f"{name}.py").read_text(encoding="utf-8") for name in names
    }
    imports = (f"import {name}" for name in texts)
    return "\n".join([_text(LOADER), f"install({texts!r})", *imports, ""])
