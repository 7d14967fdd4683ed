"""Pack modules of :mod:`gpuprep.on_host` into one text for a host's ``python3 -S -E -``."""

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

_LOADER = '''
def _gpuprep_load(package, modules):
    """Make modules of texts."""
    import sys
    import types

    parent = types.ModuleType(package)
    parent.__path__ = []
    sys.modules[package] = parent
    for name, text in modules:
        module = types.ModuleType(package + "." + name)
        module.__package__ = package
        sys.modules[module.__name__] = module
        setattr(parent, name, module)
        exec(compile(text, module.__name__, "exec"), module.__dict__)
    return parent
'''


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


def pack(folder: Path | Traversable, package: str, names: Iterable[str]) -> str:
    """Return Python source whose effect is ``import package`` with these modules in it.

    The source needs the standard library of Python 3.6 or newer and does nothing else by itself;
    afterwards the package is in ``sys.modules`` and bound to its own name.

    Args:
        folder: where the modules are.
        package: name that they get on the host; they import each other relatively.
        names: modules without ``.py``, each after those that it imports.

    """
    modules = [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in names]
    return f"{_LOADER}\n\n{package} = _gpuprep_load({package!r}, {modules!r})\n"
