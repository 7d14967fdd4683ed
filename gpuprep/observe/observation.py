"""What a host said of itself, typed: the only reader of an observation.

The planner and the ladder ask these values, never the JSON that the host sent. A key that is
missing or holds the wrong type is an error of that host, told by :func:`read`. Questions that more
than one place asks (what is a GPU, which driver runs) are answered once, by the properties here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - the codec reads the annotations
from functools import cached_property
from typing import Any

from gpuprep.model import Family, Flavour, KernelHeaders  # noqa: TC001 - as above
from gpuprep.model.jobs import JobProgress, progress_of
from gpuprep.model.names import matches
from gpuprep.model.value import Value
from gpuprep.on_host.labels import is_confined

# Class codes of the PCI Code and ID Assignment Specification, as ``lspci -n`` prints them.
GPU_CLASSES = ("0300", "0302")  # VGA controller, 3D controller
NVSWITCH_CLASS = "0680"  # bridge of no standard kind; NVIDIA's PCIe bridges are 0604
_PROPRIETARY = "NVIDIA"  # modinfo's licence of proprietary modules; that of open ones names the GPL
_VERSION = re.compile(r"\d{3}\.\d+(?:\.\d+)?")


class OsRelease(Value, frozen=True):
    """Fields of ``/etc/os-release``."""

    id: str
    version_id: str
    codename: str = ""
    pretty: str = ""


class Machine(Value, frozen=True):
    """What tells a machine from its copies: its id, its process namespace and its hardware."""

    id: str = ""
    processes: str = ""
    hardware: str = ""


class Kernel(Value, frozen=True):
    """Kernels of a host.

    Attributes:
        running: release that runs now (``uname -r``).
        target: release that the driver is built for: the running one, or ``gpu_driver_kernel``.
        next_boot: release that the next boot starts, by the boot loader's default; None where no
            kernel is installed.
        headers: releases whose headers are there.
        compiler: CONFIG_CC_VERSION_TEXT of the target.
        shown: what headers show, by release; of those that are there.
        loads_modules: whether this host can load kernel modules; a container cannot.

    """

    running: str
    target: str
    next_boot: str | None = None
    headers: tuple[str, ...] = ()
    compiler: str | None = None
    shown: Mapping[str, KernelHeaders] = {}
    loads_modules: bool = True

    @property
    def waiting(self) -> str | None:
        """The release that the next boot starts, when it is not the running one."""
        following = self.next_boot
        return following if following and following != self.running else None

    @property
    def is_running(self) -> bool:
        """Whether the driver is built for the kernel that runs."""
        return self.target == self.running


class PciDevice(Value, frozen=True):
    """An NVIDIA device on the PCI bus; ``vendor``, ``device`` and ``pci_class`` in hexadecimal."""

    slot: str
    vendor: str
    device: str
    pci_class: str

    @property
    def id(self) -> str:
        """``vendor:device``, lower case."""
        return f"{self.vendor}:{self.device}".lower()


class DiskModule(Value, frozen=True):
    """A kernel module file; ``kernel``: whose directory holds it, ``signer``: as the file says."""

    kernel: str
    name: str
    path: str = ""
    version: str | None = None
    vermagic: str | None = None
    license: str | None = None
    signer: str | None = None


class ModuleRule(Value, frozen=True):
    """A line of modprobe's configuration, or a word of the kernel's command line."""

    path: str
    line: str


class Modules(Value, frozen=True):
    """Kernel modules.

    Attributes:
        loaded: version of NVIDIA's and nouveau's by name.
        on_disk: files of NVIDIA's.
        others: other modules by name: loaded, builtin, available or absent; None = not known.
        packaged: the package that has another module, where the kernel comes in several.
        rules: what modprobe and the kernel are told of NVIDIA's.

    """

    loaded: Mapping[str, str | None] = {}
    on_disk: tuple[DiskModule, ...] = ()
    others: Mapping[str, str | None] = {}
    packaged: Mapping[str, str] = {}
    rules: tuple[ModuleRule, ...] = ()


class Process(Value, frozen=True):
    """A process and the name of its command."""

    pid: int
    command: str


class LoadedDriver(Value, frozen=True):
    """What the loaded driver says of itself, its device nodes and who holds them."""

    proc_version: str | None = None
    flavour: Flavour | None = None
    device_nodes: tuple[str, ...] = ()
    holders: tuple[Process, ...] = ()


class BrokenPackage(Value, frozen=True):
    """A package that is neither whole nor absent."""

    name: str
    status: str


class LockHolder(Value, frozen=True):
    """A process that holds a lock of the package manager."""

    path: str
    pid: int
    command: str


class PackageRule(Value, frozen=True):
    """A rule of the package manager's own configuration, such as a preference or a pin.

    Attributes:
        path: file that holds it.
        names: package names that it is about, or patterns of them.
        pin: what of them it means, in the family's words: ``release o=NVIDIA``.
        priority: their priority; below zero, none of them may be installed.

    """

    path: str
    names: tuple[str, ...]
    pin: str
    priority: int


class RepositoryEntry(Value, frozen=True):
    """A repository that a file of the package manager's names.

    Attributes:
        path: the file.
        enabled: whether packages are taken from it.
        addresses: where it is; words such as ``$ociregion`` are as they stand.
        excludes: patterns of packages that are not taken from it.
        includes: patterns of the only packages that are; empty = all.

    """

    path: str
    enabled: bool
    addresses: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()

    def gives(self, name: str) -> bool:
        """Return whether a package of this name is taken from it, if it is there."""
        hidden = matches(name, self.excludes) or (
            self.includes and not matches(name, self.includes)
        )
        return self.enabled and not hidden


class PackageManager(Value, frozen=True):
    """State of the package manager.

    Attributes:
        family: package family.
        broken: packages that are neither whole nor absent.
        locks: who works on packages.
        indexes: names of its index files.
        sources: addresses of its repositories by the file that names them.
        rules: rules by which it prefers or forbids packages, in the order that they apply.
        version_locks: raw lines of its version lock, ours included.
        streams: enabled stream by module.
        repositories: what its files name, by id.
        ready: packages of its index with ready modules for this host's kernels, each with the
            driver releases that they are of; None = no index was looked into.

    """

    family: Family
    broken: tuple[BrokenPackage, ...] = ()
    locks: tuple[LockHolder, ...] = ()
    indexes: tuple[str, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = {}
    rules: tuple[PackageRule, ...] = ()
    version_locks: tuple[str, ...] = ()
    streams: Mapping[str, str] = {}
    repositories: Mapping[str, RepositoryEntry] = {}
    ready: Mapping[str, tuple[str, ...]] | None = None


class InstalledPackage(Value, frozen=True):
    """A package that the package manager knows.

    Attributes:
        version: full version; None for one that is only known by name.
        status: ``installed``, or the package manager's word for anything else.
        hold: whether it is held at its version.
        depends: requirements, in the family's own notation.
        provides: what it provides, in the same notation.

    """

    version: str | None
    status: str
    hold: bool = False
    depends: str = ""
    provides: str = ""


class WrongLabel(Value, frozen=True):
    """An SELinux label whose type is not the policy's for that path, and the one that is."""

    label: str
    wanted: str


