"""The NVIDIA driver: one driver, whole, at one version."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuprep.catalog.rules import host_rules
from gpuprep.components.base import REPOSITORY, TEMPORARY, Component, Situation, Written
from gpuprep.components.differences import (
    Differences,
    VersionLock,
    diff_files,
    diff_holds,
    diff_packages,
    diff_sources,
    diff_stream,
    diff_units,
    diff_unwanted_units,
    shared_version,
)
from gpuprep.components.state import RoleState
from gpuprep.model import ManagedFile, Stack, StepKind
from gpuprep.model.names import matches
from gpuprep.model.versions import at_least
from gpuprep.packages import family_of
from gpuprep.packages.closure import is_installed
from gpuprep.packages.family import HEADER
from gpuprep.resolve import driver_kernel
from gpuprep.resolve import packages as names
from gpuprep.resolve.driver import choose_driver
from gpuprep.resolve.host import fabric_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuprep.model import Package
    from gpuprep.observe.observation import DiskModule, HostObservation
    from gpuprep.packages.closure import Packages
    from gpuprep.resolve.case import Case

BLACKLIST = "/etc/modprobe.d/gpuprep-nouveau.conf"
MODULES = "/etc/modules-load.d/gpuprep.conf"
BOOT = "/boot"


def resolve(case: Case, stack: Stack) -> Stack:
    """Return the stack with the driver: chosen for the GPUs, or kept as it is.

    Raises:
        Refused: no driver fits the GPUs and the settings.

    """
    driver = case.driver = choose_driver(case)
    driver_kernel.explain(case, driver)
    stack = replace(
        stack,
        branch=driver.branch.name,
        driver_version=driver.exact,
        oldest_driver=driver_kernel.oldest_of(case, driver),
        flavour=driver.flavour,
        fabric=fabric_of(case),
    )
    if not case.manages_driver:
        return stack
    names.check_secure_boot(case)
    from_nvidia = case.desired.source == "nvidia"
    return replace(
        stack,
        packages=stack.packages + names.driver_packages(case, driver),
        stream=names.stream_of(case, driver) if from_nvidia else None,
        version_locks=names.version_locks_of(case, driver) if from_nvidia else (),
        version_locked=names.version_locked_of(case),
        pins=names.pins_of(case, driver),
        services=names.services_of(case),
        conflicting=names.conflicting_of(case, driver),
        dkms_toolset=names.toolset_of(case),
        module=names.module_of(case, driver),
        elsewhere=names.elsewhere_of(case, driver),
        stale=names.stale_of(case),
        ready=names.ready_modules_of(case, driver),
        signer=names.signer_of(case),
        kernel_modules=names.kernel_modules_of(case),
    )


def plan(differences: Differences, situation: Situation) -> RoleState:
    """Return the desired state: repository, pins, stream, packages, holds, module, units."""
    observation, stack, family = situation.observation, situation.stack, situation.family
    if stack.branch is None or not stack.manage_driver:
        return RoleState(differences.role)
    packages = observation.packages
    files = (*family.repository_files(stack), *_files(stack), *family.build_files(stack))
    foreign = diff_sources(differences, observation, stack.repository, family.paths)
    diff_files(differences, observation, files)
    diff_stream(differences, observation, stack.stream)
    roots = [p for p in stack.packages if p.component == "driver"]
    pre_install = [p for p in roots if p.pre_install]
    ours = {n: p for n, p in packages.items() if not matches(n, stack.elsewhere)}
    version = stack.driver_version or shared_version(
        ours, stack.version_locked, family, stack.branch
    )
    if _waits_for_modules(packages, stack, observation):
        version = stack.driver_version  # modules of the next kernel can be of a later release
    if _cannot_follow(observation, stack, version):
        _diff_too_old(differences, situation, roots, str(version))
        version = None
    whole = stack.source == "nvidia" or bool(stack.elsewhere)
    others = _other_driver(packages, stack, version) if whole else ()
    locked = (*stack.version_locked, *(f"!{name}" for name in others)) if whole else ()
    of_nvidia = [package for package in pre_install if package.origin == "nvidia"]
    purge = _stale_pins(differences, packages, of_nvidia, stack.stale)
    pins = diff_packages(differences, packages, pre_install, (), family)
    main = diff_packages(
        differences,
        packages,
        [p for p in roots if not p.pre_install],
        # Without what builds it, the module is lost with the next kernel.
        (*stack.version_locked, situation.catalog.repositories.builder),
        family,
        VersionLock(version, locked, stack.exact, stack.branch),
    )
    for name in others:
        reason = f"{name} belongs to another driver than {version or stack.branch} {stack.flavour}"
        differences.add(StepKind.PACKAGE, name, "remove", reason, packages[name].version)
    changing = differences.has(StepKind.PACKAGE)
    hold = (*stack.version_locked, *(p.name for p in of_nvidia))
    locks = observation.package_manager.version_locks
    lines = family.version_locks(stack, version)
    stale = not set(lines) <= set(locks)
    diff_holds(differences, packages, hold, renew=changing or stale)
    next_boot = False
    if stack.ready:
        next_boot = not changing and _diff_ready(differences, observation, stack, version)
    elif not changing:
        _diff_module(differences, observation, stack, version)
    diff_units(differences, observation, stack.services)
    diff_unwanted_units(differences, observation, stack.unwanted_services)
    initramfs = _diff_initramfs(differences, situation)
    fabric = _diff_fabric_modules(differences, situation)
    load, reboot = _diff_loaded(differences, situation, version)
    return RoleState(
        differences.role,
        files=files,
        foreign=foreign,
        preparation=tuple(family.preparation(stack)),
        pre_install=pins.wanted,
        pins=pre_install == of_nvidia,
        packages=main.wanted,
        remove=others,
        purge=purge,
        version_locked=locked,
        version=family.release_of(version) if version else family.branch_of(stack.branch),
        hold=hold,
        locks=lines,
        units=stack.services,
        unwanted_units=stack.unwanted_services,
        kernel=observation.kernel.target,
        verify_module=family.silent_builds,
        load=(*fabric, *load),
        initramfs=initramfs,
        reboot=reboot or next_boot,
    )


def current(observation: HostObservation) -> str | None:
    """Return the driver's version: of the loaded module, else of its packages."""
    if observation.running_driver:
        return observation.running_driver
    family = family_of(observation.package_manager.family)
    there = observation.packages
    for pattern in host_rules().driver_witnesses:
        named = [n for n in there if matches(n, (pattern,))] if "*" in pattern else [pattern]
        for name in sorted(named):
            if observation.is_installed(name):
                version = there[name].version or ""
                return family.upstream(version) if family else version
    return None


