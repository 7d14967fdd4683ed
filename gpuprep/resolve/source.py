"""Where the driver comes from: NVIDIA's repository, or the archive of the distribution."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuprep.model.versions import key

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Archive, Gpu
    from gpuprep.resolve.case import Case


def choose_source(case: Case) -> None:
    """Decide where ``auto`` takes the driver from: NVIDIA's, unless only the archive has it."""
    if case.desired.source != "auto":
        return
    archive = case.catalog.archives.get(case.facts.os)
    why = _why_archive(case, archive) if archive is not None and case.manages_driver else None
    case.desired = replace(case.desired, source="distro" if why else "nvidia")
    if why:
        case.because("source", f"the archive of {case.facts.os}", why, "archives")


def has_signed_modules(case: Case, archive: Archive) -> bool:
    """Return whether an archive has modules ready and signed for kernels like the host's."""
    kernel = next_kernel(case)
    return any(kernel.endswith(f"-{flavour}") for flavour in archive.signed_kernels)


def takes_ready_modules(case: Case) -> bool:
    """Return whether the host's modules come ready from the archive, instead of being built."""
    archive = case.catalog.archives.get(case.facts.os)
    distro = case.desired.source == "distro"
    return distro and archive is not None and has_signed_modules(case, archive)


def next_kernel(case: Case) -> str:
    """Return the kernel that the next boot starts, or the one that the driver is wanted for."""
    return case.facts.state.newest_kernel or str(case.facts.kernel)


def is_locked_down(case: Case) -> bool:
    """Return whether the host loads no module that it builds itself."""
    return case.facts.state.secure_boot and not case.facts.state.mok_enrolled


def _why_archive(case: Case, archive: Archive) -> str | None:
    if is_locked_down(case) and has_signed_modules(case, archive):
        return f"Secure Boot is on, no key of this host's is enrolled: modules by {archive.signer}"
    gpu = _without_branch(case)
    if gpu is not None and any(_drives(gpu, branch) for branch in archive.branches):
        known = case.system.branches
        last = gpu.arch.last_branch
        return f"{gpu.name} needs branch {last} or older, NVIDIA's repository has {known}"
    return None


def _without_branch(case: Case) -> Gpu | None:
    """Return a GPU of the host that no branch in NVIDIA's directory drives."""
    gpus = (case.catalog.gpus.get(pci.lower()) for pci in case.facts.gpus)
    inside = [name for name in case.catalog.branches if name in case.system.branches]
    return next(
        (gpu for gpu in gpus if gpu and not any(_drives(gpu, name) for name in inside)), None
    )


def _drives(gpu: Gpu, branch: str) -> bool:
    last = gpu.arch.last_branch
    return last is None or key(branch) <= key(last)
