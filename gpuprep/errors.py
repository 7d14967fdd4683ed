"""What can go wrong, as types, and the exit code each one ends the process with.

The tree (right of each name, the exit code)::

    GpuprepError                  1
    ├── ConfigError (ValueError)  64   a wish, a file or an option is wrong; nothing was touched
    │   ├── CatalogError          64   the data file breaks its schema or its own rules
    │   └── FactsError            64   a facts file is wrong
    ├── InventoryError            69   hosts cannot be listed: no file, no cloud, no parse
    ├── EngineError               69   ansible-runner or ansible-playbook cannot work
    ├── HostLockedError            6   another run works on a host
    ├── CancelledError             7   stopped on request or by a time limit; run again to go on
    └── HostsFailedError         3/4   raised only by FleetResult.raise_for_status()

Failures of single hosts are values of the result, never exceptions.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuprep.model import FleetResult


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


class GpuprepError(Exception):
    """Base of all errors that gpuprep raises on purpose."""

    exit_code: ExitCode = ExitCode.INTERNAL


class ConfigError(GpuprepError, ValueError):
    """A wish, an option or a file is wrong. Nothing was touched."""

    exit_code = ExitCode.USAGE


class CatalogError(ConfigError):
    """The catalog breaks its schema or contradicts itself."""


class FactsError(ConfigError):
    """A facts file cannot be used."""


class InventoryError(GpuprepError):
    """Hosts cannot be listed."""

    exit_code = ExitCode.UNAVAILABLE


class EngineError(GpuprepError):
    """The Ansible engine cannot do its work."""

    exit_code = ExitCode.UNAVAILABLE


class HostLockedError(GpuprepError):
    """Another run works on a host."""

    exit_code = ExitCode.LOCKED


class CancelledError(GpuprepError):
    """The run was stopped on request or by its time limit; running again goes on from there."""

    exit_code = ExitCode.CANCELLED


class HostsFailedError(GpuprepError):
    """At least one host did not reach its goal.

    Attributes:
        result: the whole result, with the hosts that did.

    """

    def __init__(self, result: FleetResult) -> None:
        self.result = result
        self.exit_code = result.exit_code
        names = ", ".join(h.name for h in result.hosts.values() if not h.ok)
        super().__init__(f"not ready: {names}")