def desired(stack: Stack) -> str:
    """Return version (or branch) and flavour, ``-`` when no driver is asked for."""
    version = stack.driver_version or stack.branch or "-"
    return " ".join(part for part in (version, stack.flavour) if part)


def locks(stack: Stack) -> Mapping[str, str]:
    """Return driver and flavour."""
    found = {"driver": stack.driver_version if stack.manage_driver else None}
    found["flavour"] = stack.flavour
    return {what: value for what, value in found.items() if value is not None}


def more_space_mb(situation: Situation, kinds: Collection[str]) -> Mapping[str, int]:
    """Return the space that a new initial RAM disk takes."""
    if StepKind.INITRAMFS not in kinds or not situation.observation.initramfs_mb:
        return {}
    # It is written beside the old one and then takes its place; it may well be larger.
    return {BOOT: math.ceil(1.25 * max(situation.observation.initramfs_mb.values()))}


def _files(stack: Stack) -> tuple[ManagedFile, ...]:
    text = f"{HEADER}blacklist nouveau\noptions nouveau modeset=0\n"
    files = [ManagedFile(BLACKLIST, StepKind.BLACKLIST, text)]
    if stack.kernel_modules:
        text = HEADER + "".join(f"{name}\n" for name in stack.kernel_modules)
        files.append(ManagedFile(MODULES, StepKind.MODULES, text))
    return tuple(files)


