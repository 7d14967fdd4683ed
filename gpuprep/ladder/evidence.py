"""One view over what a host said of itself, its stack and the catalog's knowledge of its GPUs.

What the observation can answer alone is answered there; here is what needs the probe, the stack
or the expectation too.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gpuprep.ladder.answers import items, mapping, measured, text
from gpuprep.model.fabric import fabric_kind
from gpuprep.model.value import Value
from gpuprep.model.versions import key
from gpuprep.observe.observation import PciDevice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.catalog import Gpu
    from gpuprep.catalog.kernels import KernelTable
    from gpuprep.catalog.tables import Fabric
    from gpuprep.model import Stack, Tier
    from gpuprep.observe import DiskModule, HostObservation

NVIDIA = "10de"  # PCI vendor
VERSION = re.compile(r"\d{3}\.\d+(?:\.\d+)?")


class Expectation(Value, frozen=True):
    """What must be seen on a host beyond its stack.

    Attributes:
        gpus: the catalog's GPU models by PCI id (``10de:2330``).
        gpu_count: GPUs that the shape promises; None = not known.
        shape: its name, for messages.
        shape_fabric: GPU fabric that the shape usually has; None = not known.
        version_locked: name patterns of the packages that share the driver's version.
        compat_package: name template of the packages that let an older driver run a newer CUDA.
        fabrics: what each kind of GPU fabric needs on a host.
        rdma: whether hosts of the shape work together over a cluster network.
        kernels: which driver releases build on which kernels; None = not known.

    """

    gpus: Mapping[str, Gpu] = {}
    gpu_count: int | None = None
    shape: str | None = None
    shape_fabric: str | None = None
    version_locked: tuple[str, ...] = ()
    compat_package: str = ""
    fabrics: Mapping[str, Fabric] = {}
    rdma: bool = False
    kernels: KernelTable | None = None


class Evidence(Value, dict=True, frozen=True):
    """Everything that the rules may ask.

    Attributes:
        observation: what the host said, with the probe's answer in it.
        stack: the resolved stack; None on hosts that gpuprep never prepared.
        expect: catalog knowledge of the GPUs found.
        tier: what was tried.

    """

    observation: HostObservation
    stack: Stack | None
    expect: Expectation
    tier: Tier

    # --- hardware ----------------------------------------------------------------------------
    @cached_property
    def gpus(self) -> tuple[PciDevice, ...]:
        """NVIDIA GPUs on the bus, or in NVML where a container hides the bus."""
        return self.observation.gpus or tuple(
            PciDevice(str(gpu.get("slot")), NVIDIA, str(gpu.get("pci_id")).rpartition(":")[2], "")
            for gpu in self.nvml_gpus
        )

    @cached_property
    def known_gpus(self) -> tuple[Gpu, ...]:
        """Catalog knowledge of the GPUs found, without repetition."""
        found = (self.expect.gpus.get(gpu.id) for gpu in self.gpus)
        return tuple(dict.fromkeys(gpu for gpu in found if gpu is not None))

    def knowledge(self, slot: str | None) -> Gpu | None:
        """Catalog knowledge of the GPU at a PCI slot."""
        for gpu in self.gpus:
            if slot and _same_slot(gpu.slot, slot):
                return self.expect.gpus.get(gpu.id)
        return self.known_gpus[0] if len(self.known_gpus) == 1 else None

    @property
    def fabric_units(self) -> tuple[str, ...]:
        """Services that the host's fabric needs."""
        known = self.expect.fabrics.get(self.fabric)
        return known.services if known else ()

    @property
    def fabric_modules(self) -> tuple[str, ...]:
        """Kernel modules that the host's fabric needs."""
        known = self.expect.fabrics.get(self.fabric)
        return known.kernel_modules if known else ()

    @property
    def fabric_packages(self) -> tuple[str, ...]:
        """How the names of the packages of the fabric's manager begin."""
        known = self.expect.fabrics.get(self.fabric)
        rules = [rule for rules in known.packages.values() for rule in rules] if known else []
        return tuple({rule.names[0].removesuffix("-{b}") for rule in rules})

    @property
    def fabric(self) -> str:
        """How the GPUs are coupled: the word of a stack with a driver, else the resolver's rule."""
        if self.stack is not None and self.stack.branch is not None:
            return self.stack.fabric
        is_bus_hidden = not self.observation.pci and bool(self.gpus)
        switches = None if is_bus_hidden else len(self.observation.nvswitches)
        return fabric_kind(
            self.expect.shape_fabric, (gpu.fabric for gpu in self.known_gpus), switches
        )

    # --- driver ------------------------------------------------------------------------------
    @cached_property
    def module_version(self) -> str | None:
        """Version of the nvidia module in the kernel; NVML's word where /proc is hidden."""
        if self.observation.running_driver:
            return self.observation.running_driver
        nvml = self.answer("nvml")
        found = VERSION.search("" if nvml.get("error") else str(nvml.get("driver")))
        return found.group(0) if found else None

    @property
    def cannot_load(self) -> bool:
        """Whether no module can be loaded here: a container, or a kernel without modules."""
        return self.module_version is None and not self.observation.kernel.loads_modules

    @property
    def modules_on_disk(self) -> tuple[DiskModule, ...]:
        """Driver modules on disk."""
        return self.observation.modules.on_disk

    @property
    def version_locked(self) -> tuple[str, ...]:
        """Name patterns of the packages that share the driver's version."""
        return (self.stack.version_locked if self.stack else ()) or self.expect.version_locked

    def forward_compatible(self, cuda: str) -> bool:
        """Return whether the package that lets an older driver run this CUDA is on the host."""
        major, minor = (*key(cuda), 0, 0)[:2]
        template = self.expect.compat_package
        return bool(template) and template.format(M=major, m=minor) in self.observation.packages

    @cached_property
    def toolkits(self) -> Mapping[str, str]:
        """CUDA toolkits on the host: path by version (``13.0``)."""
        return {toolkit.line: toolkit.path for toolkit in self.observation.cuda.toolkits}

    @property
    def toolkit_versions(self) -> tuple[str, ...]:
        """Versions of the toolkits that matter: the wanted ones, else those found."""
        if self.stack is not None:
            return tuple(toolkit.version for toolkit in self.stack.cuda)
        return tuple(self.toolkits)

    @property
    def driver_wanted(self) -> bool:
        """Whether a driver is asked for, or the host was never prepared and may have one."""
        return self.stack is None or self.stack.branch is not None

    @property
    def no_driver_to_judge(self) -> bool:
        """Whether what needs a driver cannot be tried: none is asked for, and none is loaded."""
        return not self.driver_wanted and self.module_version is None

    # --- probe -------------------------------------------------------------------------------
    def answer(self, name: str) -> Mapping[str, Any]:
        """One block of the probe's answer; empty when it was not asked."""
        return mapping(self.observation.probe.get(name))

    def seconds(self, part: str) -> float | None:
        """Return how long the host took to look at a part; None when it did not say."""
        name = part.removeprefix("probe.")
        if name == part:
            return measured(self.observation.timings, part)
        own = measured(self.answer(name), "seconds")
        return measured(self.answer("timings"), name) if own is None else own

    @cached_property
    def nvml_gpus(self) -> tuple[Mapping[str, Any], ...]:
        """GPUs that NVML reported."""
        return tuple(items(self.answer("nvml"), "gpus"))

    @property
    def proof(self) -> Mapping[str, Any]:
        """What the last full run left on the host."""
        return self.answer("proof")

    @property
    def proof_holds(self) -> bool:
        """Whether that proof was made in this boot, with this module and these GPUs."""
        now = self.answer("identity")
        return bool(self.proof.get("boot_id")) and all(
            self.proof.get(name) == now.get(name) for name in ("boot_id", "module", "gpus")
        )

    def tried(self, name: str) -> tuple[Mapping[str, Any], str | None]:
        """Return a block of the full tier, from this run or from a proof that still holds.

        Returns:
            the block (empty when there is none) and the time of the proof it was taken from.

        """
        if name in self.observation.probe:
            return self.answer(name), None
        if self.proof_holds and name in self.proof:
            return mapping(self.proof[name]), text(self.proof, "at")
        return {}, None


def _same_slot(one: str, other: str) -> bool:
    """Compare PCI addresses; the domain may be missing or longer."""
    return one.lower().split(":")[-2:] == other.lower().split(":")[-2:]
