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
    from gpuprep.api import apply, explain, plan, provision, run_jobs, status, verify, workshop
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
        CondaInstaller,
        CudaToolkit,
        Done,
        Faceswap,
        Family,
        FileDiff,
        Flavour,
        FleetResult,
        HostFacts,
        HostResult,
        HostState,
        HostStatus,
        KernelHeaders,
        Message,
        Package,
        Pin,
        Reason,
        Refusal,
        Repository,
        RunInfo,
        SigningKey,
        Stack,
        Step,
        StepStatus,
        Tier,
    )
    from gpuprep.model.jobs import JobProgress, JobState
    from gpuprep.oci.provision.result import MemberResult, MembersFailedError, ProvisionResult
    from gpuprep.run.events import Event, EventKind
    from gpuprep.run.inventories import Source
    from gpuprep.run.jobs import HostJobs, JobsResult
    from gpuprep.run.options import (
        Access,
        Cancel,
        EventCallback,
        Limit,
        RunOptions,
        Tags,
        Variables,
    )
    from gpuprep.run.transports import Transport
    from gpuprep.run.workshop import WorkshopResult
    from gpuprep.workloads.faceswap.problems import JobsError, Problem

__all__ = [
    "Access",
    "Cancel",
    "CatalogError",
    "CheckResult",
    "CheckStatus",
    "CondaInstaller",
    "ConfigError",
    "CudaToolkit",
    "Done",
    "EngineError",
    "Event",
    "EventCallback",
    "EventKind",
    "ExitCode",
    "Faceswap",
    "FactsError",
    "Family",
    "FileDiff",
    "Flavour",
    "FleetResult",
    "GpuprepError",
    "HostFacts",
    "HostJobs",
    "HostResult",
    "HostState",
    "HostStatus",
    "HostsFailedError",
    "InventoryError",
    "JobProgress",
    "JobState",
    "JobsError",
    "JobsResult",
    "KernelHeaders",
    "Limit",
    "MemberResult",
    "MembersFailedError",
    "Message",
    "Package",
    "Pin",
    "Problem",
    "ProvisionResult",
    "Reason",
    "Refusal",
    "Repository",
    "RunInfo",
    "RunOptions",
    "SigningKey",
    "Source",
    "Stack",
    "Step",
    "StepStatus",
    "Tags",
    "Tier",
    "Transport",
    "Variables",
    "WorkshopResult",
    "__version__",
    "apply",
    "explain",
    "plan",
    "provision",
    "run_jobs",
    "status",
    "verify",
    "workshop",
]

# Where each name is; imported when it is asked for, so that ``gpuprep --version`` costs nothing.
_PLACES = {
    "api": (
        "apply",
        "explain",
        "plan",
        "provision",
        "run_jobs",
        "status",
        "verify",
        "workshop",
    ),
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
        "CondaInstaller",
        "CudaToolkit",
        "Done",
        "Faceswap",
        "Family",
        "FileDiff",
        "FleetResult",
        "Flavour",
        "HostFacts",
        "HostResult",
        "HostState",
        "HostStatus",
        "KernelHeaders",
        "Message",
        "Package",
        "Pin",
        "Reason",
        "Refusal",
        "Repository",
        "RunInfo",
        "SigningKey",
        "Stack",
        "Step",
        "StepStatus",
        "Tier",
    ),
    "model.jobs": (
        "JobProgress",
        "JobState",
    ),
    "oci.provision.result": (
        "MemberResult",
        "MembersFailedError",
        "ProvisionResult",
    ),
    "run.events": (
        "Event",
        "EventKind",
    ),
    "run.inventories": ("Source",),
    "run.jobs": (
        "HostJobs",
        "JobsResult",
    ),
    "run.options": (
        "Access",
        "Cancel",
        "EventCallback",
        "Limit",
        "RunOptions",
        "Tags",
        "Variables",
    ),
    "run.transports": ("Transport",),
    "run.workshop": ("WorkshopResult",),
    "workloads.faceswap.problems": (
        "JobsError",
        "Problem",
    ),
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
