"""The values that travel along the road: facts -> stack -> plan -> result.

All are frozen and free of behaviour beyond small derived properties. ``to_dict`` gives plain
JSON types; its keys are part of the public contract (``report.json``). Imports nothing of ours.
"""

from gpuprep.model.host import HostFacts, HostState, KernelHeaders
from gpuprep.model.plan import SHARED_KINDS, ManagedFile, Step
from gpuprep.model.result import (
    CheckResult,
    Done,
    FileDiff,
    FleetResult,
    GpuprepError,
    HostResult,
    HostsFailedError,
    RunInfo,
)
from gpuprep.model.settings import Environment, Settings
from gpuprep.model.stack import (
    CondaInstaller,
    CudaToolkit,
    DesiredStack,
    Faceswap,
    Flavour,
    Message,
    Package,
    Pin,
    Reason,
    Refusal,
    Repository,
    SigningKey,
    Stack,
)
from gpuprep.model.states import (
    CheckStatus,
    ExitCode,
    Family,
    HostStatus,
    Phase,
    PlanState,
    StepKind,
    StepStatus,
    Tier,
)

__all__ = [
    "SHARED_KINDS",
    "CheckResult",
    "CheckStatus",
    "CondaInstaller",
    "CudaToolkit",
    "DesiredStack",
    "Done",
    "Environment",
    "ExitCode",
    "Faceswap",
    "Family",
    "FileDiff",
    "Flavour",
    "FleetResult",
    "GpuprepError",
    "HostFacts",
    "HostResult",
    "HostState",
    "HostStatus",
    "HostsFailedError",
    "KernelHeaders",
    "ManagedFile",
    "Message",
    "Package",
    "Phase",
    "Pin",
    "PlanState",
    "Reason",
    "Refusal",
    "Repository",
    "RunInfo",
    "Settings",
    "SigningKey",
    "Stack",
    "Step",
    "StepKind",
    "StepStatus",
    "Tier",
]
