"""Plan, proof and transcript of a run, put together into what happened to each host. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from gpuprep.errors import ConfigError, EngineError
from gpuprep.model import (
    CheckResult,
    HostFacts,
    HostResult,
    HostStatus,
    Message,
    Stack,
    Step,
    StepStatus,
)
from gpuprep.model.codec import DecodeError, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gpuprep.run.transcript import Failure

# States of a plan that end a host's way before anything is touched.
_LOST = {
    "refused": HostStatus.REFUSED,
    "unreachable": HostStatus.UNREACHABLE,
    "failed": HostStatus.FAILED,
}
_DRIFTED = "drifted"
_CONFIG_CODE = "E_CONFIG"


@dataclass(frozen=True, slots=True)
class Report:
    """What an action plugin wrote about one host: its part of ``plan.json`` or ``proof.json``."""

    state: Literal["converged", "drifted", "refused", "unreachable", "failed"]
    code: str | None = None
    error: str | None = None
    steps: tuple[Step, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    warnings: tuple[Message, ...] = ()
    stack: Stack | None = None
    facts: HostFacts | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    reboot_required: bool = False
    host_status: HostStatus = HostStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class Reports:
    """What the action plugins wrote about a fleet."""

    hosts: Mapping[str, Report]
    round_trips: int


def read_reports(documents: Iterable[Mapping[str, Any]]) -> Reports:
    """Merge documents of the plan or the proof action; later ones win.

    Raises:
        EngineError: a document has another form; the plugins and this package do not fit.

    """
    hosts: dict[str, Report] = {}
    round_trips = 0
    for document in documents:
        try:
            hosts |= {name: decode(Report, data) for name, data in document["hosts"].items()}
            round_trips += int(document.get("round_trips", 0))
        except (DecodeError, KeyError, AttributeError, TypeError) as error:
            raise EngineError(
                f"the plan cannot be understood ({error}): the collection and the package are of "
                "different versions; install both from one release"
            ) from error
    return Reports(hosts, round_trips)


def refuse_settings(hosts: Mapping[str, Report]) -> None:
    """Complain when no host's settings make sense: that is the caller's mistake, not the hosts'.

    Raises:
        ConfigError: with what is wrong. Nothing was touched.

    """
    if hosts and all(host.code == _CONFIG_CODE for host in hosts.values()):
        raise ConfigError("; ".join(dict.fromkeys(host.error or "" for host in hosts.values())))


def host_results(  # noqa: PLR0913 - everything a run leaves behind
    plan: Mapping[str, Report],
    proof: Mapping[str, Report],
    failures: Mapping[str, Failure],
    changed: Collection[str] = (),
    *,
    verb: str = "apply",
    check: bool = False,
    interruption: str | None = None,
) -> dict[str, HostResult]:
    """Give the result of every host, in the plan's order.

    Args:
        plan: what was found and planned, before anything was touched.
        proof: what was found afterwards, for the hosts that were converged.
        failures: hosts that failed on the way.
        changed: hosts that were changed on the way, done or not.
        verb: what was asked for; only ``apply`` changes hosts.
        check: nothing was to be changed, so nothing was proven either.
        interruption: why the run did not come to its end, when it did not.

    """
    results = {}
    for name, planned in plan.items():
        if verb != "apply":
            result = _untouched_result(name, planned, judged=verb != "plan")
            result = replace(result, changed=verb == "plan" and _would_change(result))
        elif check:
            result = _untouched_result(name, planned)
            result = replace(result, changed=_would_change(result))
        else:
            result = _applied_result(name, planned, proof.get(name))
            result = replace(result, changed=result.changed or name in changed)
        # Without changes to make, a failed task only tells what the plan says.
        if name in failures and planned.state not in _LOST and verb == "apply":
            result = _with_failure(result, failures[name], proven=name in proof)
        if result.state is HostStatus.UNKNOWN and result.error is None:
            result = replace(result, error=interruption)
        results[name] = result
    for name, failure in failures.items():
        if name not in plan:
            results[name] = _with_failure(HostResult(name, HostStatus.UNKNOWN), failure)
    return results


def _would_change(result: HostResult) -> bool:
    return result.state is HostStatus.DRIFTED and bool(result.steps)


def _untouched_result(name: str, planned: Report, *, judged: bool = False) -> HostResult:
    """Give the result of a host that was only looked at; ``judged`` by what its checks say."""
    state = _LOST.get(planned.state, planned.host_status)
    if planned.state == _DRIFTED and not (judged and state is not HostStatus.UNKNOWN):
        state = HostStatus.DRIFTED
    return _result(name, planned, state, planned.steps)


def _applied_result(name: str, planned: Report, proven: Report | None) -> HostResult:
    if planned.state != _DRIFTED:
        return _untouched_result(name, planned)
    if proven is not None:
        return _proven_result(name, planned, proven)
    steps = _with_status(planned.steps, StepStatus.UNKNOWN)
    return _result(name, planned, HostStatus.UNKNOWN, steps)


def _proven_result(name: str, planned: Report, proven: Report) -> HostResult:
    """Give the result of a host that was looked at again: what is still planned has failed."""
    if proven.state in _LOST:
        steps = _with_status(planned.steps, StepStatus.UNKNOWN)
        seen = replace(proven, stack=proven.stack or planned.stack)
        return _result(name, seen, _LOST[proven.state], steps)
    left = {step.id for step in proven.steps}
    known = {step.id for step in planned.steps}
    steps = tuple(
        replace(step, status=StepStatus.FAILED if step.id in left else StepStatus.DONE)
        for step in planned.steps
    )
    new = _with_status((s for s in proven.steps if s.id not in known), StepStatus.FAILED)
    state = proven.host_status
    if left and state is not HostStatus.FAILED:
        state = HostStatus.DRIFTED
    result = _result(name, proven, state, steps + new)
    return replace(
        result,
        changed=any(step.status is StepStatus.DONE for step in steps),
        stack=proven.stack or planned.stack,
        facts=proven.facts or planned.facts,
        warnings=_unique((*planned.warnings, *proven.warnings)),
    )


def _result(name: str, seen: Report, state: HostStatus, steps: tuple[Step, ...]) -> HostResult:
    return HostResult(
        name=name,
        state=state,
        steps=steps,
        checks=seen.checks,
        error=seen.error,
        code=seen.code,
        warnings=seen.warnings,
        stack=seen.stack,
        facts=seen.facts,
        versions=seen.versions,
        reboot_required=seen.reboot_required,
    )


def _with_failure(result: HostResult, failure: Failure, *, proven: bool = False) -> HostResult:
    if proven:  # the proof knows the state better than the task that fails the host for it
        return replace(result, error=result.error or failure.message)
    state = HostStatus.UNREACHABLE if failure.unreachable else HostStatus.FAILED
    where = ": ".join(part for part in (failure.role, failure.task) if part)
    error = f"{where}: {failure.message}" if where else failure.message
    return replace(result, state=state, error=error, code=failure.code or result.code)


def _with_status(steps: Iterable[Step], status: StepStatus) -> tuple[Step, ...]:
    return tuple(replace(step, status=status) for step in steps)


def _unique(messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(dict.fromkeys(messages))
