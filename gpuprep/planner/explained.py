"""The stack of a host that is only described: what ``gpuprep.explain`` returns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep import codes
from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.errors import ConfigError
from gpuprep.model import HostFacts
from gpuprep.planner.facts_file import facts_of_shape, meant
from gpuprep.planner.inputs import checked
from gpuprep.planner.settings import all_options, settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.catalog import Catalog
    from gpuprep.model import Refusal, Stack
    from gpuprep.planner.plan import Resolver

# Variables that name files of the controller, and decide nothing about a stack.
_FILES = frozenset({"conda_environments", "faceswap_lock"})


def explained(
    host: str | HostFacts, os: str | None, variables: Mapping[str, Any]
) -> Stack | Refusal:
    """Return the stack that fits a host, or the refusal.

    Args:
        host: an OCI shape, or facts.
        os: system of the host; needed for a shape.
        variables: settings by the names of the roles' inputs.

    Raises:
        ConfigError: shape, system or a variable is wrong.

    """
    catalog = load()
    facts = _facts(host, os, catalog)
    unknown = [name for name in variables if name not in all_options()]
    if unknown:
        near = meant(unknown[0], all_options()).partition("; known:")[0]
        raise ConfigError(f"variables: gpuprep reads no {unknown[0]!r}{near}")
    values = checked(variables)
    settings = settings_from({name: v for name, v in values.items() if name not in _FILES})
    desired = settings.stack
    if settings.kernel is not None:
        facts = replace(facts, kernel=settings.kernel)
    if settings.keep_driver and "driver" in (desired.components or ()):
        if facts.driver is None:
            return codes.refusal("E_KEEP_NOTHING")
        desired = replace(desired, keep_driver=facts.driver)
    return _resolver(settings.values["gpuprep_lock_file"])(facts, desired, catalog)


def _facts(host: str | HostFacts, os: str | None, catalog: Catalog) -> HostFacts:
    if isinstance(host, HostFacts):
        if isinstance(host.gpus, str):
            raise ConfigError("gpus: expected a tuple of PCI ids, found text")
        return replace(host, gpus=tuple(map(str.lower, host.gpus)), os=os or host.os)
    known = facts_of_shape(host, catalog)
    if os is None:
        raise ConfigError(f"os: a shape has many; name one of {', '.join(catalog.systems)}")
    return HostFacts(**{**known, "gpus": tuple(known["gpus"])}, os=os)


def _resolver(lock: str) -> Resolver:
    if not lock:
        return resolve
    from gpuprep.lock.lockfile import read_lock, resolve_locked  # noqa: PLC0415 - few need it

    return partial(resolve_locked, lock=read_lock(Path(lock).expanduser()))
