"""The states that things can be in, and the exit codes that follow from them."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; stable."""

    OK = 0
    INTERNAL = 1
    CHANGES_PENDING = 2
    SOME_HOSTS_FAILED = 3
    ALL_HOSTS_FAILED = 4
    NOT_PROVEN = 5
    LOCKED = 6
    CANCELLED = 7
    USAGE = 64
    UNAVAILABLE = 69


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


class StepStatus(StrEnum):
    """Where a step stands."""

    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class PlanState(StrEnum):
    """What a plan says of a host."""

    CONVERGED = "converged"
    DRIFTED = "drifted"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


class Tier(StrEnum):
    """How far the verification ladder is climbed."""

    QUICK = "quick"
    FULL = "full"
    BURN_IN = "burn-in"


class Family(StrEnum):
    """Package families."""

    DEB = "deb"
    RPM = "rpm"


class Phase(StrEnum):
    """Parts of a role's work; the word is a tag of its tasks."""

    INSTALL = "install"
    CONFIGURE = "configure"
    VERIFY = "verify"


class StepKind(StrEnum):
    """Kinds of steps of a plan."""

    KEY = "key"
    REPOSITORY = "repository"
    PIN = "pin"
    SOURCE = "source"
    BLACKLIST = "blacklist"
    MODULES = "modules"
    PROFILE = "profile"
    LINKER = "linker"
    CONDARC = "condarc"
    MARKER = "marker"
    STREAM = "stream"
    PACKAGE = "package"
    HOLD = "hold"
    BUILD = "build"
    MODULE = "module"
    UNIT = "unit"
    INITRAMFS = "initramfs"
    LOAD = "load"
    REBOOT = "reboot"
    ALTERNATIVE = "alternative"
    INSTALLATION = "installation"
    ENVIRONMENT = "environment"
    LABEL = "label"
    ACCOUNT = "account"
    CHECKOUT = "checkout"
    PYTHON_PACKAGES = "python_packages"
    RECORD = "record"
