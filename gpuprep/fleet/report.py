"""What a run tells of one host: the form of its part of ``plan.json`` and ``proof-N.json``."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads the annotations
from typing import Any

from gpuprep.fleet.failures import Failure  # noqa: TC001 - as above
from gpuprep.ladder.checks import BY_ID
from gpuprep.model import (
    CheckResult,
    CheckStatus,
    HostFacts,
    HostStatus,
    Message,
    PlanState,
    Stack,
    Step,
)
from gpuprep.model.jobs import JobProgress  # noqa: TC001 - as above
from gpuprep.model.plain import plain
from gpuprep.model.value import Value


class HostReport(Value, frozen=True):
    """What the plan, or the proof, found on one host.

    Attributes:
        state: what the plan says.
        code: ``E_*`` code of a refusal or failure.
        error: why the host is not planned.
        steps: what differs from the desired state.
        checks: rungs of the ladder that were tried.
        warnings: coded warnings.
        stack: what the resolver chose.
        facts: what the resolver was told.
        versions: what is on the host, by component.
        reboot_required: a reboot is needed before the host can be proven.
        host_status: state of the host, as far as the checks show it.
        failure: of the role that failed before the host was observed again.
        left_out: ids of the steps that the tags of the run leave to another one.
        jobs: where each job of a workload is.

    """

    state: PlanState
    code: str | None = None
    error: str | None = None
    steps: tuple[Step, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    warnings: tuple[Message, ...] = ()
    stack: Stack | None = None
    facts: HostFacts | None = None
    versions: Mapping[str, str] = {}
    reboot_required: bool = False
    host_status: HostStatus = HostStatus.UNKNOWN
    failure: Failure | None = None
    left_out: tuple[str, ...] = ()
    jobs: tuple[JobProgress, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the host could be observed and planned."""
        return self.state in {PlanState.CONVERGED, PlanState.DRIFTED}

    @property
    def lost(self) -> HostStatus | None:
        """State of a host that could not be planned, None of one that could."""
        return None if self.ok else HostStatus(self.state.value)

    @property
    def verdict(self) -> str:
        """Why the host is not proven, in words; empty when it is as far as it can be."""
        if self.failure is not None:
            return self.failure.sentence
        if not self.ok:
            return f"{self.state} [{self.code}]: {self.error}"
        steps = [step for step in self.steps if step.id not in self.left_out]
        if steps:
            return "differs: " + "; ".join(f"{step.id} ({step.reason})" for step in steps)
        failed = (
            check
            for check in self.checks
            if check.status is CheckStatus.FAILED and not (self.steps and _by_apply(check))
        )
        return "; ".join(
            f"{check.id}: {check.detail}. {check.remedy or ''}".strip() for check in failed
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types, the form that is stored."""
        document: dict[str, Any] = plain(self)
        return document


def _by_apply(check: CheckResult) -> bool:
    """Return whether a check fails for something that the steps left out bring."""
    known = BY_ID.get(check.id)
    return known is not None and known.fixed_by_apply
