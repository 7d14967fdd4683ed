"""Turn bare GPU instances on Oracle Cloud Infrastructure into hosts proven ready to train.

>>> import gpuprep
>>> result = gpuprep.apply("inventory.yml", limit="gpu_a10")  # doctest: +SKIP
>>> result.hosts["gpu1"].state  # doctest: +SKIP
<HostStatus.READY: 'ready'>
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gpuprep.version import __version__

if TYPE_CHECKING:
    from gpuprep.api import apply, plan, provision, run_jobs, status, verify, workshop
    from gpuprep.errors import (
        CatalogError,
        ConfigError,
        EngineError,
        ExitCode,
        FactsError,
        GpuprepError,
        HostsFailedError,
        InventoryError,
    )
    from gpuprep.model import (
        CheckResult,
        CheckStatus,
        Done,
        FileDiff,
        FleetResult,
        HostResult,
        HostStatus,
        Message,
        Step,
        StepStatus,
    )
    from gpuprep.oci.provision.result import MemberResult, MembersFailedError, ProvisionResult
    from gpuprep.run.events import Event, EventKind
    from gpuprep.run.jobs import HostJobs, JobsResult
    from gpuprep.run.options import Access
    from gpuprep.run.workshop import WorkshopResult
    from gpuprep.workloads.faceswap.problems import JobsError

__all__ = [
    "Access",
    "CatalogError",
    "CheckResult",
    "CheckStatus",
    "ConfigError",
    "Done",
    "EngineError",
    "Event",
    "EventKind",
    "ExitCode",
    "FactsError",
    "FileDiff",
    "FleetResult",
    "GpuprepError",
    "HostJobs",
    "HostResult",
    "HostStatus",
    "HostsFailedError",
    "InventoryError",
    "JobsError",
    "JobsResult",
    "MemberResult",
    "MembersFailedError",
    "Message",
    "ProvisionResult",
    "Step",
    "StepStatus",
    "WorkshopResult",
    "__version__",
    "apply",
    "plan",
    "provision",
    "run_jobs",
    "status",
    "verify",
    "workshop",
]

# Where each name is; imported when it is asked for, so that ``gpuprep --version`` costs nothing.
_PLACES = {
    "api": ("apply", "plan", "provision", "run_jobs", "status", "verify", "workshop"),
    "errors": (
        "CatalogError",
        "ConfigError",
        "EngineError",
        "ExitCode",
        "FactsError",
        "GpuprepError",
        "HostsFailedError",
        "InventoryError",
    ),
    "model": (
        "CheckResult",
        "CheckStatus",
        "Done",
        "FileDiff",
        "FleetResult",
        "HostResult",
        "HostStatus",
        "Message",
        "Step",
        "StepStatus",
    ),
    "oci.provision.result": ("MemberResult", "MembersFailedError", "ProvisionResult"),
    "run.events": ("Event", "EventKind"),
    "run.jobs": ("HostJobs", "JobsResult"),
    "run.options": ("Access",),
    "run.workshop": ("WorkshopResult",),
    "workloads.faceswap.problems": ("JobsError",),
}


def __getattr__(name: str) -> object:
    for place, names in _PLACES.items():
        if name in names:
            value: object = getattr(importlib.import_module(f"{__name__}.{place}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
