"""One view over what a host said of itself; forgiving about what is missing.

The rules ask this view, never the raw dicts, so that a key has one reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuprep.catalog import Gpu
    from gpuprep.catalog.tables import Fabric
    from gpuprep.ladder.checks import Tier
    from gpuprep.model import Stack

NVIDIA = "10de"
GPU_CLASSES = ("0300", "0302")  # PCI: VGA controller, 3D controller
SWITCH_CLASS = "0680"  # PCI: bridge; NVSwitch
VERSION = re.compile(r"\d{3}\.\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be seen on a host beyond its stack.

    Attributes:
        gpus: the catalog's GPU models by PCI id (``10de:2330``).
        gpu_count: GPUs that the shape promises; None = not known.
        shape: its name, for messages.
        closure: name patterns of the packages that share the driver's version.
        compat_package: name template of the packages that let an older driver run a newer CUDA.
        fabrics: what each kind of GPU fabric needs on a host.

    """

    gpus: Mapping[str, Gpu] = field(default_factory=dict)
    gpu_count: int | None = None
    shape: str | None = None
    closure: tuple[str, ...] = ()
    compat_package: str = ""
    fabrics: Mapping[str, Fabric] = field(default_factory=dict)


def mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON of a host
    """Give a dict; anything else counts as empty."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> Sequence[Any]:  # noqa: ANN401 - JSON of a host
    """Give a list; anything else counts as empty."""
    return value if isinstance(value, (list, tuple)) else ()


def major_minor(version: str) -> tuple[int, ...]:
    """Give a version as comparable numbers: ``9.10.2.21`` -> (9, 10, 2, 21)."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the rules may ask.

    Attributes:
        observation: what ``gpuprep.observe`` reported.
        probe: what the verification probe reported; empty when it did not run.
        stack: the resolved stack; None on hosts that gpuprep never prepared.
        expect: catalog knowledge of the GPUs found.
        tier: what was tried.

    """

    observation: Mapping[str, Any]
    probe: Mapping[str, Any]
    stack: Stack | None
    expect: Expectation
    tier: Tier

    # --- hardware ----------------------------------------------------------------------------
    def _pci(self, *classes: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(
            device
            for device in map(mapping, sequence(self.observation.get("pci")))
            if _hex(device.get("vendor")) == NVIDIA
            and _hex(device.get("pci_class")).rjust(6, "0").startswith(classes)
        )

    @property
    def pci_gpus(self) -> tuple[Mapping[str, Any], ...]:
        """NVIDIA GPUs on the PCI bus."""
        return self._pci(*GPU_CLASSES)

    @property
    def gpus(self) -> tuple[Mapping[str, Any], ...]:
        """NVIDIA GPUs on the bus, or in NVML where a container hides the bus."""
        return self.pci_gpus or tuple(
            {"slot": gpu.get("slot"), "device": str(gpu.get("pci_id")).rsplit(":", 1)[-1]}
            for gpu in self.nvml_gpus
        )

    @property
    def switches(self) -> tuple[Mapping[str, Any], ...]:
        """NVSwitch chips on the PCI bus."""
        return self._pci(SWITCH_CLASS)

    @property
    def known_gpus(self) -> tuple[Gpu, ...]:
        """Catalog knowledge of the GPUs found, without repetition."""
        ids = (f"{NVIDIA}:{_hex(gpu.get('device'))}" for gpu in self.gpus)
        found = (self.expect.gpus.get(pci_id) for pci_id in ids)
        return tuple(dict.fromkeys(gpu for gpu in found if gpu is not None))

    def knowledge(self, slot: str | None) -> Gpu | None:
        """Catalog knowledge of the GPU at a PCI slot."""
        for gpu in self.gpus:
            if slot and _same_slot(str(gpu.get("slot")), slot):
                return self.expect.gpus.get(f"{NVIDIA}:{_hex(gpu.get('device'))}")
        return self.known_gpus[0] if len(self.known_gpus) == 1 else None

    @property
    def fabric_units(self) -> tuple[str, ...]:
        """Services that the host's fabric needs."""
        known = self.expect.fabrics.get(self.fabric)
        return known.services if known else ()

    @property
    def fabric_packages(self) -> tuple[str, ...]:
        """How the names of the packages of the fabric's manager begin."""
        known = self.expect.fabrics.get(self.fabric)
        rules = [rule for rules in known.packages.values() for rule in rules] if known else []
        return tuple({rule.names[0].removesuffix("-{b}") for rule in rules})

    @property
    def fabric(self) -> str:
        """How the GPUs are coupled: the stack's word, else the catalog's, else by the switches."""
        if self.stack is not None and self.stack.fabric != "none":
            return self.stack.fabric
        for gpu in self.known_gpus:
            if gpu.fabric != "none" and (self.switches or gpu.fabric != "fm"):
                return gpu.fabric
        return "fm" if self.switches else "none"

    # --- driver ------------------------------------------------------------------------------
    @property
    def kernel(self) -> str:
        """Release of the running kernel."""
        return str(mapping(self.observation.get("kernel")).get("target") or "")

    @property
    def driver(self) -> Mapping[str, Any]:
        """The observation's block about the driver."""
        return mapping(self.observation.get("driver"))

    @property
    def loaded(self) -> Mapping[str, Any]:
        """Loaded modules: version by name."""
        return mapping(mapping(self.observation.get("modules")).get("loaded"))

    @property
    def module_version(self) -> str | None:
        """Version of the nvidia module in the kernel; NVML's word where /proc is hidden."""
        nvml = self.answer("nvml")
        told = None if nvml.get("error") else nvml.get("driver")
        for value in (self.loaded.get("nvidia"), self.driver.get("proc_version"), told):
            found = VERSION.search(str(value or ""))
            if found:
                return found.group(0)
        return None

    @property
    def cannot_load(self) -> bool:
        """Whether no module can be loaded here: a container, or a kernel without modules."""
        kernel = mapping(self.observation.get("kernel"))
        return self.module_version is None and kernel.get("loads_modules") is False

    @property
    def modules_on_disk(self) -> tuple[Mapping[str, Any], ...]:
        """Driver modules on disk, for every kernel."""
        modules = mapping(self.observation.get("modules"))
        return tuple(map(mapping, sequence(modules.get("on_disk"))))

    @property
    def packages(self) -> Mapping[str, Mapping[str, Any]]:
        """Installed packages by name."""
        found = mapping(self.observation.get("packages"))
        return {name: mapping(package) for name, package in found.items()}

    @property
    def closure(self) -> tuple[str, ...]:
        """Name patterns of the packages that share the driver's version."""
        return (self.stack.version_locked if self.stack else ()) or self.expect.closure

    def forward_compatible(self, cuda: str) -> bool:
        """Whether the package that lets an older driver run this CUDA is on the host."""
        major, minor = major_minor(cuda)[:2]
        template = self.expect.compat_package
        return bool(template) and template.format(M=major, m=minor) in self.packages

    @property
    def toolkits(self) -> Mapping[str, str]:
        """CUDA toolkits on the host: path by version (``13.0``)."""
        found = {}
        for toolkit in map(
            mapping, sequence(mapping(self.observation.get("cuda")).get("toolkits"))
        ):
            path = str(toolkit.get("path") or "")
            version = str(toolkit.get("version") or path.rsplit("-", 1)[-1])
            found[".".join(version.split(".")[:2])] = path
        return found

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
        return mapping(self.probe.get(name))

    @property
    def nvml_gpus(self) -> tuple[Mapping[str, Any], ...]:
        """GPUs that NVML reported."""
        return tuple(map(mapping, sequence(self.answer("nvml").get("gpus"))))

    @property
    def proof(self) -> Mapping[str, Any]:
        """What the last full run left on the host."""
        return self.answer("proof")

    @property
    def proof_holds(self) -> bool:
        """Whether that proof was made in this boot, with this module and these GPUs."""
        now = self.answer("identity")
        return bool(self.proof.get("boot_id")) and all(
            self.proof.get(key) == now.get(key) for key in ("boot_id", "module", "gpus")
        )

    def tried(self, name: str) -> tuple[Mapping[str, Any], str | None]:
        """Give a block of the full tier, from this run or from a proof that still holds.

        Returns:
            the block (empty when there is none) and the time of the proof it was taken from.

        """
        if name in self.probe:
            return self.answer(name), None
        if self.proof_holds and name in self.proof:
            return mapping(self.proof[name]), str(self.proof.get("at"))
        return {}, None


def _hex(value: object) -> str:
    return str(value or "").lower().removeprefix("0x")


def _same_slot(one: str, other: str) -> bool:
    """Compare PCI addresses; the domain may be missing or longer."""
    return one.lower().split(":")[-2:] == other.lower().split(":")[-2:]


def failed_gpus(gpus: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """GPUs that NVML lists but cannot open."""
    return (gpu for gpu in gpus if gpu.get("error"))
