"""The form of ``report.json``; ``report.schema.json`` is published with the package."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

JOBS: Final = "jobs"  # the verb whose stored result has a form of its own


@cache
def schema() -> Mapping[str, Any]:
    """Return the JSON schema of a result."""
    data: Mapping[str, Any] = json.loads(
        (files("gpuprep.report") / "report.schema.json").read_text(encoding="utf-8")
    )
    return data


def validate(result: Mapping[str, Any]) -> None:
    """Check that a result has the form this version can read; unknown keys are fine.

    Raises:
        ConfigError: it has not; says where and what was expected.

    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    error = best_match(Draft202012Validator(schema()).iter_errors(result))
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise ConfigError(
            f"not a result of gpuprep: at {where}: {error.message[:300]}; expected is what "
            "--report or --output json of plan, apply, verify or status wrote"
        )


def check(result: Mapping[str, Any]) -> None:
    """Check a result from outside.

    Raises:
        ConfigError: it is none; says what is wrong.

    """
    if result.get("verb") == JOBS:
        raise ConfigError(
            f"this is a result of gpuprep {JOBS}, of which no report is made: it holds, host by "
            "host, where each job is, and why hosts failed; --limit @FILE means those hosts"
        )
    if not _looks_right(result):
        validate(result)


def _looks_right(result: Mapping[str, Any]) -> bool:
    """Look at the outside only."""
    hosts = result.get("hosts")
    return (
        result.get("schema") == 1
        and isinstance(hosts, dict)
        and all(
            isinstance(host, dict) and {"name", "state"} <= set(host) for host in hosts.values()
        )
    )
