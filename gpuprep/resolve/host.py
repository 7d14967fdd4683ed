"""What the host itself forbids, and which GPUs it has."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gpuprep.model.fabric import fabric_kind
from gpuprep.resolve.case import Case, Refused
from gpuprep.resolve.source import choose_source, takes_ready_modules

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Catalog, Gpu
    from gpuprep.model import DesiredStack, HostFacts


def open_case(facts: HostFacts, desired: DesiredStack, catalog: Catalog) -> Case:
    """Look up system and GPUs, and check the state that forbids any installation.

    Raises:
        Refused: unknown system or GPU, AMD shape, leftovers, pending reboot.

    """
    _refuse_amd(facts, catalog)
    system = catalog.systems.get(facts.os)
    if system is None:
        raise Refused("E_OS_UNSUPPORTED", os=facts.os)
    case = Case(facts, desired, catalog, system)
    choose_source(case)
    _check_machine(case)
    _check_state(case)
    case.gpus = _find_gpus(case)
    return case


def after_reboot(facts: HostFacts) -> HostFacts:
    """Return a host as it is after its reboot: with the kernel that waits for it."""
    state = replace(facts.state, newest_kernel=None, newest_headers=None)
    kernel, headers = facts.state.newest_kernel, facts.state.newest_headers
    # Which compiler that kernel was built with is not known; it decides no driver.
    return replace(facts, kernel=kernel, kernel_headers=headers, kernel_cc=None, state=state)


def fabric_of(case: Case) -> str:
    """Return the fabric kind: what shape or GPUs usually have, unless the bus shows otherwise."""
    shape = case.catalog.shapes.get(case.facts.shape or "")
    kinds = (gpu.fabric for gpu in case.gpus)
    return fabric_kind(shape.fabric if shape else None, kinds, case.facts.nvswitches)


def _refuse_amd(facts: HostFacts, catalog: Catalog) -> None:
    if not facts.shape:
        return
    shape = catalog.shapes.get(facts.shape)
    known_amd = shape is not None and shape.vendor == "amd"
    if known_amd or (shape is None and fnmatchcase(facts.shape, catalog.amd_pattern)):
        raise Refused("E_AMD_SHAPE", shape=facts.shape)


def _check_machine(case: Case) -> None:
    arch = case.facts.arch
    directories = case.catalog.repositories.arch_dir
    known = case.system.arches if case.needs_repository else tuple(directories)
    if (case.needs_repository or case.manages_driver) and arch not in known:
        raise Refused("E_ARCH_UNSUPPORTED", os=case.facts.os, arch=arch, known=", ".join(known))


def _check_state(case: Case) -> None:
    state = case.facts.state
    if case.wants("driver") and state.runfile:
        raise Refused("E_RUNFILE_PRESENT")
    if not case.manages_driver:
        return
    running, newest = case.facts.kernel, state.newest_kernel
    if takes_ready_modules(case):  # also for the kernel that waits for its reboot
        return
    if running and newest and running != newest:
        raise Refused("E_REBOOT_FIRST", running=running, newest=newest)


def _find_gpus(case: Case) -> tuple[Gpu, ...]:
    found = tuple(dict.fromkeys(_look_up(case, pci.lower()) for pci in case.facts.gpus))
    if not found and case.manages_driver:
        raise Refused("E_NO_GPU", "components")
    for gpu in found:
        if gpu.host_arch and gpu.host_arch != case.facts.arch:
            raise Refused("E_GPU_HOST_ARCH", gpu=gpu.name, need=gpu.host_arch, have=case.facts.arch)
    return found


def _look_up(case: Case, pci: str) -> Gpu:
    catalog = case.catalog
    gpu = catalog.gpus.get(pci)
    if gpu is not None:
        return gpu
    if not case.desired.allow_unknown_gpu or not pci.startswith(catalog.vendors["nvidia"] + ":"):
        raise Refused("E_GPU_UNKNOWN", pci=pci)
    like = catalog.gpus[catalog.unknown_is_like]
    case.warn("W_GPU_ASSUMED", pci=pci, gpu=like.name)
    return replace(like, id=pci)