def _other_driver(packages: Packages, stack: Stack, version: str | None) -> tuple[str, ...]:
    """Return installed driver packages of another branch, version or flavour, by their name."""
    roots = {package.name for package in stack.packages}
    others = []
    for name in packages:
        if name in roots or not is_installed(packages, name):
            continue
        marks = [part for part in name.split("-") if part[:3].isdigit()]
        another = any(_is_another(mark, stack.branch, version) for mark in marks)
        elsewhere = matches(name, stack.conflicting) or matches(name, stack.elsewhere)
        if (another and matches(name, stack.version_locked)) or elsewhere:
            others.append(name)
    return tuple(sorted(others))


def _is_another(mark: str, branch: str | None, version: str | None) -> bool:
    """Return whether ``580`` or ``580.95.05`` in a package's name speaks of another driver."""
    if "." in mark and version is not None:
        return mark != version
    return mark.split(".", maxsplit=1)[0] != branch


def _stale_pins(
    differences: Differences,
    packages: Packages,
    pre_install: Sequence[Package],
    others: Sequence[str],
) -> tuple[str, ...]:
    """Find pins for another driver; a removed package leaves its preferences file in force."""
    patterns = [*others, *(f"{package.name.rpartition('-')[0]}-*" for package in pre_install)]
    wanted = {package.name for package in pre_install}
    stale = []
    for name, package in sorted(packages.items()):
        if name in wanted or not matches(name, patterns) or package.status == "not-installed":
            continue
        reason = f"{name} pins another driver"
        differences.add(StepKind.PIN, name, "remove", reason, package.version)
        stale.append(name)
    return tuple(stale)


def _cannot_follow(observation: HostObservation, stack: Stack, version: str | None) -> bool:
    """Return whether the installed release has no module for the kernel, and cannot be built."""
    if version is None or stack.driver_version or at_least(version, stack.oldest_driver):
        return False
    kernel = observation.kernel.target
    return not any(_fits(module, version, kernel) for module in _main_modules(observation, stack))


def _diff_too_old(
    differences: Differences, situation: Situation, roots: Sequence[Package], version: str
) -> None:
    """Find that the installed release must be left for a later one of its branch."""
    stack, packages = situation.stack, situation.observation.packages
    kernel = situation.observation.kernel.target
    for root in roots:
        name = root.name
        if matches(name, stack.version_locked) and is_installed(packages, name):
            reason = f"driver {version} does not build on kernel {kernel}"
            reason += f"; {stack.oldest_driver} and later of branch {stack.branch} do"
            current, after = packages[name].version, f"{stack.oldest_driver} or later"
            differences.add(StepKind.PACKAGE, name, "change", reason, current, after)


def _main_modules(observation: HostObservation, stack: Stack) -> list[DiskModule]:
    return [m for m in observation.modules.on_disk if m.name in {"nvidia", stack.module}]


def _diff_module(
    differences: Differences, observation: HostObservation, stack: Stack, version: str | None
) -> None:
    """Find that no module of this driver is there for the target kernel."""
    kernel = observation.kernel.target
    built = _main_modules(observation, stack)
    if any(_fits(module, version, kernel) for module in built):
        return
    versions = ", ".join(sorted({str(module.version) for module in built})) or None
    reason = f"no module of this driver is built for kernel {kernel}"
    differences.add(StepKind.MODULE, kernel, "build", reason, versions, version)


def _waits_for_modules(packages: Packages, stack: Stack, observation: HostObservation) -> bool:
    """Return whether the next boot's kernel lacks its modules, which come ready."""
    newest = observation.kernel.next_boot
    name = stack.ready.get(newest or "")
    waits = newest != observation.kernel.target
    return waits and name is not None and not is_installed(packages, name)


def _diff_ready(
    differences: Differences, observation: HostObservation, stack: Stack, version: str | None
) -> bool:
    """Find that ready modules are not as their signer made them; return whether to reboot first."""
    kernel = observation.kernel.target
    mine = {"nvidia", stack.module}
    there = [m for m in observation.modules.on_disk if m.name in mine and m.kernel == kernel]
    wrong = [m for m in there if m.signer != stack.signer or not _fits(m, version, kernel)]
    if there and not wrong:
        return False
    if kernel not in stack.ready:
        (newest,) = stack.ready
        reason = f"the modules of this driver are for kernel {newest}, which is not booted yet"
        differences.add(StepKind.REBOOT, "host", "reboot", reason, kernel, newest)
        return True
    if wrong:
        signer = wrong[0].signer or "nobody"
        reason = f"{wrong[0].path} {wrong[0].version} is signed by {signer}, not {stack.signer}"
        if wrong[0].signer == stack.signer:
            reason = f"{wrong[0].path} is of driver {wrong[0].version}"
    else:
        reason = f"the modules of {stack.ready[kernel]} are not there"
    differences.add(StepKind.MODULE, kernel, "build", reason, None, version)
    return False


