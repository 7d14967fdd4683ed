"""Settings that fit no host, told also of hosts that could not be observed. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gpuprep.catalog import load
from gpuprep.components import COMPONENTS, resolve
from gpuprep.model import DesiredStack, HostFacts, Message, Stack

if TYPE_CHECKING:
    from gpuprep.catalog import Catalog
    from gpuprep.model import Settings

# Refusals that depend on names and versions alone, not on the host.
_OF_NAMES: Final = frozenset(
    {
        "E_BRANCH_UNKNOWN",
        "E_CONDA_UNKNOWN",
        "E_CUDA_UNKNOWN",
        "E_CUDNN_UNKNOWN",
        "E_DRIVER_VERSION",
    }
)


def fits_nowhere(settings: Settings, catalog: Catalog) -> tuple[Message, ...]:
    """Return why no host at all could get what the settings name; empty when one could."""
    found: dict[str, Message] = {}
    for component in COMPONENTS:
        wanted = settings.stack.components
        if wanted is None or component.name in wanted:
            alone = replace(settings.stack, components=(component.name,))
            answer = resolve(_usual_host(), alone, catalog)
            if not isinstance(answer, Stack) and answer.code in _OF_NAMES:
                found.setdefault(answer.code, answer)
    return tuple(found.values())


@lru_cache
def _usual_host() -> HostFacts:
    """Return a host that gets everything when nothing is asked for by name."""
    catalog = load()
    hosts = (HostFacts((pci,), os) for os in catalog.systems for pci in reversed([*catalog.gpus]))
    return next(host for host in hosts if isinstance(resolve(host, DesiredStack(), catalog), Stack))
