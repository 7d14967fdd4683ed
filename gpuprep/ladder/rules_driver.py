"""Rules on machine and driver: PCI, kernel modules, device nodes, one version everywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpuprep.ladder.answers import duration, mapping, text, texts
from gpuprep.ladder.evidence import NVIDIA, VERSION
from gpuprep.ladder.findings import command_text, failed, passed, skipped
from gpuprep.ladder.registry import judges
from gpuprep.model.names import matches
from gpuprep.observe.observation import GPU_CLASSES, Unit
from gpuprep.resolve import kernels
from gpuprep.resolve.driver_kernel import words
from gpuprep.resolve.kernels import Kernel

if TYPE_CHECKING:
    from gpuprep.ladder.evidence import Evidence
    from gpuprep.ladder.findings import Finding

NVML_VERSION_MISMATCH = 18  # NVML_ERROR_LIB_RM_VERSION_MISMATCH
NO_DRIVER = "no driver is asked for"
CANNOT_LOAD = "this host cannot load modules (a container, or a kernel without them)"
NO_MODULE = "the module is not loaded"
# Parts beside the main module; Debian's archive puts its own infix between (nvidia-current-uvm).
SIDE_MODULES = ("uvm", "drm", "modeset", "peermem", "fs")


@judges("pci.device")
def pci_device(host: Evidence) -> Finding:
    """Judge: a GPU is on the bus."""
    found = [f"{gpu.slot} [{gpu.id}]" for gpu in host.gpus]
    if found and not host.observation.gpus:
        return passed(
            f"{len(found)} in NVML; the bus is hidden, as in a container",
            evidence="\n".join(found),
        )
    if found:
        return passed(f"{len(found)} on the bus", evidence="\n".join(found))
    if host.expect.gpu_count:
        return failed(
            f"shape {host.expect.shape} has {host.expect.gpu_count} GPUs, none is on the bus",
            expected=str(host.expect.gpu_count),
            observed="0",
            evidence=f"/sys/bus/pci/devices: no device of vendor {NVIDIA} with class "
            f"{' or '.join(GPU_CLASSES)}",
        )
    return skipped("no NVIDIA GPU on the PCI bus; the rungs above files and versions are untried")


@judges("pci.count")
def pci_count(host: Evidence) -> Finding:
    """Judge: as many as the shape promises."""
    if host.expect.gpu_count is None:
        return skipped("the shape is not known, so neither is the promised number")
    found = len(host.gpus)
    slots = "\n".join(gpu.slot for gpu in host.gpus)
    facts = {"expected": str(host.expect.gpu_count), "observed": str(found), "evidence": slots}
    if found == host.expect.gpu_count:
        return passed(f"{found}, as {host.expect.shape} promises", **facts)
    return failed(f"{host.expect.shape} promises {host.expect.gpu_count}, found {found}", **facts)


def main_module(name: str) -> bool:
    """Return whether a module file is the driver's main module."""
    return name.startswith("nvidia") and re.split(r"[-_]", name)[-1] not in SIDE_MODULES


@judges("module.on_disk")
def module_on_disk(host: Evidence) -> Finding:  # noqa: PLR0911 - one per way it can end
    """Judge: one module, built for the kernel that the driver is built for."""
    if not host.driver_wanted:
        return skipped(NO_DRIVER)
    if host.stack is None and not host.gpus and not host.modules_on_disk:
        return skipped("neither GPU nor driver on this host")
    modules = [m for m in host.modules_on_disk if main_module(m.name)]
    listing = "\n".join(f"{m.path} version {m.version} vermagic {m.vermagic}" for m in modules)
    kernel = host.observation.kernel.target
    if not modules and host.stack is None and host.module_version:
        return skipped("a module runs, its file is hidden, as in a container")
    mine = [m for m in modules if m.kernel == kernel]
    if not mine:
        others = ", ".join(sorted({m.kernel for m in modules})) or "none"
        return failed(
            f"no module for kernel {kernel}",
            expected=kernel,
            observed=f"modules for: {others}",
            evidence=listing or None,
        )
    strange = [m for m in mine if m.vermagic and m.vermagic.split(" ")[0] != kernel]
    if strange:
        return failed(
            f"the module in {kernel}'s directory was built for another kernel",
            expected=kernel,
            observed=strange[0].vermagic,
            evidence=listing,
        )
    versions = sorted({str(m.version) for m in mine})
    if len(versions) > 1:
        return failed(
            "several driver modules for one kernel", observed=", ".join(versions), evidence=listing
        )
    return passed(f"{versions[0]} for {kernel}", observed=versions[0], evidence=listing)


