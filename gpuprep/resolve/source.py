"""Where the driver comes from: NVIDIA's repository, or the archive of the distribution."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuprep.model.versions import key

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Archive, Gpu
    from gpuprep.model import Flavour
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
    if any(kernel.endswith(f"-{flavour}") for flavour in archive.signed_kernels):
        return True
    offered = case.facts.ready_modules or {}
    prefix = archive.signed_index.prefix if archive.signed_index else ""
    ours = (name for name in offered if prefix and name.startswith(prefix))
    return any(name.endswith(f"-{kernel}") for name in ours)


def takes_ready_modules(case: Case) -> bool:
    """Return whether the host's modules come ready from the archive, instead of being built."""
    archive = case.catalog.archives.get(case.facts.os)
    distro = case.desired.source == "distro" and not case.builds_modules
    return distro and archive is not None and has_signed_modules(case, archive)


def kernel_with_modules(case: Case, archive: Archive, branch: str, flavour: Flavour) -> str | None:
    """Return the kernel for which the archive has a driver's modules; None = for none that counts.

    That which the next boot starts, else the running one. Where the host's package index was not
    looked into, there are some.
    """
    kernels = candidates(case)
    offered = case.facts.ready_modules
    if offered is None:
        return kernels[0]
    exact = None if case.desired.version == "auto" else case.desired.version
    for kernel in kernels:
        releases = offered.get(archive.signed[flavour].format(b=branch, kernel=kernel))
        if releases is not None and (exact is None or not releases or exact in releases):
            return kernel
    return None


def candidates(case: Case) -> tuple[str, ...]:
    """Return the kernels that ready modules can be for, the one that the next boot starts first."""
    return tuple(dict.fromkeys((next_kernel(case), str(case.facts.kernel))))


def what_there_is(case: Case, archive: Archive) -> str:
    """Return for which of the host's kernels the archive has modules, and of which drivers."""
    offered = case.facts.ready_modules or {}
    parts = []
    for kernel in candidates(case):
        drivers = [
            f"{branch} {flavour}" + (f" ({', '.join(releases)})" if releases else "")
            for branch in archive.branches
            for flavour, form in archive.signed.items()
            for releases in [offered.get(form.format(b=branch, kernel=kernel))]
            if releases is not None
        ]
        parts.append(f"for {kernel} it has {', '.join(drivers) or 'none'}")
    return "; ".join(parts)


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
