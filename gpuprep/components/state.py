"""What a role has to establish on a host, and the operations that do it.

Operations are plain JSON: the program on the host carries them out, stage by stage (see
``gpuprep/on_host``). A role has one task per stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gpuprep.catalog.rules import host_rules
from gpuprep.model import StepKind
from gpuprep.model.plain import plain
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuprep.model import CondaInstaller, Environment, ManagedFile

Operation: TypeAlias = "Mapping[str, Any]"

CLOUD_INIT: Final = "/run/cloud-init"  # where it says how far it is

# Operations of these kinds find out by themselves that there is nothing to do.
SAFE_TO_REPEAT: Final = frozenset(
    {
        *(StepKind.PACKAGE, StepKind.HOLD, StepKind.UNIT, StepKind.ENVIRONMENT),
        *(StepKind.ACCOUNT, StepKind.CHECKOUT, StepKind.PYTHON_PACKAGES),
    }
)


class EnvironmentState(Value, frozen=True):
    """A desired conda environment; ``cuda``: the driver's, to solve it for, None = as conda sees.

    Builds for CUDA are chosen only where conda sees a driver, and the first time none runs yet.
    """

    environment: Environment
    cuda: str | None = None


class CondaState(Value, frozen=True):
    """The desired conda installation.

    Attributes:
        prefix: where it lives.
        installer: what makes it.
        is_new: nothing is at the prefix yet.
        environments: desired environments.

    """

    prefix: str
    installer: CondaInstaller
    is_new: bool
    environments: tuple[EnvironmentState, ...] = ()


class WorkloadState(Value, frozen=True):
    """A desired workload: its user, environment, Python packages, source, and that it starts.

    Attributes:
        conda_prefix: where conda lives.
        environment: what its environment is made of.
        account: operation that makes its user.
        python_lock: operation that installs its Python packages.
        checkout: operation that checks out its source.
        start_test: operation that tries whether it starts.
        record: what is written of it once it has started.

    """

    conda_prefix: str
    environment: Environment
    account: Operation
    python_lock: Operation
    checkout: Operation
    start_test: Operation
    record: ManagedFile

    def installation(self, do: Collection[str]) -> list[Operation]:
        """Return the operations that bring about what the kinds of steps speak of."""
        environment = {**plain(self.environment), "cuda": None}
        by_kind: dict[str, Operation] = {
            StepKind.ACCOUNT: self.account,
            StepKind.ENVIRONMENT: {
                "op": "conda_environments",
                "prefix": self.conda_prefix,
                "environments": [environment],
            },
            StepKind.PYTHON_PACKAGES: self.python_lock,
            StepKind.CHECKOUT: self.checkout,
        }
        return [operation for kind, operation in by_kind.items() if kind in do]

    def proof(self, do: Collection[str]) -> list[Operation]:
        """Return the test that it starts, and the record of that, where anything changes."""
        touched = {
            *(StepKind.PACKAGE, StepKind.ACCOUNT, StepKind.ENVIRONMENT),
            *(StepKind.PYTHON_PACKAGES, StepKind.CHECKOUT, StepKind.RECORD),
        }
        if not touched & set(do):
            return []
        record = {"op": "files", "files": [plain(self.record)], "linker_cache": False}
        return [self.start_test, record]


class PackageRequest(Value, frozen=True):
    """A package to be installed; ``version`` is a pattern (fnmatch), None = any."""

    name: str
    version: str | None = None


class RoleState(Value, frozen=True):
    """Everything one role has to establish on one host.

    Attributes:
        role: its name.
        files: managed files; those of conda lie within its prefix.
        foreign: files of others that are set aside before ours are written.
        first_boot: wait for the end of cloud-init's before packages are touched.
        preparation: operations that the package family needs before its first transaction.
        pre_install: packages of the first transaction (pins, what a module is built with).
        pins: ``pre_install`` has nothing but pins, and nothing is built with them.
        packages: packages of the main transaction.
        remove: packages that must go.
        purge: packages whose configuration must go too.
        version_locked: name patterns of packages that must be at ``version``.
        version: pattern of their version: ``580.95.05-*``, ``580.*``.
        hold: name patterns; installed packages that match are held.
        locks: lines of the package manager's version lock, where it holds packages by such.
        units: systemd units to enable and start.
        unwanted_units: units to disable and stop.
        kernel: kernel release that needs the module; None = no module wanted.
        verify_module: look after the module once the packages are there: a transaction can end
            well without one.
        load: kernel modules to load, before the units start.
        initramfs: rebuild the initial RAM disk.
        reboot: a reboot is needed.
        default_link: what ``/usr/local/cuda`` has to show.
        linker: the dynamic linker's cache depends on the files.
        conda: conda installation.
        workload: workload on a prepared host.

    """

    role: str
    files: tuple[ManagedFile, ...] = ()
    foreign: tuple[str, ...] = ()
    first_boot: bool = False
    preparation: tuple[Operation, ...] = ()
    pre_install: tuple[PackageRequest, ...] = ()
    pins: bool = False
    packages: tuple[PackageRequest, ...] = ()
    remove: tuple[str, ...] = ()
    purge: tuple[str, ...] = ()
    version_locked: tuple[str, ...] = ()
    version: str | None = None
    hold: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    unwanted_units: tuple[str, ...] = ()
    kernel: str | None = None
    verify_module: bool = False
    load: tuple[str, ...] = ()
    initramfs: bool = False
    reboot: bool = False
    default_link: str | None = None
    linker: bool = False
    conda: CondaState | None = None
    workload: WorkloadState | None = None

    def operations(
        self, kinds: Collection[str], *, refresh: bool, complete: bool = False
    ) -> dict[str, list[Operation]]:
        """Return the operations by stage; stages without any are left out.

        Args:
            kinds: kinds of the steps that are to be done.
            refresh: the package index must be read again first.
            complete: also everything that finds out by itself that there is nothing to do.

        """
        do = set(kinds) | (SAFE_TO_REPEAT if complete else frozenset())
        # The note of what made an installation comes with it, or it would look like another's.
        notes = [file for file in self.files if file.kind == StepKind.MARKER]
        installed = self._installation() if StepKind.INSTALLATION in do else []
        if installed or complete or StepKind.MARKER in do:
            installed += self._writing(notes)
        others = [file for file in self.files if file not in notes]
        files: list[Operation] = []
        # An installer brings settings of its own.
        if complete or do & {StepKind.INSTALLATION, *(file.kind for file in others)}:
            files = self._writing(others)
        if StepKind.SOURCE in do and self.foreign:
            files.insert(0, {"op": "set_aside", "paths": list(self.foreign)})
        workload = self.workload
        stages = {
            "files": [] if self.conda else files,
            "packages": self._packages(do, refresh=refresh),
            "install": [*installed, *(workload.installation(do) if workload else [])],
            "configure": [
                *(files if self.conda else []),
                *self._configuration(do),
                *(workload.proof(do) if workload else []),
            ],
        }
        if self.first_boot and stages["packages"]:
            stages["packages"].insert(0, {"op": "first_boot", "folder": CLOUD_INIT})
        return {stage: operations for stage, operations in stages.items() if operations}

    def _writing(self, files: Sequence[ManagedFile]) -> list[Operation]:
        entries = [plain(file) for file in files]
        operation = {"op": "files", "files": entries, "linker_cache": self.linker}
        return [operation] if entries else []

    def _packages(self, do: frozenset[str] | set[str], *, refresh: bool) -> list[Operation]:
        found: list[Operation] = []
        if do & {StepKind.PACKAGE, StepKind.STREAM}:
            found += [{**operation, "refresh": refresh} for operation in self.preparation]
            refresh = refresh and not self.preparation
        purge = [{"op": "purge", "names": list(self.purge)}] if self.purge else []
        if StepKind.PACKAGE in do and self.pre_install:
            pins = _transaction(self.pre_install, refresh=refresh)
            rest = self._main_transaction(refresh=False)
            found.append({**pins, "rest": rest, "pins": self.pins and not purge})
        if self.pre_install:  # the new pins, which the old ones would contradict
            found += purge
        if StepKind.PACKAGE in do and (self.packages or self.remove):
            found.append(self._main_transaction(refresh=refresh and not self.pre_install))
        if not self.pre_install:
            found += purge
        if StepKind.PACKAGE in do and self.linker:
            found.append({"op": "linker_cache"})
        if StepKind.HOLD in do and self.hold:
            lines = {"owner": self.role, "lines": list(self.locks)}
            found.append({"op": "hold", "patterns": list(self.hold), **lines})
        if StepKind.MODULE in do and self.kernel:
            found.append({"op": "module", "kernel": self.kernel})
        elif StepKind.PACKAGE in do and self.kernel and self.verify_module:
            found.append({"op": "module", "kernel": self.kernel, "verify": True})
        return found

    def _main_transaction(self, *, refresh: bool) -> Operation:
        locked = {"patterns": list(self.version_locked), "version": self.version}
        return {
            **_transaction(self.packages, refresh=refresh),
            "remove": list(self.remove),
            "locked": locked if self.version_locked else None,
            "owner": self.role,
            "locks": list(self.locks),
            "own": list(host_rules().own_packages),
        }

    def _installation(self) -> list[Operation]:
        conda = self.conda
        if conda is None:
            return []
        operation = {"op": "conda_install", "prefix": conda.prefix, "is_new": conda.is_new}
        return [{**operation, **plain(conda.installer)}]

    def _configuration(self, do: Collection[str]) -> list[Operation]:
        found: list[Operation] = []
        if StepKind.INITRAMFS in do and self.initramfs:
            found.append({"op": "initramfs", "kernel": self.kernel})
        if StepKind.LOAD in do and self.load:
            found.append({"op": "load", "modules": list(self.load)})
        if StepKind.UNIT in do and (self.units or self.unwanted_units):
            units, unwanted = list(self.units), list(self.unwanted_units)
            found.append({"op": "services", "units": units, "unwanted": unwanted})
        if StepKind.ALTERNATIVE in do and self.default_link:
            found.append({"op": "default_link", "name": "cuda", "value": self.default_link})
            if self.linker:
                found.append({"op": "linker_cache"})
        if StepKind.ENVIRONMENT in do and self.conda and self.conda.environments:
            environments = [
                {**plain(state.environment), "cuda": state.cuda}
                for state in self.conda.environments
            ]
            found.append(
                {
                    "op": "conda_environments",
                    "prefix": self.conda.prefix,
                    "environments": environments,
                }
            )
        if StepKind.LABEL in do and self.conda:
            prefix = self.conda.prefix
            found.append({"op": "labels", "paths": [prefix], "without": [f"{prefix}/pkgs"]})
        return found


def _transaction(packages: Sequence[PackageRequest], *, refresh: bool) -> dict[str, Any]:
    return {
        "op": "packages",
        "install": [plain(package) for package in packages],
        "remove": [],
        "locked": None,
        "refresh": refresh,
    }