@judges("module.signed")
def module_signed(host: Evidence) -> Finding:  # noqa: PLR0911 - one per way it can end
    """Judge: under Secure Boot, the module is signed, and by whom it should be."""
    if not host.driver_wanted:
        return skipped(NO_DRIVER)
    if not host.observation.secure_boot:
        return skipped("Secure Boot is off")
    kernel = host.observation.kernel.target
    mine = [m for m in host.modules_on_disk if main_module(m.name) and m.kernel == kernel]
    if not mine:
        return skipped(f"no module for kernel {kernel}")
    wanted = host.stack.signer if host.stack else None
    facts = {
        "expected": wanted or "a signature by a key that the firmware or the machine owner trusts",
        "observed": ", ".join(sorted({m.signer or "no signature" for m in mine})),
        "evidence": "\n".join(f"{m.path} signer {m.signer}" for m in mine),
    }
    if any(m.signer is None for m in mine):
        return failed("the module is not signed", **facts)
    if wanted and any(m.signer != wanted for m in mine):
        return failed(f"the module is signed by {facts['observed']}, not by {wanted}", **facts)
    if not wanted and not host.observation.mok_enrolled:
        return failed("the module is signed by a key that is not enrolled", **facts)
    return passed(f"signed by {facts['observed']}", **facts)


@judges("module.next_boot")
def module_next_boot(host: Evidence) -> Finding:
    """Judge: a module also for the kernel that the next boot starts."""
    if not host.driver_wanted:
        return skipped(NO_DRIVER)
    kernel = host.observation.kernel
    newest = kernel.next_boot
    if not newest:
        return skipped("no installed kernel found (a container boots its host's)")
    built = {m.kernel for m in host.modules_on_disk if main_module(m.name)}
    built |= {
        release
        for release in host.answer("modules")
        if any(main_module(name) for name in texts(host.answer("modules"), release))
    }
    if not built and (host.stack is None or not host.stack.manage_driver):
        return skipped("no driver module on disk")
    if newest in built:
        return passed(f"built for {newest}", expected=newest, observed=", ".join(sorted(built)))
    if newest == kernel.running:
        return failed(f"no module for {newest}, which also runs", expected=newest)
    return failed(
        f"the next boot starts {newest}, which has no driver module{_why_not_built(host, newest)}",
        expected=newest,
        observed=", ".join(sorted(built)) or "none",
        evidence=f"/lib/modules/{newest}/modules.dep names no nvidia module",
    )


def _why_not_built(host: Evidence, release: str) -> str:
    """Return why no module of the host's driver can be built for a kernel; empty when it can."""
    table = host.expect.kernels
    found = {m.version for m in host.modules_on_disk if main_module(m.name)} - {None}
    version = host.module_version or next(iter(sorted(map(str, found))), None)
    flavour = host.observation.driver_flavour
    if table is None or version is None or flavour is None:
        return ""
    kernel = Kernel(release, host.observation.kernel.shown.get(release))
    obstacle = kernels.obstacle(table, kernel, version, flavour)
    if obstacle is None:
        return ""
    told = words(kernel, version, flavour, obstacle)
    return f"; {version} with {flavour} modules does not build on it: {told['what']}; {told['fix']}"


@judges("module.loaded")
def module_loaded(host: Evidence) -> Finding:
    """Judge: the module runs in the kernel."""
    if host.no_driver_to_judge:
        return skipped(NO_DRIVER)
    if host.module_version:
        flavour = host.observation.driver.flavour
        return passed(
            f"{host.module_version}{f', {flavour} flavour' if flavour else ''}",
            observed=host.module_version,
            evidence=("/proc/driver/nvidia/version" if host.observation.running_driver else "NVML"),
        )
    if host.cannot_load:
        return skipped(CANNOT_LOAD)
    others = ", ".join(sorted(host.observation.modules.loaded)) or "none of NVIDIA's"
    return failed("the nvidia module is not loaded", expected="nvidia", observed=others)


@judges("nouveau.absent")
def nouveau_absent(host: Evidence) -> Finding:
    """Judge: nouveau does not hold the GPU."""
    if not host.driver_wanted:
        return skipped(NO_DRIVER)
    if "nouveau" in host.observation.modules.loaded:
        return failed("nouveau is loaded", expected="not loaded", evidence="/proc/modules: nouveau")
    return passed("nouveau is not loaded")