class Denial(Value, frozen=True):
    """Something that SELinux denied to a program, or would deny when it enforced its policy.

    Attributes:
        program: name of its process.
        permission: what it wanted to do: ``execute``, ``read open``.
        kind: class of the target: ``file``, ``chr_file``.
        target: path, or what else is known of it.
        count: how often it was seen.
        initramfs: whether an initramfs that was made meanwhile may lack something for it.

    """

    program: str
    permission: str
    kind: str
    target: str
    count: int = 1
    initramfs: bool = False


class Selinux(Value, frozen=True):
    """SELinux on a host.

    Attributes:
        mode: ``enforcing``, ``permissive`` or ``disabled``.
        policy: name of the policy, such as ``targeted``.
        context: what the observing program ran as.
        denials: what was denied to programs of the driver, to those that handle kernel modules or
            make the initramfs, and at conda's prefix since the boot.

    """

    mode: str = "disabled"
    policy: str = ""
    context: str = ""
    denials: tuple[Denial, ...] = ()

    @property
    def is_confined(self) -> bool:
        """Whether we run in a role of ordinary users, whom the policy keeps from administration."""
        return bool(is_confined(self.mode, self.context))


class FileFacts(Value, frozen=True):
    """A path; ``sha256`` only of regular files up to 1 MiB."""

    kind: str  # file, directory, link or special
    mode: str
    owner: str
    group: str
    target: str | None = None
    sha256: str | None = None
    wrong_label: WrongLabel | None = None


