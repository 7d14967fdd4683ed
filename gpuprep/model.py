"""The values that travel along the road: facts -> stack -> plan -> result.

All are frozen and free of behaviour beyond small derived properties. ``to_dict`` gives plain
JSON types; its keys are part of the public contract (``report.json``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from gpuprep.errors import ExitCode, HostsFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

Component = Literal["driver", "cuda", "cudnn", "conda"]
COMPONENTS: tuple[Component, ...] = ("driver", "cuda", "cudnn", "conda")
ROLE_OF: Mapping[Component, str] = {
    "driver": "gpu_driver",
    "cuda": "cuda_toolkit",
    "cudnn": "cudnn",
    "conda": "conda",
}
Flavour = Literal["open", "proprietary"]


# --- what the resolver is given -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostState:
    """Findings on a host that can forbid an installation."""

    runfile: bool = False
    secure_boot: bool = False
    mok_enrolled: bool = False
    newest_kernel: str | None = None  # newest installed kernel release; None = the running one


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the resolver must know of a host; the keys of a facts file.

    Attributes:
        gpus: PCI ids, lower case ``vendor:device`` (``10de:2236``), one entry per device.
        os: ``<id>-<version>`` in the catalog's spelling: ``debian-12``, ``ubuntu-24.04``, ``ol-9``.
        arch: machine as ``uname -m`` says: ``x86_64`` or ``aarch64``.
        kernel: release the module is built for (``uname -r``), None when unknown.
        kernel_cc: CONFIG_CC_VERSION_TEXT of that kernel.
        system_gcc: major version of the host's default gcc.
        shape: OCI shape, None outside OCI.
        nvswitches: NVSwitch PCI devices found.

    """

    gpus: tuple[str, ...]
    os: str
    arch: str = "x86_64"
    kernel: str | None = None
    kernel_cc: str | None = None
    system_gcc: int | None = None
    shape: str | None = None
    nvswitches: int = 0
    state: HostState = HostState()


@dataclass(frozen=True, slots=True)
class DesiredStack:
    """What the user wants on a host. ``auto`` lets the catalog decide; see the roles' READMEs.

    Attributes:
        components: the parts that are wanted at all.
        source: ``nvidia`` (NVIDIA's repository) or ``distro`` (the distribution's archive).
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
        locked: exact versions of NVIDIA's packages by name, from a lock file; None = not locked.

    """

    components: tuple[Component, ...] = COMPONENTS
    source: Literal["nvidia", "distro"] = "nvidia"
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


# --- what the resolver answers ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """A coded refusal or warning. Codes are stable: ``E_*`` refuses, ``W_*`` warns."""

    code: str
    message: str
    nearest: str | None = None  # the nearest stack that would work, or why none does, in words
    wishes: tuple[str, ...] = ()  # fields of DesiredStack that clash; empty: the host forbids it


class Refusal(Message):
    """The host must not be touched."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the resolver chose a value, e.g. ``flavour`` = ``proprietary``: "last for Volta"."""

    choice: str
    value: str
    why: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Package:
    """A package that must be present.

    Attributes:
        name: as the package manager knows it.
        component: the part of the stack it belongs to.
        version: exact version (package manager's form) or None: any that the stack allows.
        first: installed in a transaction of its own before the others (pinning packages).
        origin: ``nvidia`` (its repository) or ``distro`` (the distribution's own).

    """

    name: str
    component: Component
    version: str | None = None
    first: bool = False
    origin: Literal["nvidia", "distro"] = "nvidia"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs a repository: where to get it, and its 40-digit fingerprint."""

    url: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A package repository.

    Attributes:
        url: directory that holds the index; ends with ``/``.
        family: ``deb`` (flat repository, suite ``/``) or ``rpm``.
        key: the key it must be signed with.

    """

    url: str
    family: Literal["deb", "rpm"]
    key: SigningKey


