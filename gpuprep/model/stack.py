"""The stack that is asked for, and the stack that fits a host."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads the annotations
from typing import Literal

from gpuprep.model.names import matches
from gpuprep.model.states import Family  # noqa: TC001 - as above
from gpuprep.model.value import Value

Flavour = Literal["open", "proprietary"]


class DesiredStack(Value, frozen=True):
    """What the user wants on a host. ``auto`` lets the catalog decide; see the roles' READMEs.

    Attributes:
        components: names of the components that are wanted; None = all.
        source: ``nvidia`` (NVIDIA's repository), ``distro`` (the distribution's archive), ``auto``.
        channel: driver line that ``branch: auto`` follows: ``lts`` or ``pb``.
        branch: driver branch (``580``) or ``auto``.
        version: full driver version (``580.95.05``) or ``auto``; implies the branch.
        flavour: ``open``, ``proprietary`` or ``auto``.
        profile: ``full`` or ``compute`` (no display libraries).
        keep_driver: version of an installed driver that must stay; None = gpuprep owns it.
        cuda: toolkit versions (``13.0``), empty = auto.
        cuda_default: which of them /usr/local/cuda shows; None = the newest.
        cudnn: series (``9``), full version (``9.10.2.21``) or ``auto``.
        forward_compat: allow cuda-compat for a toolkit newer than the driver's major.
        allow_eol: accept branches past their end of life without refusing.
        allow_unknown_gpu: treat an unlisted NVIDIA GPU as one of the newest architecture.
        as_of: date (ISO) that end-of-life warnings are judged by; None = today.
        mirror: base URL that replaces NVIDIA's ``.../compute/cuda/repos``; None = NVIDIA's own.
        mirror_fingerprint: 40 hex digits of the key that signs the mirror; None = NVIDIA's.
        conda_version: installer version or ``auto``.
        conda_mirror: base URL that replaces Miniforge's ``.../releases/download``; None = theirs.
        conda_sha256: checksum of the installer when it differs from the catalog's; else None.
        locked: exact versions of packages by name, from a lock file; None = not locked.
        faceswap_variant: set of Python packages (``cu130``) or ``auto``.
        faceswap_backend: what Faceswap computes on: ``nvidia``, ``cpu`` or ``auto``.
        faceswap_python: minor release of Python for its environment, or ``auto``.
        faceswap_commit: full id of the commit of its source, or ``auto``.

    """

    components: tuple[str, ...] | None = None
    source: Literal["auto", "nvidia", "distro"] = "auto"
    channel: Literal["lts", "pb"] = "lts"
    branch: str = "auto"
    version: str = "auto"
    flavour: str = "auto"
    profile: Literal["full", "compute"] = "full"
    keep_driver: str | None = None
    cuda: tuple[str, ...] = ()
    cuda_default: str | None = None
    cudnn: str = "auto"
    forward_compat: bool = False
    allow_eol: bool = True
    allow_unknown_gpu: bool = False
    as_of: str | None = None
    mirror: str | None = None
    mirror_fingerprint: str | None = None
    conda_version: str = "auto"
    conda_mirror: str | None = None
    conda_sha256: str | None = None
    locked: Mapping[str, str] | None = None
    faceswap_variant: str = "auto"
    faceswap_backend: Literal["auto", "nvidia", "cpu"] = "auto"
    faceswap_python: str = "auto"
    faceswap_commit: str = "auto"


class Message(Value, frozen=True):
    """A coded refusal or warning. Codes are stable: ``E_*`` refuses, ``W_*`` warns."""

    code: str
    message: str
    nearest: str | None = None  # without the settings: the stack, or why there is none, in words
    settings: tuple[str, ...] = ()  # fields of DesiredStack that clash; empty: the host forbids it


class Refusal(Message, frozen=True):
    """The host must not be touched."""


class Reason(Value, frozen=True):
    """Why the resolver chose a value, e.g. ``flavour`` = ``proprietary``: "last for Volta"."""

    choice: str
    value: str
    why: str
    source: str | None = None


class Package(Value, frozen=True):
    """A package that must be present.

    Attributes:
        name: as the package manager knows it.
        component: the component it belongs to.
        version: exact version (package manager's form) or None: any that the stack allows.
        pre_install: installed in a transaction of its own before the others (with rpm also what the
            kernel module is built with; pinning packages come along where they decide nothing).
        origin: ``nvidia`` (its repository) or ``distro`` (the distribution's own).

    """

    name: str
    component: str
    version: str | None = None
    pre_install: bool = False
    origin: Literal["nvidia", "distro"] = "nvidia"


class SigningKey(Value, frozen=True):
    """The key that signs a repository: where to get it, and what it is known by.

    Attributes:
        url: address of its file.
        fingerprint: 40 hex digits; None where only the file's checksum is known.
        sha256: of the file without its ``Version`` line, where the fingerprint is not known.

    """

    url: str
    fingerprint: str | None = None
    sha256: str | None = None

    @property
    def identity(self) -> str:
        """What it is known by: the fingerprint, or ``sha256:`` and the file's checksum."""
        return self.fingerprint or f"sha256:{self.sha256}"


class Repository(Value, frozen=True):
    """A package repository.

    Attributes:
        url: directory that holds the index; ends with ``/``.
        family: format of its packages.
        key: the key it must be signed with.
        origin: what its index says of where it comes from.
        elsewhere: patterns of host and path of other places with packages of the same names.

    """

    url: str
    family: Family
    key: SigningKey
    origin: str = ""
    elsewhere: tuple[str, ...] = ()


class Pin(Value, frozen=True):
    """A rule by which the package manager prefers or avoids packages.

    Attributes:
        names: name patterns (fnmatch) of the packages.
        prefer: True: this version, also when another is newer; False: never from there.
        version: upstream version, where one is meant.
        branch: driver branch, where one is meant.
        origin: label of the repository, where one is meant.

    """

    names: tuple[str, ...]
    prefer: bool = True
    version: str | None = None
    branch: str | None = None
    origin: str | None = None


class CondaInstaller(Value, frozen=True):
    """A self-extracting conda installer: version, URL, sha256 (hex)."""

    version: str
    url: str
    sha256: str


class CudaToolkit(Value, frozen=True):
    """One CUDA toolkit: ``13.0`` at ``/usr/local/cuda-13.0``.

    Attributes:
        version: major and minor.
        package: the meta-package that brings it, and no driver.
        names: fnmatch patterns of the packages it is made of; ``!`` takes out again.

    """

    version: str
    package: str
    names: tuple[str, ...] = ()

    @property
    def major(self) -> int:
        """CUDA major version."""
        return int(self.version.split(".")[0])


class Faceswap(Value, frozen=True):
    """Faceswap as it fits a host.

    Attributes:
        variant: set of Python packages: ``cu130``.
        backend: what it computes on: ``nvidia`` or ``cpu``.
        torch: version of the framework in the set.
        python: minor release of Python.
        repository: where its source is published.
        commit: full id of the commit of its source.
        lock: SHA-256 of the lock that the set is installed from, as this release has it.

    """

    variant: str
    backend: Literal["nvidia", "cpu"]
    torch: str
    python: str
    repository: str
    commit: str
    lock: str


class Stack(Value, frozen=True):
    """A stack that fits a host. What is not wanted is None or empty.

    Attributes:
        family: package family of the host.
        branch: driver branch; of the kept driver when ``keep_driver`` was given.
        driver_version: exact driver version when one was asked for or locked, else None
            (the newest of the branch that the repository offers).
        manage_driver: False when a present driver is kept or none is wanted.
        oldest_driver: oldest release of the branch that builds on the host's kernel; None: all.
        flavour: kernel-module flavour.
        source: repository the driver comes from.
        fabric: ``none``, ``fm``, ``fm+nvlsm`` or ``imex``.
        cuda: toolkits, default first.
        cudnn: full version when fixed, else series (``9``).
        stream: module stream, where the package manager has them.
        version_locks: raw lines of its version lock, where it has one.
        repository: NVIDIA's repository or its mirror.
        packages: everything to install, in order.
        holds: packages to hold beside those of the driver.
        version_locked: name patterns (fnmatch; ``!`` takes out again) of packages that must
            share the driver's version.
        conflicting: name patterns of packages that must go: those of the other flavour.
        elsewhere: name patterns of packages that must go: those of another source of drivers.
        stale: name patterns of packages that must go with their configuration: pins.
        pins: rules for what no pinning package holds.
        services: systemd units that must be enabled and running.
        unwanted_services: units that a package starts by itself, and that must not run.
        dkms_toolset: gcc toolset DKMS must use.
        module: name of the driver's kernel module for modinfo; Debian's archive has its own.
        ready: packages with ready modules by kernel; empty = modules are built on the host.
        signer: who must have signed the modules; None = whoever.
        kernel_modules: other kernel modules to load at boot, before the services.
        conda: installer.
        faceswap: the workload Faceswap.
        reasons: why each value was chosen.
        warnings: coded warnings.
        exact: version by name of all packages that a lock file fixes.
        present: version by name of the driver's packages that are on the host, where the
            distribution's archive gives them: what a lock file fixes.
        versions: desired version by component, as people read it.

    """

    family: Family
    branch: str | None = None
    driver_version: str | None = None
    oldest_driver: str | None = None
    manage_driver: bool = True
    flavour: Flavour | None = None
    source: Literal["nvidia", "distro"] = "nvidia"
    fabric: str = "none"
    cuda: tuple[CudaToolkit, ...] = ()
    cudnn: str | None = None
    stream: str | None = None
    version_locks: tuple[str, ...] = ()
    repository: Repository | None = None
    packages: tuple[Package, ...] = ()
    holds: tuple[str, ...] = ()
    version_locked: tuple[str, ...] = ()
    conflicting: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    pins: tuple[Pin, ...] = ()
    services: tuple[str, ...] = ()
    unwanted_services: tuple[str, ...] = ()
    dkms_toolset: str | None = None
    module: str = "nvidia"
    ready: Mapping[str, str] = {}
    signer: str | None = None
    kernel_modules: tuple[str, ...] = ()
    conda: CondaInstaller | None = None
    faceswap: Faceswap | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Message, ...] = ()
    exact: Mapping[str, str] = {}
    present: Mapping[str, str] = {}
    versions: Mapping[str, str] = {}

    @property
    def archive_driver(self) -> tuple[str, ...]:
        """Names of the driver's packages that the distribution's archive is to give, in order."""
        if self.source != "distro" or not self.manage_driver:
            return ()
        own = [p.name for p in self.packages if p.component == "driver" and p.origin == "distro"]
        return tuple(name for name in own if matches(name, self.version_locked))
