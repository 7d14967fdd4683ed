"""What a shape's name says about GPUs. The catalog knows; nothing is guessed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.catalog import Shape
    from gpuprep.oci.records import Instance

_MAKERS: Final = frozenset({"nvidia", "tesla", "amd", "instinct", "geforce", "radeon"})
_NVIDIA: Final = "nvidia"


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """GPUs of a host, and the groups that follow from them."""

    variables: Mapping[str, Any]
    groups: tuple[str, ...]
    known: bool


def has_gpu(instance: Instance, shapes: Mapping[str, Shape]) -> bool:
    """Return whether the shape has GPUs, by the catalog or by what OCI says of the instance."""
    return instance.gpus > 0 or instance.shape in shapes


def gpu_facts(instance: Instance, shapes: Mapping[str, Shape]) -> GpuFacts:
    """Describe the GPUs of an instance that has some."""
    shape = shapes.get(instance.shape)
    return _known(shape) if shape else _unknown(instance)


def model_of(gpu_name: str) -> str:
    """Short model: ``h100`` of ``H100 SXM5 80GB``, ``rtx_pro_6000`` of ``RTX PRO 6000 ...``."""
    words = [one for one in re.findall(r"[a-z0-9]+", gpu_name.lower()) if one not in _MAKERS]
    parts: list[str] = []
    for word in words:
        parts.append(word)
        if any(sign.isdigit() for sign in word):
            break
    return "_".join(parts) or "unknown"


def _known(shape: Shape) -> GpuFacts:
    model = model_of(shape.gpu_name)
    variables = {
        "model": model,
        "count": shape.count,
        "memory_gb": shape.gpu_memory_gb,
        "vendor": shape.vendor,
        "arch": shape.arch,
        "fabric": shape.fabric,
        "rdma": shape.rdma,
    }
    groups = ["oci_gpu", f"gpu_model_{model}", f"gpu_count_{shape.count}", f"arch_{shape.arch}"]
    traits = {
        "fabric_manager": shape.fabric.startswith("fm"),
        "imex": shape.fabric == "imex",
        "rdma": shape.rdma,
        f"unsupported_{shape.vendor}": shape.vendor != _NVIDIA,
    }
    groups += [name for name, true in traits.items() if true]
    return GpuFacts(variables, tuple(groups), known=True)


def _unknown(instance: Instance) -> GpuFacts:
    """Only what OCI says: no fabric, RDMA or architecture, which the host will tell itself."""
    model = model_of(instance.gpu_description or "unknown")
    groups = ("oci_gpu", f"gpu_model_{model}", f"gpu_count_{instance.gpus}", "gpu_unknown_shape")
    return GpuFacts({"model": model, "count": instance.gpus}, groups, known=False)