@dataclass(frozen=True, slots=True)
class CondaInstaller:
    """A self-extracting conda installer: version, URL, sha256 (hex)."""

    version: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CudaToolkit:
    """One CUDA toolkit: ``13.0`` at ``/usr/local/cuda-13.0``.

    Attributes:
        version: major and minor.
        package: the meta-package that brings it, and no driver.
        closure: fnmatch patterns of the packages it is made of; ``!`` takes out again.

    """

    version: str
    package: str
    closure: tuple[str, ...] = ()

    @property
    def major(self) -> int:
        """CUDA major version."""
        return int(self.version.split(".")[0])


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that fits a host. Parts that are not wanted are None or empty.

    Attributes:
        family: ``deb`` or ``rpm``.
        branch: driver branch; of the kept driver when ``keep_driver`` was given.
        driver_version: exact driver version when one was asked for or locked, else None
            (the newest of the branch that the repository offers).
        manage_driver: False when a present driver is kept or none is wanted.
        flavour: kernel-module flavour.
        source: repository the driver comes from.
        fabric: ``none``, ``fm``, ``fm+nvlsm`` or ``imex``.
        cuda: toolkits, default first.
        cudnn: full version when fixed, else series (``9``).
        stream: dnf module stream.
        lock: dnf versionlock pattern.
        repository: NVIDIA's repository or its mirror.
        packages: everything to install, in order.
        holds: packages to hold beside the driver closure.
        closure: name patterns (fnmatch; ``!`` takes out again) of packages that must share the
            driver's version.
        rivals: name patterns of packages that must go: those of the other flavour.
        pin: apt preferences text when no pinning package exists, else None.
        services: systemd units that must be enabled and running.
        dkms_toolset: gcc toolset DKMS must use.
        module: name of the driver's kernel module for modinfo; Debian's archive has its own.
        kernel_modules: other kernel modules to load at boot, before the services.
        conda: installer.
        reasons: why each value was chosen.
        warnings: coded warnings.
        exact: version by name of all packages of NVIDIA's that a lock file fixes.

    """

    family: Literal["deb", "rpm"]
    branch: str | None = None
    driver_version: str | None = None
    manage_driver: bool = True
    flavour: Flavour | None = None
    source: Literal["nvidia", "distro"] = "nvidia"
    fabric: str = "none"
    cuda: tuple[CudaToolkit, ...] = ()
    cudnn: str | None = None
    stream: str | None = None
    lock: str | None = None
    repository: Repository | None = None
    packages: tuple[Package, ...] = ()
    holds: tuple[str, ...] = ()
    closure: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    pin: str | None = None
    services: tuple[str, ...] = ()
    dkms_toolset: str | None = None
    module: str = "nvidia"
    kernel_modules: tuple[str, ...] = ()
    conda: CondaInstaller | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Message, ...] = ()
    exact: Mapping[str, str] = field(default_factory=dict)


# --- what is to be done ---------------------------------------------------------------------


class StepStatus(StrEnum):
    """Where a step stands."""

    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """One difference between a host and its desired state.

    Attributes:
        id: stable name, ``<role>.<kind>.<object>``: ``gpu_driver.package.nvidia-open-580``.
        role: role that carries it out.
        kind: ``package``, ``hold``, ``file``, ``unit``, ``module``, ``reboot``, ...
        target: the object: package name, path, unit.
        action: ``install``, ``remove``, ``change``, ``rebuild``, ...
        reason: why, in words.
        before: what is there; None = nothing.
        after: what will be there; None = nothing.

    """

    id: str
    role: str
    kind: str
    target: str
    action: str
    reason: str
    before: str | None = None
    after: str | None = None
    status: StepStatus = StepStatus.PLANNED


class HostStatus(StrEnum):
    """State of a host in a result.

    ``ready`` is proven on a GPU; ``prepared`` is all that can be shown without one.
    """

    READY = "ready"
    PREPARED = "prepared"
    DRIFTED = "drifted"
    FAILED = "failed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


class CheckStatus(StrEnum):
    """Outcome of one rung of the ladder."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One rung tried on one host.

    Attributes:
        id: stable id of the check.
        status: outcome.
        detail: one sentence: what was found, or why the rung was skipped.
        expected: what had to be seen.
        observed: what was seen.
        evidence: command or file, and what it said.
        mend: what to do when it failed.
        seconds: time the rung took on the host.

    """

    id: str
    status: CheckStatus
    detail: str
    expected: str | None = None
    observed: str | None = None
    evidence: str | None = None
    mend: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HostResult:
    """What happened to one host."""

    name: str
    state: HostStatus
    changed: bool = False
    steps: tuple[Step, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    error: str | None = None
    code: str | None = None  # E_* of a refusal
    warnings: tuple[Message, ...] = ()
    stack: Stack | None = None
    facts: HostFacts | None = None
    versions: Mapping[str, str] = field(
        default_factory=dict
    )  # driver, cuda, cudnn, conda: as found
    reboot_required: bool = False

    @property
    def ok(self) -> bool:
        """Whether the host is as far as it can be: proven, or prepared with no GPU to prove on."""
        return self.state in {HostStatus.READY, HostStatus.PREPARED}

    @property
    def unproven(self) -> bool:
        """Whether nothing went wrong on the way and yet the host is not shown to be fit."""
        if self.state is not HostStatus.FAILED:
            return self.state is HostStatus.DRIFTED
        finished = {StepStatus.DONE, StepStatus.PLANNED}
        return all(step.status in finished for step in self.steps) and any(
            check.status is CheckStatus.FAILED for check in self.checks
        )


@dataclass(frozen=True, slots=True)
class FleetResult:
    """What happened to a fleet.

    Attributes:
        verb: ``plan``, ``apply``, ``verify`` or ``status``.
        hosts: results by host name, in inventory order.
        check: True when nothing was to be changed (``--check``).
        cancelled: stopped by the user or a time limit.
        started: start, ISO 8601 UTC.
        seconds: wall time.
        counts: load-independent costs: ``host_tasks``, ``round_trips``.

    """

    verb: str
    hosts: Mapping[str, HostResult]
    check: bool = False
    cancelled: bool = False
    started: str = ""
    seconds: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether any host was changed (or would be, with ``check``)."""
        return any(host.changed for host in self.hosts.values())

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the command line for this result."""
        if self.cancelled:
            return ExitCode.CANCELLED
        hosts = self.hosts.values()
        good = {HostStatus.READY, HostStatus.PREPARED}
        if self.verb == "plan" or self.check:
            good |= {HostStatus.DRIFTED, HostStatus.UNKNOWN}
        bad = [host for host in hosts if host.state not in good]
        if not bad:
            return ExitCode.OK
        if all(host.code == "E_LOCKED" for host in bad):
            return ExitCode.LOCKED
        if self.verb in {"apply", "verify", "status"} and all(host.unproven for host in bad):
            return ExitCode.NOT_PROVEN
        return ExitCode.ALL_HOSTS_FAILED if len(bad) == len(hosts) else ExitCode.SOME_HOSTS_FAILED

    def raise_for_status(self) -> FleetResult:
        """Return self when every host is ok, else raise.

        Raises:
            HostsFailedError: carrying this result.

        """
        if self.exit_code is not ExitCode.OK:
            raise HostsFailedError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give the whole result as JSON types; the content of ``report.json``."""
        data = asdict(self)
        data["schema"] = 1
        data["exit_code"] = int(self.exit_code)
        return data
