"""Turn bare GPU instances on Oracle Cloud Infrastructure into hosts proven ready to train.

>>> import gpuprep
>>> result = gpuprep.apply("inventory.yml", limit="gpu_a10")  # doctest: +SKIP
>>> result.hosts["gpu1"].state  # doctest: +SKIP
<HostStatus.READY: 'ready'>
"""

import gpuprep.ladder as _verify  # noqa: F401 - first: a later import would hide the function
from gpuprep.api import apply, plan, provision, status, verify
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
    FleetResult,
    HostResult,
    HostStatus,
    Message,
    Step,
    StepStatus,
)
from gpuprep.oci.provision.result import MemberResult, MembersFailedError, ProvisionResult
from gpuprep.run.events import Event, EventKind
from gpuprep.run.options import Access
from gpuprep.version import __version__

__all__ = [
    "Access",
    "CatalogError",
    "CheckResult",
    "CheckStatus",
    "ConfigError",
    "EngineError",
    "Event",
    "EventKind",
    "ExitCode",
    "FactsError",
    "FleetResult",
    "GpuprepError",
    "HostResult",
    "HostStatus",
    "HostsFailedError",
    "InventoryError",
    "MemberResult",
    "MembersFailedError",
    "Message",
    "ProvisionResult",
    "Step",
    "StepStatus",
    "__version__",
    "apply",
    "plan",
    "provision",
    "status",
    "verify",
]
