"""What can go wrong, as types, and the exit code each one ends the process with.

The tree (right of each name, the exit code)::

    GpuprepError                  1
    ├── ConfigError (ValueError)  64   a setting, a file or an option is wrong; nothing was touched
    │   ├── CatalogError          64   the data file breaks its schema or its own rules
    │   └── FactsError            64   a facts file is wrong
    ├── InventoryError            69   hosts cannot be listed: no file, no cloud, no parse
    ├── EngineError               69   ansible-runner or ansible-playbook cannot work
    └── HostsFailedError         3/4   raised only by FleetResult.raise_for_status()

Failures of single hosts are values of the result, never exceptions.
"""

from __future__ import annotations

from gpuprep.model import ExitCode, GpuprepError, HostsFailedError

__all__ = [
    "CatalogError",
    "ConfigError",
    "EngineError",
    "ExitCode",
    "FactsError",
    "GpuprepError",
    "HostsFailedError",
    "InventoryError",
]


class ConfigError(GpuprepError, ValueError):
    """A setting, an option or a file is wrong. Nothing was touched."""

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
