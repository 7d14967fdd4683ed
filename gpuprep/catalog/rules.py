"""What a host is asked about and what forbids working on it: ``host_rules.yml``, typed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gpuprep import codes, kept
from gpuprep.layout import package_root
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.model import Message, Refusal


class HostRules(Value, frozen=True):
    """Contents of ``host_rules.yml``; its comments say what each means."""

    observed_packages: str
    observed_commands: tuple[str, ...]
    own_daemons: tuple[str, ...]
    driver_witnesses: tuple[str, ...]
    own_packages: tuple[str, ...]
    proven_systems: Mapping[str, tuple[str, ...]]

    def refusal(self, code: str, **values: object) -> Refusal:
        """Return the refusal of a code with its values filled in."""
        return codes.refusal(code, **values)

    def warning(self, code: str, **values: object) -> Message:
        """Return the warning of a code with its values filled in."""
        return codes.warning(code, **values)


@lru_cache
def host_rules() -> HostRules:
    """Load the rules, once."""
    raw = kept.own(package_root() / "catalog/host_rules.yml")
    return HostRules(
        observed_packages=raw["observed_packages"],
        observed_commands=tuple(raw["observed_commands"]),
        own_daemons=tuple(raw["own_daemons"]),
        driver_witnesses=tuple(raw["driver_witnesses"]),
        own_packages=tuple(raw["own_packages"]),
        proven_systems={name: tuple(arches) for name, arches in raw["proven_systems"].items()},
    )
