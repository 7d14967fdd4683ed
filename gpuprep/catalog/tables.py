"""The catalog as typed values: one class per kind of fact in ``nvidia.yml``.

Everything is frozen; nothing here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpuprep.model.value import Value
from gpuprep.model.versions import at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.catalog.kernels import KernelTable
    from gpuprep.model import Family, Flavour

Profile = Literal["full", "compute"]


class Range(Value, frozen=True):
    """Versions from ``first`` to ``last``, both included; None is an open end."""

    first: str | None
    last: str | None

    def __contains__(self, version: str) -> bool:
        return at_least(version, self.first) and at_most(version, self.last)

    def __str__(self) -> str:
        if self.last is None:
            return f"{self.first} and newer" if self.first else "all"
        return f"{self.first} to {self.last}" if self.first else f"up to {self.last}"


class Source(Value, frozen=True):
    """Where a fact comes from: title, URL or repository@commit (None: measured), ISO date."""

    id: str
    title: str
    at: str | None
    date: str


class Block(Value, frozen=True):
    """Provenance of one block of the data file: source ids and the date of the last check."""

    name: str
    sources: tuple[str, ...]
    checked: str


class Architecture(Value, frozen=True):
    """A GPU generation; ``order`` counts from the oldest.

    Attributes:
        name: lower case, ``volta``.
        flavours: kernel-module flavours that drive it.
        last_branch: last driver branch with support, None = all so far.
        cudnn: cuDNN releases with kernels for it.

    """

    name: str
    order: int
    flavours: tuple[Flavour, ...]
    last_branch: str | None
    cudnn: Range


class Datasheet(Value, frozen=True):
    """NVIDIA's own figures, dense and at boost clock; what burn-in bars are measured against.

    Attributes:
        bandwidth: memory bandwidth in GB/s.
        fp32: TFLOP/s in single precision, no tensor cores.
        bf16: TFLOP/s of the tensor cores in bfloat16 without sparsity; None where there is none.

    """

    bandwidth: float
    fp32: float
    bf16: float | None


class Mig(Value, frozen=True):
    """Multi-instance support: most instances, and the oldest driver for it."""

    instances: int
    min_driver: str


class Gpu(Value, frozen=True):
    """A GPU model.

    Attributes:
        id: PCI ids, ``10de:2236``.
        name: as NVIDIA calls it.
        arch: its generation.
        cc: compute capability, ``8.6``.
        cuda: toolkits that compile for it.
        memory_gb: memory per GPU.
        min_driver: oldest driver that knows it.
        open_since: oldest driver whose open modules know it.
        flavours: kernel-module flavours that drive it.
        fabric: ``none``, ``fm``, ``fm+nvlsm`` or ``imex``.
        mig: None without multi-instance support.
        host_arch: the only machine it is built into (``aarch64`` for Grace), None = any.
        datasheet: NVIDIA's figures; None when not recorded.
        guess: whether some of this was not seen in a document.

    """

    id: str
    name: str
    arch: Architecture
    cc: str
    cuda: Range
    memory_gb: int
    min_driver: str
    open_since: str
    flavours: tuple[Flavour, ...]
    fabric: str
    mig: Mig | None
    host_arch: str | None
    datasheet: Datasheet | None
    guess: bool


class Shape(Value, frozen=True):
    """An OCI shape with GPUs.

    Attributes:
        name: ``BM.GPU.H100.8``.
        gpu: PCI ids of its GPUs, None for other vendors'.
        gpu_name: model in words.
        count: GPUs in the host.
        gpu_memory_gb: memory per GPU.
        arch: ``x86_64`` or ``aarch64``.
        fabric: as ``Gpu.fabric``, judged for the shape.
        rdma: whether it sits on a cluster network.
        vendor: ``nvidia`` or ``amd``.
        guess: whether some of this was not seen in a document.

    """

    name: str
    gpu: str | None
    gpu_name: str
    count: int
    gpu_memory_gb: int
    arch: str
    fabric: str
    rdma: bool
    vendor: str
    guess: bool = False


class Branch(Value, frozen=True):
    """A driver branch.

    Attributes:
        name: ``580``.
        kind: ``lts``, ``pb`` (production), ``nfb`` (new feature) or ``unknown``.
        eol: end of life (ISO date), None = not announced.
        latest: newest release; ``<name>.0`` when none was seen.
        native_cuda: toolkit it was released with.
        max_major: highest CUDA major it runs without cuda-compat.
        proprietary: whether proprietary modules are packaged.
        pin: whether its pinning package was seen.
        note: what else is known, in words.

    """

    name: str
    kind: str
    eol: str | None
    latest: str
    native_cuda: str
    max_major: int
    proprietary: bool
    pin: bool
    note: str | None


class Toolkit(Value, frozen=True):
    """A CUDA release line (``13.0``): its releases, oldest first, and the driver it bundles."""

    version: str
    releases: tuple[str, ...]
    driver: str | None


class CudnnNames(Value, frozen=True):
    """Package names of a cuDNN series in one family; ``version`` is by CUDA major."""

    packages: tuple[str, ...]
    newest: tuple[str, ...]  # beside them, when the newest is wanted
    version: Mapping[int, str]


class CudnnSeries(Value, frozen=True):
    """cuDNN 8 or 9.

    Attributes:
        name: ``9``.
        releases: known releases, oldest first.
        cuda: CUDA majors, each with the releases that have a build for it.
        pinned: whether packages always need an exact version.
        names: package names by family.

    """

    name: str
    releases: tuple[str, ...]
    cuda: Mapping[int, Range]
    pinned: bool
    names: Mapping[Family, CudnnNames]


class Key(Value, frozen=True):
    """A signing key: its file in the repository, and what it is known by.

    Attributes:
        file: name of the file.
        fingerprint: 40 hex digits; None where only the file's checksum is known.
        sha256: of the file without its ``Version`` line, where the fingerprint is not known.

    """

    file: str
    fingerprint: str | None = None
    sha256: str | None = None


class System(Value, frozen=True):
    """An operating system.

    Attributes:
        name: ``ubuntu-24.04``.
        family: package format.
        distro: NVIDIA's directory name.
        arches: machines that NVIDIA has a directory for.
        key: key that signs the directory.
        names: rule set for driver package names.
        kernels: rule set for kernel headers.
        cuda: toolkits that NVIDIA's directory was seen to have.
        branches: driver branches that it has.
        dkms_from: packages that make dkms installable.
        gcc: major version of its default compiler, where the archive's compilers are known.
        gccs: major versions in its archive.
        glibc: version of its C library, None = not known.
        installs: whether the roles install it; else it is explained only.

    """

    name: str
    family: Family
    distro: str
    arches: tuple[str, ...]
    key: Key
    names: str
    kernels: str
    cuda: Range
    branches: Range
    dkms_from: tuple[str, ...]
    gcc: int | None = None
    gccs: tuple[int, ...] = ()
    glibc: str | None = None
    installs: bool = True


class DriverNames(Value, frozen=True):
    """Driver packages for a range of branches; names may hold ``{b}``."""

    branches: Range
    packages: Mapping[tuple[Flavour, Profile], tuple[str, ...]]
    stream: Mapping[Flavour, str]


class HeaderRule(Value, frozen=True):
    """Headers of kernels whose release matches ``match``; version template None = any."""

    match: str
    packages: Mapping[str, str | None]


class FabricNames(Value, frozen=True):
    """Fabric packages for a range of branches."""

    branches: Range
    names: tuple[str, ...]


class Fabric(Value, frozen=True):
    """What a GPU fabric needs on the host besides the driver; some of it from the distribution."""

    name: str
    services: tuple[str, ...]
    packages: Mapping[Family, tuple[FabricNames, ...]]
    from_distro: tuple[str, ...]
    kernel_modules: tuple[str, ...]


class ArchiveBranch(Value, frozen=True):
    """A driver branch in a distribution's archive.

    Attributes:
        version: what the archive has of it.
        module: file name of its kernel module.
        packages: by flavour and profile.
        mended: changes of kernels that the archive's own patches follow.

    """

    version: str
    module: str
    packages: Mapping[tuple[Flavour, Profile], tuple[str, ...]]
    mended: tuple[str, ...] = ()


class ModuleIndex(Value, frozen=True):
    """Where a host's package index says for which kernels an archive has modules.

    Attributes:
        files: pattern of the index files.
        prefix: beginning of the packages' names; the kernel's release is their end.
        driver: regular expression of the requirement that tells the driver's release.

    """

    files: str
    prefix: str
    driver: str


class Archive(Value, frozen=True):
    """The drivers of a distribution's own archive.

    Attributes:
        default: branch that ``auto`` takes.
        prefer: module flavour that ``auto`` takes where the GPUs leave a choice.
        branches: what it has.
        closure: names that must share the driver's version.
        own: names that only it has, beside NVIDIA's directories; empty = not known.
        became: the branch that a name of another branch installs.
        signed: prebuilt signed modules by flavour; empty = none.
        signed_parts: packages that they are put together from, by flavour.
        signed_names: name patterns of such packages for any driver and kernel.
        signed_kernels: kernel flavours (end of ``uname -r``) they exist for.
        signed_index: what says for which kernels there are some; None = there are none.
        signer: who signs them, as the modules say.
        dkms: module source packages where no signed module exists; empty = part of ``packages``.
        fabric: packages by fabric kind; other kinds are not in the archive.

    """

    default: str
    prefer: Flavour
    branches: Mapping[str, ArchiveBranch]
    closure: tuple[str, ...]
    own: tuple[str, ...]
    became: Mapping[str, str]
    signed: Mapping[Flavour, str]
    signed_parts: Mapping[Flavour, tuple[str, ...]]
    signed_names: tuple[str, ...]
    signed_kernels: tuple[str, ...]
    signed_index: ModuleIndex | None
    signer: str | None
    dkms: Mapping[Flavour, str]
    fabric: Mapping[str, tuple[str, ...]]


class VersionLockRules(Value, frozen=True):
    """Version locks of families that have such: the package that heeds them, and their lines.

    Attributes:
        package: what makes the package manager heed them.
        line: template of a line, of ``name``, ``epoch`` and ``version``.
        names: the names that are locked, each with the epochs that its packages may have.

    """

    package: str
    line: str
    names: tuple[tuple[str, tuple[int, ...]], ...]


class DriverRules(Value, frozen=True):
    """Facts about driver packages that hold for all branches."""

    names: Mapping[str, tuple[DriverNames, ...]]
    pin_package: str
    lock: VersionLockRules
    services: tuple[str, ...]
    module: str
    display_modules: tuple[str, ...]  # of the kernel, that nvidia-modeset and nvidia-drm need
    built_streams: tuple[str, ...]  # those whose modules are built on the host
    closure: Mapping[Family, tuple[str, ...]]
    open_kernel_min: str
    toolset: Mapping[Family, str]
    extra_modules: Mapping[Family, str]  # in words: what has modules that a kernel has not


class CudaRules(Value, frozen=True):
    """Facts about toolkits that hold for all releases."""

    driver_floor: Mapping[int, str]
    host_gcc: Mapping[str, int]
    host_glibc: Mapping[str, str]
    package: str
    compat_package: str
    closure: tuple[str, ...]
    version_form: Mapping[Family, str]

    def newest_gcc(self, toolkit: str) -> int | None:
        """Return the newest gcc major that nvcc of a toolkit accepts; None when unknown."""
        return next((gcc for upto, gcc in self.host_gcc.items() if at_most(toolkit, upto)), None)

    def newest_glibc(self, toolkit: str) -> str | None:
        """Return the newest glibc that the headers of a toolkit go with; None = no limit known."""
        limits = self.host_glibc.items()
        return next((glibc for upto, glibc in limits if at_most(toolkit, upto)), None)


class RepositoryRules(Value, frozen=True):
    """How NVIDIA's repositories are laid out."""

    base: str
    directory: str
    key_url: str
    arch_dir: Mapping[str, str]
    origin: str
    elsewhere: tuple[str, ...]  # patterns of host and path of NVIDIA's repositories
    revoked_keys: tuple[str, ...]
    keyring_file: str
    keyring_sha256: Mapping[str, str]
    rpm_repo_file: str
    builder: str  # package that builds modules
    builders: tuple[str, ...]  # ids of repositories that have what builds modules
    distributions: tuple[str, ...]  # ids of the distributions' repositories, which have not