@judges("device.nodes")
def device_nodes(host: Evidence) -> Finding:
    """Judge: the control node and one node per GPU."""
    if host.no_driver_to_judge:
        return skipped(NO_DRIVER)
    nodes = host.observation.driver.device_nodes
    if host.cannot_load and not nodes:
        return skipped(CANNOT_LOAD)
    numbered = [node for node in nodes if re.fullmatch(r"/dev/nvidia\d+", node)]
    facts = {
        "expected": f"/dev/nvidiactl and {len(host.gpus)} of /dev/nvidiaN",
        "observed": ", ".join(nodes) or "none",
    }
    if "/dev/nvidiactl" not in nodes:
        return failed("/dev/nvidiactl is missing", **facts)
    if len(numbered) < len(host.gpus):
        return failed(f"{len(numbered)} nodes for {len(host.gpus)} GPUs", **facts)
    return passed(f"nodes of {len(numbered)} GPUs", **facts)


@judges("device.uvm")
def device_uvm(host: Evidence) -> Finding:
    """Judge: the unified-memory node."""
    if host.no_driver_to_judge:
        return skipped(NO_DRIVER)
    nodes = host.observation.driver.device_nodes
    if host.cannot_load and not nodes:
        return skipped(CANNOT_LOAD)
    facts = {"expected": "/dev/nvidia-uvm", "observed": ", ".join(nodes) or "none"}
    if "/dev/nvidia-uvm" in nodes:
        return passed("/dev/nvidia-uvm exists", **facts)
    return failed("/dev/nvidia-uvm is missing", **facts)


@judges("version.userspace")
def version_userspace(host: Evidence) -> Finding:
    """Judge: libcuda and NVML on disk fit the module."""
    if host.no_driver_to_judge:
        return skipped(NO_DRIVER)
    if host.module_version is None:
        return skipped(NO_MODULE)
    found = {
        name: version.group(0)
        for name in ("nvml", "libcuda")
        if (version := VERSION.search((text(host.answer(name), "library") or "").split("/")[-1]))
    }
    mismatch = host.answer("nvml").get("status") == NVML_VERSION_MISMATCH
    evidence = "\n".join(
        str(host.answer(name).get("library")) for name in ("nvml", "libcuda") if host.answer(name)
    )
    facts = {
        "expected": host.module_version,
        "observed": ", ".join(f"{k} {v}" for k, v in found.items()) or None,
        "evidence": evidence or None,
    }
    if mismatch or any(version != host.module_version for version in found.values()):
        return failed("the libraries are of another version than the module in the kernel", **facts)
    if not found:
        return skipped("the libraries' file names carry no version, or the probe did not load them")
    return passed(f"all {host.module_version}", **facts)


@judges("version.packages")
def version_packages(host: Evidence) -> Finding:
    """Judge: the version-locked packages have one version, that of the module."""
    if not host.driver_wanted:
        return skipped(NO_DRIVER)
    patterns = host.version_locked
    versions: dict[str, str] = {}
    for name, package in host.observation.packages.items():
        found = VERSION.search(package.version or "")
        if found and host.observation.is_installed(name) and matches(name, patterns):
            versions[name] = found.group(0)
    if not versions:
        return skipped("no driver package found")
    listing = "\n".join(f"{name} {version}" for name, version in sorted(versions.items()))
    distinct = sorted(set(versions.values()))
    facts = {"observed": ", ".join(distinct), "evidence": listing}
    if len(distinct) > 1:
        return failed("the driver's packages are of several versions", **facts)
    if host.module_version and host.module_version not in distinct:
        return failed(
            f"the packages have moved to {distinct[0]}, the kernel runs {host.module_version}",
            expected=host.module_version,
            **facts,
        )
    wanted_version = host.stack.driver_version if host.stack else None
    if wanted_version and wanted_version not in distinct:
        return failed(
            "the packages are not of the wanted version", expected=wanted_version, **facts
        )
    return passed(f"{len(versions)} packages at {distinct[0]}", **facts)


@judges("fabric.version")
def fabric_version(host: Evidence) -> Finding:
    """Judge: the fabric manager's version."""
    if host.no_driver_to_judge:
        return skipped(NO_DRIVER)
    if not host.fabric.startswith("fm"):
        return skipped("no NVSwitch fabric on this host")
    if host.module_version is None:
        return skipped(NO_MODULE)
    answer = host.answer("fabric_manager")
    version = text(answer, "version") or next(
        (
            found.group(0)
            for name, package in host.observation.packages.items()
            if name.startswith(host.fabric_packages)
            and (found := VERSION.search(package.version or ""))
        ),
        None,
    )
    command = mapping(answer.get("command"))
    facts: dict[str, Any] = {
        "seconds": duration(command),
        "expected": host.module_version,
        "observed": version,
        "evidence": command_text(command) if command else None,
    }
    if not version:
        return failed("no fabric manager found, although the GPUs are coupled by NVSwitch", **facts)
    if version != host.module_version:
        return failed(f"fabric manager {version} beside driver {host.module_version}", **facts)
    return passed(f"{version}", **facts)


