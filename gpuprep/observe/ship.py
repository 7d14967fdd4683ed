"""Pack modules of a folder into one text: the host has no file of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable
    from pathlib import Path

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
