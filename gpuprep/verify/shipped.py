"""Pack the probe into one text for the host's ``python3 -S -E -``."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuprep.verify.checks import Tier

QUICK = ("base", "nvml", "kernel_log", "libraries", "proof")
FULL = ("cuda", "matrices", "compiled", "frameworks", "burn", "programs")
PACKAGE = "gpuprep_probe"

_LOADER = '''
def _gpuprep_load(package, modules):
    """Make modules of texts: the host has no file of ours."""
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
    return parent.main.probe
'''


@cache
def source(tier: Tier) -> str:
    """Give Python source that defines ``probe(tier, options) -> dict`` when it is run.

    It needs nothing but the standard library of Python 3.6 or newer, and does nothing by itself.
    """
    names = QUICK if tier == "quick" else QUICK + FULL
    folder = files("gpuprep.verify") / "target"
    modules = [(name, (folder / f"{name}.py").read_text()) for name in (*names, "main")]
    return f"{_LOADER}\n\nprobe = _gpuprep_load({PACKAGE!r}, {modules!r})\n"


def standalone(tier: Tier, options: dict[str, Any] | None = None) -> str:
    """Give a script that probes and prints its answer as JSON.

    Args:
        tier: what to try.
        options: as for ``probe``; JSON types.

    """
    text = json.dumps(options or {})
    call = f"print(json.dumps(probe({tier!r}, json.loads({text!r}))))"
    return f"import json\n{source(tier)}\n{call}\n"
