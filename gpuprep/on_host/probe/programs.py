"""The full and the burn-in tier: everything that needs a GPU context or a compiler."""

import glob

from . import base, burn, compiled, frameworks, matrices, wheels

GPU_SECONDS = 120.0  # one GPU's products; most of it is the start of its context


def collect(tier, options, answers):
    """Try the programs, the environments and, for ``burn-in``, the load."""
    options = dict(wheels.material(options.get("pythons") or []), **options)
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
    """Compute capabilities to compile for: of the GPUs that answer, else of those on the bus."""
    gpus = answers.get("nvml", {}).get("gpus") or []
    found = {gpu["compute_capability"] for gpu in gpus if gpu.get("compute_capability")}
    known = options.get("capabilities") or {}
    found = found or {known[device] for device in pci_ids() if device in known}
    return sorted(found) or list(options.get("architectures") or [])


def pci_ids(root="/sys/bus/pci/devices"):
    """PCI ids (``10de:2330``) of all devices."""
    found = []
    for path in glob.glob(root + "/*"):
        pair = [(base.read_text(path + "/" + name) or "").strip() for name in ("vendor", "device")]
        found.append(":".join(number.replace("0x", "") for number in pair))
    return found
