"""Policy of a run: the settings that have one value for all of its hosts. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError
from gpuprep.fleet.failures import names_in_words
from gpuprep.fleet.waves import waves
from gpuprep.model import Tier
from gpuprep.model.value import Value
from gpuprep.planner.settings import fleet_options

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

HOSTS: Final = "gpuprep_hosts"
VARIABLES: Final = (
    HOSTS,
    "gpuprep_batch",
    "gpuprep_max_fail_percentage",
    "gpuprep_run_dir",
    "gpuprep_verify_tier",
    "gpuprep_verify_sample",
)
_WHOLE: Final = 100  # percent


class Policy(Value, frozen=True):
    """What the variables of the hosts say of the run as a whole.

    Attributes:
        batch: hosts that are converged at a time, as in Ansible's ``serial``.
        max_fail_percentage: percentage of a batch that may fail before the run stops.
        run_dir: directory for the run's documents; empty = nobody wants them.
        verify_tier: how far ``verify`` climbs the ladder.
        verify_sample: number of hosts that ``verify`` takes; 0 = all.

    """

    batch: object
    max_fail_percentage: int
    run_dir: str
    verify_tier: Tier
    verify_sample: int


def one_value(variable: str, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - of any type
    """Return the value that a variable has on all hosts.

    Args:
        variable: its name.
        values: value by host.

    Raises:
        ConfigError: the hosts disagree.

    """
    hosts: dict[str, list[str]] = {}
    for host, value in values.items():
        hosts.setdefault(json.dumps(value, default=str), []).append(host)
    if len(hosts) > 1:
        told = "; ".join(f"{text} on {names_in_words(names)}" for text, names in hosts.items())
        raise ConfigError(
            f"{variable} has one value for all hosts of a run, but they disagree: {told}; set it"
            " where all of them share it (the group all, or -e)"
        )
    return next(iter(values.values()), default_of(variable))


def default_of(variable: str) -> Any:  # noqa: ANN401
    """Return the default of a fleet-wide variable."""
    return fleet_options()[variable]["default"]


def policy_of(values: Mapping[str, Mapping[str, Any]]) -> Policy:
    """Return the policy of a run.

    Args:
        values: per host, its values of :data:`VARIABLES`, of the types that the specification
            says; absent ones take their default.

    Raises:
        ConfigError: the hosts disagree, or a value makes no sense.

    """
    found = {
        variable: one_value(
            variable, {h: given.get(variable, default_of(variable)) for h, given in values.items()}
        )
        for variable in VARIABLES
        if variable != HOSTS
    }
    waves((), found["gpuprep_batch"])
    percentage = found["gpuprep_max_fail_percentage"]
    if not 0 <= percentage <= _WHOLE:
        raise ConfigError(f"gpuprep_max_fail_percentage: {percentage} is not between 0 and 100")
    if found["gpuprep_verify_sample"] < 0:
        raise ConfigError(f"gpuprep_verify_sample: {found['gpuprep_verify_sample']} is below 0")
    return Policy(
        batch=found["gpuprep_batch"],
        max_fail_percentage=percentage,
        run_dir=found["gpuprep_run_dir"],
        verify_tier=Tier(found["gpuprep_verify_tier"]),
        verify_sample=found["gpuprep_verify_sample"],
    )


def observe_seconds(values: Mapping[str, Any]) -> int:
    """Return the seconds that a host has to answer.

    Raises:
        ConfigError: less than one second.

    """
    variable = "gpuprep_observe_timeout"
    seconds: int = values.get(variable, default_of(variable))
    if seconds < 1:
        raise ConfigError(f"{variable}: {seconds} is less than 1 second")
    return seconds


def stop_reason(max_fail_percentage: int, wave: Collection[str], failed: Collection[str]) -> str:
    """Return why no further wave may begin after one; empty when it may.

    Args:
        max_fail_percentage: percentage of a wave that may fail.
        wave: hosts of the wave.
        failed: those of them that are not proven.

    """
    if len(failed) * _WHOLE <= max_fail_percentage * len(wave):
        return ""
    return (
        f"not begun: {len(failed)} of {len(wave)} hosts of the wave before failed"
        f" ({names_in_words(sorted(failed))}), gpuprep_max_fail_percentage allows"
        f" {max_fail_percentage} %"
    )
