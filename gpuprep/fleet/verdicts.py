"""Decisions about hosts that were observed: who is worked on, who is not, what is told. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from gpuprep.fleet.report import HostReport
from gpuprep.fleet.tags import Tags
from gpuprep.ladder.checks import APPLY
from gpuprep.ladder.evaluate import state_of
from gpuprep.model import HostStatus, PlanState
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuprep.fleet.failures import Failure
    from gpuprep.model import CheckResult
    from gpuprep.model.jobs import JobProgress
    from gpuprep.planner import HostPlan

Verb = Literal["plan", "apply", "status", "verify"]
VERBS: Final[tuple[Verb, ...]] = ("plan", "apply", "status", "verify")
_JUDGING: Final = frozenset({"status", "verify"})  # say whether a host works, whoever prepared it


class Work(Value, frozen=True):
    """What the plays that follow the plan do with a host.

    Attributes:
        roles: roles to run, in order; empty = the host is left alone.
        unfit: why the run fails for the host; empty = it does not.

    """

    roles: tuple[str, ...] = ()
    unfit: str = ""


def judges(verb: Verb) -> bool:
    """Return whether a verb says if hosts work, also of those that gpuprep never prepared."""
    return verb in _JUDGING


def is_foreign(versions: Mapping[str, str], files: Mapping[str, object]) -> bool:
    """Return whether a host has a driver that somebody else installed.

    Args:
        versions: what is on the host, by component.
        files: the files that gpuprep writes; None for one that is not there.

    """
    return "driver" in versions and not any(files.values())


def report_of(  # noqa: PLR0913 - all that is known of a host
    plan: HostPlan,
    checks: Iterable[CheckResult],
    verb: Verb,
    *,
    foreign: bool = False,
    failure: Failure | None = None,
    tags: Tags | None = None,
    jobs: tuple[JobProgress, ...] = (),
) -> HostReport:
    """Return what is told of a host.

    Args:
        plan: its plan.
        checks: rungs that were tried on it.
        verb: what was asked for.
        foreign: somebody else installed its driver; verbs that judge do not ask it to look as if
            gpuprep had.
        failure: of the role that failed before.
        tags: what the run carries out, None = everything.
        jobs: where each job of a workload is.

    """
    report = HostReport(
        state=PlanState(plan.state),
        code=plan.code,
        error=plan.error,
        steps=plan.steps,
        checks=tuple(checks),
        warnings=plan.warnings,
        stack=plan.stack,
        facts=plan.facts,
        versions=plan.versions,
        reboot_required=plan.reboot_required,
        failure=failure,
        left_out=(tags or Tags()).left_out(plan),
        jobs=jobs,
    )
    if foreign and judges(verb):
        report = replace(report, state=PlanState.CONVERGED, steps=(), code=None, error=None)
    if verb == "apply" or not report.ok:
        report = replace(report, checks=tuple(map(_without_apply, report.checks)))
    return replace(report, host_status=_status(report))


def work_on(
    plan: HostPlan,
    report: HostReport,
    verb: Verb,
    *,
    in_full: bool = False,
    tags: Tags | None = None,
) -> Work:
    """Return what is done with a host after the plan.

    Args:
        plan: its plan.
        report: what is told of it.
        verb: what was asked for.
        in_full: all roles run, also those without a difference.
        tags: what the run carries out, None = everything.

    """
    unfit = report.verdict if judges(verb) or not report.ok else ""
    if not plan.ok:
        return Work(unfit=unfit)
    return Work((tags or Tags()).roles(plan, in_full=in_full), unfit)


def pending_changes(plan: HostPlan) -> str:
    """Return what a run that fails for pending changes says of a host; empty without any."""
    return f"changes are pending: {len(plan.steps)} (gpuprep_fail_on_changes)" if plan.steps else ""


def _status(report: HostReport) -> HostStatus:
    return report.lost or state_of(report.checks, plan_is_empty=report.state is PlanState.CONVERGED)


def _without_apply(check: CheckResult) -> CheckResult:
    """Return a check without the advice to apply: that is what runs, or is refused."""
    if APPLY not in (check.remedy or ""):
        return check
    other = (check.remedy or "").partition(APPLY)[0].strip()  # what follows says what apply does
    return replace(check, remedy=other or None)