def _fits(module: DiskModule, version: str | None, kernel: str) -> bool:
    return module.vermagic == kernel and (version is None or module.version == version)


def _diff_initramfs(differences: Differences, situation: Situation) -> bool:
    """Find an initial RAM disk that is older than the nouveau blacklist."""
    observation = situation.observation
    tool = situation.family.initramfs_tool
    if not observation.commands.get(tool) or not observation.initramfs:
        return False
    stale = any(BLACKLIST in newer for newer in observation.initramfs.values())
    if stale or differences.has(StepKind.BLACKLIST):
        reason = "the initial RAM disk was made before the nouveau blacklist"
        differences.add(StepKind.INITRAMFS, observation.kernel.target, "rebuild", reason)
        return True
    return False


def _diff_fabric_modules(differences: Differences, situation: Situation) -> tuple[str, ...]:
    """Find modules that the fabric manager needs and the kernel does not have yet; return them."""
    observation = situation.observation
    if not observation.kernel.is_running or not observation.kernel.loads_modules:
        return ()
    there = observation.modules.others
    names = [n for n in situation.stack.kernel_modules if there.get(n) not in {"loaded", "builtin"}]
    for name in names:
        reason = f"the fabric manager needs the kernel module {name}, which is not loaded"
        differences.add(StepKind.LOAD, name, "load", reason)
    return tuple(names)


def _diff_loaded(
    differences: Differences, situation: Situation, version: str | None
) -> tuple[tuple[str, ...], bool]:
    """Find a loaded module that is not the installed one: modules to load, whether to reboot."""
    observation, module = situation.observation, situation.stack.module
    if not observation.kernel.is_running or not observation.kernel.loads_modules:
        return (), False
    loaded = observation.running_driver
    nouveau = "nouveau" in observation.modules.loaded
    stale = loaded is not None and (differences.has(StepKind.PACKAGE) or loaded != version)
    if nouveau or stale:
        held = "nouveau" if nouveau else str(loaded)
        reason = f"the kernel runs {held}, not the installed driver"
        if not situation.settings.reboot_allowed:
            reason += "; gpu_driver_reboot_allowed is false, so this is left to you"
        differences.add(StepKind.REBOOT, "host", "reboot", reason, held, version)
        return (), True
    if loaded is None:
        reason = "the kernel module is not loaded"
        differences.add(StepKind.LOAD, module, "load", reason, None, version)
        return (module,), False
    return (), False


COMPONENT = Component(
    name="driver",
    title="NVIDIA driver",
    role="gpu_driver",
    wanted=lambda values: values["gpu_driver_branch"] != "none",
    resolve=resolve,
    plan=plan,
    current=current,
    desired=desired,
    locks=locks,
    paths=lambda _settings: (BLACKLIST, MODULES),
    space_mb={"/usr": 1500, "/var": 600, TEMPORARY: 50},
    more_space_mb=more_space_mb,
    checks=(
        "module.on_disk",
        "module.signed",
        "module.next_boot",
        "module.loaded",
        "nouveau.absent",
        "device.nodes",
        "device.uvm",
        "version.userspace",
        "version.packages",
        "unit.running",
        "persistence.on",
    ),
    exports={
        "gpu_driver_installed_version": "version on the host",
        "gpu_driver_reboot_required": "whether the kernel runs another driver than is installed",
    },
    writes=(
        REPOSITORY,
        Written("nouveau blacklist", BLACKLIST),
        Written("kernel modules of the fabric, where there is one", MODULES),
        Written("driver, kernel headers, fabric manager, IMEX, NSCQ", "packages, held"),
    ),
)