class Unit(Value, frozen=True):
    """State of a systemd unit."""

    exists: bool = False
    enabled: bool = False
    active: bool = False
    masked: bool = False


class Toolkit(Value, frozen=True):
    """A CUDA toolkit below ``/usr/local``; ``release`` as its own version file says, if it does."""

    path: str
    nvcc: bool
    version: str | None = None

    @property
    def line(self) -> str:
        """Major and minor version: what its version file says, else its directory's name."""
        told = self.version or self.path.rpartition("-")[2]
        return ".".join(told.split(".")[:2])


class Alternative(Value, frozen=True):
    """A link group of the alternatives system."""

    mode: str | None = None
    value: str | None = None


class Cuda(Value, frozen=True):
    """Toolkits found, and where ``/usr/local/cuda`` leads."""

    toolkits: tuple[Toolkit, ...] = ()
    default: str | None = None
    alternative: Alternative = Alternative()


class Cudnn(Value, frozen=True):
    """cuDNN's version in its header and in the names of its libraries."""

    header_version: str | None = None
    library_versions: tuple[str, ...] = ()


class CondaEnvironment(Value, frozen=True):
    """An environment: ``packages`` is version and build by name, ``marker`` our note.

    Where a lock of Python packages made it, ``python_packages`` is version by name of what pip sees
    and ``python_marker`` our note of that.
    """

    path: str = ""
    packages: Mapping[str, str] = {}
    marker: Mapping[str, Any] | None = None
    python_packages: Mapping[str, str] = {}
    python_marker: Mapping[str, Any] | None = None


class Account(Value, frozen=True):
    """A user: its home, shell and group, and the modes of its own folders."""

    uid: int = 0
    home: str = ""
    shell: str = ""
    group: str = ""
    folders: Mapping[str, str] = {}


class Checkout(Value, frozen=True):
    """A checkout of a workload's source: its commit, and whether it is as it was left."""

    commit: str
    intact: bool = False


class Conda(Value, frozen=True):
    """The installation at a prefix; ``envs`` by name, ``broken``: others in ``envs/``.

    ``wrong_labels``: SELinux labels by path that are not the policy's, where they show it best.
    """

    prefix: str | None = None
    exists: bool = False
    complete: bool = False
    version: str | None = None
    packages: Mapping[str, str] = {}
    marker: Mapping[str, Any] | None = None
    envs: Mapping[str, CondaEnvironment] = {}
    broken: tuple[str, ...] = ()
    wrong_labels: Mapping[str, WrongLabel] = {}


class Firewall(Value, frozen=True):
    """What the packet filter does with what comes in.

    Attributes:
        rule: what rejects whatever no rule before it accepts; None = nothing is rejected.
        accepts: networks from which everything is accepted.

    """

    rule: str | None = None
    accepts: tuple[str, ...] = ()


class Space(Value, frozen=True):
    """Free space at a path: MiB for ordinary writers, and the device that its file system is on.

    Paths with one ``device`` share what is free.
    """

    free_mb: int
    device: int


