"""The full and the burn-in tier: everything that needs a GPU context or a compiler."""

from . import base, burn, compiled, frameworks, matrices

GPU_SECONDS = 120.0  # one GPU's products; most of it is the start of its context


def collect(tier, options, answers):
    """Try the programs, the environments and, for ``burn-in``, the load."""
    visible = visible_gpus(answers)
    library = options.get("cuda_library", "libcuda.so.1")
    programs = compiled.collect(options, _architectures(options, answers))
    size = options.get("matrix_size", matrices.SIZE)
    programs["gpus"] = []
    if visible:
        programs["gpus"] = base.side_by_side(
            matrices.check,
            options.get("deadlines", {}).get("gpu", GPU_SECONDS),
            [(library, options["ptx"], one, size) for one in visible],
        )
    result = {"programs": programs, "frameworks": frameworks.collect(options)}
    if tier == "burn-in" and visible:
        result["burn"] = burn.collect(library, options, visible)
    return result


def visible_gpus(answers):
    """UUIDs of the GPUs that can compute; the instances' parents in MIG mode included."""
    gpus = answers.get("nvml", {}).get("gpus") or []
    return [gpu["uuid"] for gpu in gpus if gpu.get("uuid")]


def _architectures(options, answers):
    """Compute capabilities to compile for: of the GPUs here, else those the caller expects."""
    gpus = answers.get("nvml", {}).get("gpus") or []
    found = sorted({gpu["compute_capability"] for gpu in gpus if gpu.get("compute_capability")})
    return found or list(options.get("architectures") or [])
