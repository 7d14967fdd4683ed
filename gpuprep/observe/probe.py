"""The probe, which tries a host's driver and programs, as one text for its Python."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gpuprep.model import Tier
from gpuprep.observe.ship import ROOT, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

QUICK = ("base", "nvml", "kernel_log", "libraries", "proof")
FULL = ("cuda", "matrices", "compiled", "frameworks", "wheels", "burn", "programs")

_PROBE = """

def probe(tier, options=None):
    return _gpuprep_probe(tier, dict(_gpuprep_material, **(options or {})))
"""


def source(tier: Tier, capabilities: Mapping[str, str]) -> str:
    """Return Python source that defines ``probe(tier, options=None) -> dict`` when it is run.

    It needs nothing but the standard library of Python 3.6 or newer, does nothing by itself, and
    carries the programs that the tier runs. Options of ``probe``, none of them needed:
    ``toolkits`` (paths; default: all under /usr/local), ``conda_prefixes`` (default: /opt/conda),
    ``pythons`` (more interpreters with frameworks), ``architectures`` (compute capabilities to
    compile for where no GPU is known), ``cudnn`` ({include, lib} where it is not installed),
    ``library_folders`` (where else to look for cuBLAS), ``deadlines`` and ``burn`` (see there).

    Args:
        tier: what it will try.
        capabilities: compute capability by PCI id (``10de:2330``), to compile for.

    """
    return f"{_modules(tier)}_gpuprep_material = {_material(tier, capabilities)!r}\n{_PROBE}"


@cache
def _modules(tier: Tier) -> str:
    names = QUICK if tier == Tier.QUICK else QUICK + FULL
    return _packed((*names, "main"), f"from {ROOT}.probe.main import probe as _gpuprep_probe")


def _material(tier: Tier, capabilities: Mapping[str, str]) -> dict[str, Any]:
    if tier == Tier.QUICK:
        return {}
    known = dict(capabilities)
    return {"sources": _programs(".cu", ".cuh"), "ptx": ptx(), "capabilities": known}


def diagnosis() -> str:
    """Return a script that prints what ``gpuprep bundle`` collects of a host, as JSON."""
    return _packed(
        ("base", "kernel_log", "diagnose"),
        "import json",
        f"from {ROOT}.probe.diagnose import collect",
        "print(json.dumps(collect()))",
    )


def _packed(names: tuple[str, ...], *lines: str) -> str:
    return packed(tuple(f"probe.{name}" for name in names), *lines)


def _programs(*suffixes: str) -> dict[str, str]:
    """Return our sources by file name."""
    folder = files("gpuprep.on_host") / "programs"
    found = (entry for entry in folder.iterdir() if entry.name.endswith(suffixes))
    return {entry.name: entry.read_text() for entry in sorted(found, key=lambda e: e.name)}


def ptx() -> dict[str, str]:
    """Return our prebuilt PTX by kernel group: ``kernels``, ``tensor_fp16``, ``tensor_bf16``."""
    return {name.removesuffix(".ptx"): text for name, text in _programs(".ptx").items()}


def standalone(
    tier: Tier,
    options: Mapping[str, Any] | None = None,
    capabilities: Mapping[str, str] | None = None,
) -> str:
    """Return a script that probes and prints its answer as JSON.

    Args:
        tier: what to try.
        options: as for ``probe``; JSON types.
        capabilities: as for :func:`source`.

    """
    text = json.dumps(dict(options or {}))
    call = f"print(json.dumps(probe({str(tier)!r}, json.loads({text!r}))))"
    return f"import json\n{source(tier, capabilities or {})}\n{call}\n"