@judges("fabric.modules")
def fabric_modules(host: Evidence) -> Finding:
    """Judge: the kernel has what the fabric manager leads the switches over."""
    if host.no_driver_to_judge:
        return skipped(NO_DRIVER)
    if not host.fabric_modules:
        return skipped("the fabric of this host needs no kernel modules of its own")
    kernel = host.observation.kernel
    if not kernel.loads_modules or not kernel.is_running:
        return skipped("this host loads no kernel modules, or its driver is for another kernel")
    there = host.observation.modules.others
    words = {name: there.get(name) or "not known" for name in host.fabric_modules}
    observed = ", ".join(f"{name}: {word}" for name, word in words.items())
    facts = {"expected": "loaded or builtin", "observed": observed, "evidence": "/proc/modules"}
    if any(word not in {"loaded", "builtin"} for word in words.values()):
        return failed("modules of the fabric are not in the kernel", **facts)
    return passed(observed, **facts)


FABRIC_COMPLETED = 3  # NVML_GPU_FABRIC_STATE_COMPLETED


@judges("fabric.running")
def fabric_running(host: Evidence) -> Finding:
    """Judge: the service is active and the GPUs have joined."""
    if not host.fabric.startswith("fm"):
        return skipped("no NVSwitch fabric on this host")
    units = host.observation.units
    names = [name for unit in host.fabric_units for name in (f"{unit}.service", unit)]
    unit = next((units[name] for name in names if name in units), None)
    states = {
        str(gpu.get("slot")): mapping(gpu.get("fabric"))
        for gpu in host.nvml_gpus
        if gpu.get("fabric")
    }
    joined = {slot: state for slot, state in states.items() if state.get("state") not in (0, None)}
    late = [
        f"{slot}: state {state.get('state')}, status {state.get('status')}"
        for slot, state in joined.items()
        if state.get("state") != FABRIC_COMPLETED or state.get("status")
    ]
    if unit is not None and not unit.active:
        return failed("nvidia-fabricmanager is not active", expected="active", observed=str(unit))
    if late:
        return failed(
            f"{len(late)} GPUs have not joined the fabric",
            expected="state 3 (completed), status 0",
            observed="; ".join(late),
            evidence="nvmlDeviceGetGpuFabricInfo",
        )
    if unit is None and not joined:
        return skipped("neither the service nor a fabric state was reported")
    return passed(
        f"{len(joined)} GPUs joined" if joined else "the service is active", observed=str(unit)
    )


@judges("network.firewall")
def network_firewall(host: Evidence) -> Finding:
    """Judge: nothing between the host and those that it works with."""
    if not host.expect.rdma:
        return skipped("hosts of this shape are on no cluster network")
    found = host.observation.firewall
    if found is None:
        return skipped("iptables-save told nothing of a packet filter")
    facts = {"observed": found.rule or "nothing rejected", "evidence": "iptables-save -t filter"}
    if found.rule is None:
        return passed("nothing that comes in is rejected", **facts)
    if found.accepts:
        return passed(f"open for {', '.join(found.accepts)}", **facts)
    return failed(
        "what other hosts send is rejected: jobs over several hosts hang or fail", **facts
    )


@judges("unit.running")
def unit_running(host: Evidence) -> Finding:
    """Judge: the stack's services."""
    services = host.stack.services if host.stack else ()
    if not services:
        return skipped("the stack asks for no service" if host.stack else "no stack was resolved")
    units = host.observation.units
    bad = []
    for name in services:
        state = units.get(name) or units.get(name.removesuffix(".service")) or Unit()
        wrong = [key for key in ("exists", "enabled", "active") if not getattr(state, key)]
        if state.masked:
            wrong.append("unmasked")
        if wrong:
            bad.append(f"{name}: not {', '.join(wrong)}")
    listing = ", ".join(services)
    if bad:
        return failed("; ".join(bad), expected=f"enabled and active: {listing}")
    return passed(f"{len(services)} enabled and active", observed=listing)
