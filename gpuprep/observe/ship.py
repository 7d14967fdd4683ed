"""Pack modules into one text for a host's ``python3 -S -E -``: the host has no file of ours."""

from __future__ import annotations

from functools import cache

from gpuprep.layout import package_root
from gpuprep.on_host.loader import LOADER, ROOT, head

__all__ = ["ROOT", "packed"]


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
    return "\n".join([_head(names), *lines, ""])


@cache
def _head(names: tuple[str, ...]) -> str:
    texts = {f"{ROOT}.{name}": _text(name) for name in sorted({LOADER, *names})}
    text: str = head(texts)
    return text
