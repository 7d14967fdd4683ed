"""Pack the probe into one text for the host's ``python3 -S -E -``."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gpuprep.catalog import load

if TYPE_CHECKING:
    from gpuprep.ladder.checks import Tier

QUICK = ("base", "nvml", "kernel_log", "libraries", "proof")
FULL = ("cuda", "matrices", "compiled", "frameworks", "wheels", "burn", "programs")
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
    return parent
'''


_PROBE = """

def probe(tier, options=None):
    return _gpuprep_probe(tier, dict(_gpuprep_material, **(options or {})))
"""


@cache
def source(tier: Tier) -> str:
    """Give Python source that defines ``probe(tier, options=None) -> dict`` when it is run.

    It needs nothing but the standard library of Python 3.6 or newer, does nothing by itself, and
    carries the programs that the tier runs. Options of ``probe``, none of them needed:
    ``toolkits`` (paths; default: all under /usr/local), ``conda_prefixes`` (default: /opt/conda),
    ``pythons`` (more interpreters with frameworks), ``architectures`` (compute capabilities to
    compile for where no GPU is known), ``cudnn`` ({include, lib} where it is not installed),
    ``library_folders`` (where else to look for cuBLAS), ``deadlines`` and ``burn`` (see there).
    """
    names = QUICK if tier == "quick" else QUICK + FULL
    material: dict[str, Any] = {}
    if tier != "quick":
        capabilities = {pci_id: gpu.cc for pci_id, gpu in load().gpus.items()}
        material = {
            "sources": _programs(".cu", ".cuh"),
            "ptx": ptx(),
            "capabilities": capabilities,
        }
    return (
        f"{_packed(*names, 'main')}_gpuprep_probe = _gpuprep_parts.main.probe\n"
        f"_gpuprep_material = {material!r}\n{_PROBE}"
    )


def diagnosis() -> str:
    """Give a script that prints what ``gpuprep bundle`` collects of a host, as JSON."""
    call = "print(json.dumps(_gpuprep_parts.diagnose.collect()))"
    return f"import json\n{_packed('base', 'kernel_log', 'diagnose')}{call}\n"


def _packed(*names: str) -> str:
    """Give source that makes ``_gpuprep_parts`` of modules of the target package."""
    folder = files("gpuprep.on_host") / "probe"
    modules = [(name, (folder / f"{name}.py").read_text()) for name in names]
    return f"{_LOADER}\n\n_gpuprep_parts = _gpuprep_load({PACKAGE!r}, {modules!r})\n"


def _programs(*suffixes: str) -> dict[str, str]:
    """Give our sources by file name."""
    folder = files("gpuprep.on_host") / "programs"
    found = (entry for entry in folder.iterdir() if entry.name.endswith(suffixes))
    return {entry.name: entry.read_text() for entry in sorted(found, key=lambda e: e.name)}


def ptx() -> dict[str, str]:
    """Give our prebuilt PTX by kernel group: ``kernels``, ``tensor_fp16``, ``tensor_bf16``."""
    return {name.removesuffix(".ptx"): text for name, text in _programs(".ptx").items()}


def standalone(tier: Tier, options: dict[str, Any] | None = None) -> str:
    """Give a script that probes and prints its answer as JSON.

    Args:
        tier: what to try.
        options: as for ``probe``; JSON types.

    """
    text = json.dumps(options or {})
    call = f"print(json.dumps(probe({tier!r}, json.loads({text!r}))))"
    return f"import json\n{source(tier)}\n{call}\n"
