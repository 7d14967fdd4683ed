"""From observation and settings to a plan: what differs on a host, what to do about it, and why.

Pure: no I/O beyond reading gpuprep's own data files, no Ansible.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuprep.model import Settings
    from gpuprep.planner.plan import HostPlan, observation_request, plan_host
    from gpuprep.planner.settings import settings_from

__all__ = ["HostPlan", "Settings", "observation_request", "plan_host", "settings_from"]

# Where each name is; imported when it is asked for: to explain a host takes no planner.
_PLACES = {
    "HostPlan": "gpuprep.planner.plan",
    "Settings": "gpuprep.model",
    "observation_request": "gpuprep.planner.plan",
    "plan_host": "gpuprep.planner.plan",
    "settings_from": "gpuprep.planner.settings",
}


def __getattr__(name: str) -> object:
    """Import what is asked for by name."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value
