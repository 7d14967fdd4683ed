"""Pack modules of :mod:`gpuprep.on_host` into one text for a host's ``python3 -S -E -``."""

from __future__ import annotations

from functools import cache

from gpuprep.layout import package_root
from gpuprep.on_host.loader import LOADER, ROOT, program

__all__ = ["ROOT", "packed"]


@cache
def _texts(names: tuple[str, ...]) -> dict[str, str]:
    folder = package_root() / "on_host"
    return {
        f"{ROOT}.{name}": folder.joinpath(*name.split("."))
        .with_suffix(".py")
        .read_text(encoding="utf-8")
        for name in sorted({LOADER, *names})
    }


def packed(names: tuple[str, ...], *lines: str) -> str:
    """Return a program that can import the modules and then runs some lines.

    Args:
        names: modules below ``gpuprep.on_host``, with all that they import: ``converge.main``.
        lines: Python; imports the modules as parts of the package :data:`ROOT`.

    """
    text: str = program(_texts(names), *lines)
    return text