class Installers(Value, frozen=True):
    """Conda installers: sha256 by release and machine."""

    default: str
    base: str
    url: str
    releases: Mapping[str, Mapping[str, str]]


class Framework(Value, frozen=True):
    """A framework wheel and the stack it bundles; the host needs only the driver."""

    name: str
    version: str
    cuda: str
    cudnn: str
    nccl: str
    min_driver: str
    trap: str | None
    arches: tuple[str, ...] = ()  # empty = nobody looked


class FaceswapVariant(Value, frozen=True):
    """A set of Python packages that Faceswap runs with.

    Attributes:
        name: ``cu130``.
        torch: the framework in it.
        machines: those for which the published wheel of it has CUDA.

    """

    name: str
    torch: Framework
    machines: tuple[str, ...]


class FaceswapRules(Value, frozen=True):
    """Faceswap, the release that is installed, and what it needs.

    Attributes:
        repository: where its source is published.
        commit: full id of the commit.
        python: minor release for its environment.
        pythons: minor releases that it accepts.
        glibc: oldest C library that its wheels run on.
        memory_mb: MiB of memory without which it trains nothing.
        space_mb: MiB that its environment takes while it is made.
        variants: in order of preference.

    """

    repository: str
    commit: str
    python: str
    pythons: Range
    glibc: str
    memory_mb: int
    space_mb: int
    variants: tuple[FaceswapVariant, ...]


class Catalog(Value, frozen=True):
    """All facts. Mappings keep the order of the data file."""

    as_of: str
    sources: Mapping[str, Source]
    blocks: Mapping[str, Block]
    architectures: Mapping[str, Architecture]
    gpus: Mapping[str, Gpu]
    unknown_is_like: str
    vendors: Mapping[str, str]
    nvswitches: Mapping[str, str]
    shapes: Mapping[str, Shape]
    amd_pattern: str
    branches: Mapping[str, Branch]
    channels: Mapping[str, tuple[str, ...]]
    default_channel: str
    releases_url: str
    toolkits: Mapping[str, Toolkit]
    cuda: CudaRules
    cudnn: Mapping[str, CudnnSeries]
    default_cudnn: str
    repositories: RepositoryRules
    systems: Mapping[str, System]
    headers: Mapping[str, tuple[HeaderRule, ...]]
    kernels: KernelTable
    driver: DriverRules
    fabrics: Mapping[str, Fabric]
    archives: Mapping[str, Archive]
    conda: Installers
    frameworks: tuple[Framework, ...]
    faceswap: FaceswapRules

    def cite(self, block: str) -> str:
        """Return the name of the first source of a block, for reasons: ``archmatrix``."""
        return self.blocks[block].sources[0]