class OfOneHost(Value, frozen=True, kw_only=True):
    """What even hosts that are equal in all else do not have in common.

    Attributes:
        space: free space by path.
        initramfs_mb: sizes of the target kernel's initial RAM disks, by path.
        timings: seconds by what was looked at.

    """

    hostname: str = ""
    boot_id: str = ""
    machine: Machine = Machine()
    space: Mapping[str, Space] = {}
    initramfs_mb: Mapping[str, int] = {}
    jobs: Mapping[str, Any] = {}
    probe: Mapping[str, Any] = {}
    timings: Mapping[str, float] = {}

    @property
    def by_name(self) -> dict[str, Any]:
        """All of it, by the names of the fields."""
        return {name: getattr(self, name) for name in OfOneHost.__struct_fields__}


class HostObservation(OfOneHost, frozen=True, kw_only=True, dict=True):
    """Everything that one round trip told of a host.

    Attributes:
        initramfs: initial RAM disk that the target kernel boots, with those of modprobe's files
            that were written after it.
        alike: the host's own text of all that is not :class:`OfOneHost`: the same for hosts that
            are the same in that; empty where it did not come as one.

    """

    uid: int
    os: OsRelease
    arch: str
    kernel: Kernel
    package_manager: PackageManager
    system_gcc: int | None = None
    pci: tuple[PciDevice, ...] = ()
    modules: Modules = Modules()
    driver: LoadedDriver = LoadedDriver()
    packages: Mapping[str, InstalledPackage] = {}
    files: Mapping[str, FileFacts | None] = {}
    keys: Mapping[str, tuple[str, ...]] = {}
    units: Mapping[str, Unit] = {}
    cuda: Cuda = Cuda()
    cudnn: Cudnn = Cudnn()
    conda: Conda = Conda()
    selinux: Selinux = Selinux()
    secure_boot: bool = False
    mok_enrolled: bool = False
    first_boot: str | None = None  # what cloud-init is doing; None = nothing, or this itself
    firewall: Firewall | None = None  # None = not looked at, or not known
    runfile: bool = False
    commands: Mapping[str, bool] = {}
    memory_mb: int | None = None
    accounts: Mapping[str, Account | None] = {}
    checkouts: Mapping[str, Checkout | None] = {}
    initramfs: Mapping[str, tuple[str, ...]] = {}
    alike: str = ""

    @cached_property
    def job_progress(self) -> tuple[JobProgress, ...]:
        """Where each job of a workload is."""
        return tuple(progress_of(name, told) for name, told in sorted(self.jobs.items()))

    @cached_property
    def gpus(self) -> tuple[PciDevice, ...]:
        """NVIDIA GPUs on the PCI bus."""
        return tuple(d for d in self.pci if d.pci_class.startswith(GPU_CLASSES))

    @cached_property
    def nvswitches(self) -> tuple[PciDevice, ...]:
        """NVSwitch chips on the PCI bus."""
        return tuple(d for d in self.pci if d.pci_class.startswith(NVSWITCH_CLASS))

    @cached_property
    def running_driver(self) -> str | None:
        """Version of the driver that is loaded, None when none is."""
        for told in (self.driver.proc_version, self.modules.loaded.get("nvidia")):
            found = _VERSION.search(told or "")
            if found:
                return found.group(0)
        return None

    @cached_property
    def driver_flavour(self) -> Flavour | None:
        """Flavour of the driver that is loaded, else of its module on disk; None: nothing tells."""
        if self.driver.flavour:
            return self.driver.flavour
        told = next((m.license for m in self.modules.on_disk if m.license), None)
        if told is None:
            return None
        return "proprietary" if told == _PROPRIETARY else "open"

    @property
    def identity(self) -> tuple[str, ...] | None:
        """The same for two names only if both are one running machine; None when it is unknown."""
        if not self.boot_id:
            return None
        machine = self.machine
        return (self.boot_id, self.hostname, machine.id, machine.processes, machine.hardware)

    def is_installed(self, name: str) -> bool:
        """Return whether a package is completely installed."""
        package = self.packages.get(name)
        return package is not None and package.status == "installed"
