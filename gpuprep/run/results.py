"""Plan, proof and transcript of a run, put together into what happened to each host. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuprep.errors import EngineError
from gpuprep.fleet.failures import settings_error
from gpuprep.fleet.report import HostReport
from gpuprep.model import HostResult, HostStatus, PlanState, StepStatus
from gpuprep.model.codec import DecodeError, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gpuprep.fleet.failures import Failure
    from gpuprep.model import Message, Step

_CONFIG_CODE = "E_CONFIG"
_UNKNOWN = StepStatus.UNKNOWN


def read_reports(documents: Iterable[Mapping[str, Any]]) -> dict[str, HostReport]:
    """Return the reports of hosts that the plan or the proof action wrote; later ones win.

    Raises:
        EngineError: a document has another form; the plugins and this package do not fit.

    """
    hosts: dict[str, HostReport] = {}
    for document in documents:
        try:
            hosts |= {name: decode(HostReport, data) for name, data in document["hosts"].items()}
        except (DecodeError, KeyError, AttributeError, TypeError) as error:
            raise EngineError(
                f"the plan cannot be understood ({error}): the collection and the package are of "
                "different versions; install both from one release"
            ) from error
    return hosts


def refuse_settings(hosts: Mapping[str, HostReport]) -> None:
    """Complain when no host's settings make sense: that is the caller's mistake, not the hosts'.

    Raises:
        ConfigError: with what is wrong. Nothing was touched.

    """
    if hosts and all(host.code == _CONFIG_CODE for host in hosts.values()):
        raise settings_error({name: host.error or "" for name, host in hosts.items()})


def host_results(  # noqa: PLR0913 - everything a run leaves behind
    plan: Mapping[str, HostReport],
    proof: Mapping[str, HostReport],
    failures: Mapping[str, Failure],
    changed: Collection[str] = (),
    *,
    verb: str = "apply",
    check: bool = False,
    interruption: str | None = None,
) -> dict[str, HostResult]:
    """Return the result of every host, in the plan's order.

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
        if verb == "plan" or check:
            result = _predicted_result(name, planned)
        elif verb != "apply":
            result = _untouched_result(name, planned, judged=True)
        else:
            result = _applied_result(name, planned, proof.get(name))
            result = replace(result, changed=result.changed or name in changed)
        # Without changes to make, a failed task only tells what the plan says.
        if name in failures and planned.ok and verb == "apply":
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


def _untouched_result(name: str, planned: HostReport, *, judged: bool = False) -> HostResult:
    """Return the result of a host that was only looked at; ``judged`` by what its checks say."""
    state = planned.lost or planned.host_status
    if planned.state is PlanState.DRIFTED and not (judged and state is not HostStatus.UNKNOWN):
        state = HostStatus.DRIFTED
    return _result(name, planned, state, planned.steps)


def _predicted_result(name: str, planned: HostReport) -> HostResult:
    """Return what would become of a host: of its steps, those that the run would carry out."""
    result = _untouched_result(name, planned)
    steps = tuple(step for step in result.steps if step.id not in planned.left_out)
    result = replace(result, steps=steps)
    return replace(result, changed=_would_change(result))


def _applied_result(name: str, planned: HostReport, proven: HostReport | None) -> HostResult:
    left_out = bool(planned.steps) and {s.id for s in planned.steps} <= {*planned.left_out}
    if proven is None and (planned.state is not PlanState.DRIFTED or left_out):
        return _untouched_result(name, planned)
    if proven is not None:
        return _proven_result(name, planned, proven)
    # Whatever the checks showed before, this host may have been changed since.
    unseen = replace(planned, checks=())
    return _result(name, unseen, HostStatus.UNKNOWN, _with_status(planned.steps, _UNKNOWN))


def _proven_result(name: str, planned: HostReport, proven: HostReport) -> HostResult:
    """Return the result of a host that was looked at again: what is still planned has failed."""
    if proven.lost is not None:
        steps = _with_status(planned.steps, _UNKNOWN)
        seen = replace(proven, stack=proven.stack or planned.stack)
        # Refused means untouched, and this host was not.
        lost = HostStatus.FAILED if proven.lost is HostStatus.REFUSED else proven.lost
        return _failed(_result(name, seen, lost, steps), proven.failure)
    left = {step.id for step in proven.steps}
    known = {step.id for step in planned.steps}
    new = tuple(step for step in proven.steps if step.id not in known)
    steps = tuple(
        replace(step, status=_became(step, left, proven.left_out))
        for step in (*planned.steps, *new)
    )
    state = proven.host_status
    if left and state is not HostStatus.FAILED:
        state = HostStatus.DRIFTED
    result = _result(name, proven, state, steps)
    result = replace(
        result,
        changed=any(step.status is StepStatus.DONE for step in steps),
        stack=proven.stack or planned.stack,
        facts=proven.facts or planned.facts,
        warnings=_unique((*planned.warnings, *proven.warnings)),
    )
    return _failed(result, proven.failure)


def _became(step: Step, left: Collection[str], left_out: Collection[str]) -> StepStatus:
    """Return what became of a step, by the steps that are still to do and those not meant."""
    if step.id not in left:
        return StepStatus.DONE
    return StepStatus.PLANNED if step.id in left_out else StepStatus.FAILED


def _failed(result: HostResult, failure: Failure | None) -> HostResult:
    """Return the result of a host whose role failed before it was observed again."""
    if failure is None:
        return result
    error = failure.sentence
    if result.error:  # and then it could not be observed either
        code = failure.code or result.code
        return replace(result, error=f"{error}; then: {result.error}", code=code)
    return replace(result, state=HostStatus.FAILED, error=error, code=failure.code or result.code)


def _result(name: str, seen: HostReport, state: HostStatus, steps: tuple[Step, ...]) -> HostResult:
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
        jobs=seen.jobs,
    )


def _with_failure(result: HostResult, failure: Failure, *, proven: bool = False) -> HostResult:
    if proven:  # the proof knows the state better than the task that fails the host for it
        return replace(result, error=result.error or failure.message)
    state = HostStatus.UNREACHABLE if failure.unreachable else HostStatus.FAILED
    return replace(result, state=state, error=failure.sentence, code=failure.code or result.code)


def _with_status(steps: Iterable[Step], status: StepStatus) -> tuple[Step, ...]:
    return tuple(replace(step, status=status) for step in steps)


def _unique(messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(dict.fromkeys(messages))
