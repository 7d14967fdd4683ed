"""What a run came to, in one sentence. Light to import: programs ask for nothing else."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.model import FleetResult, HostResult

LOOKING: Final = frozenset({"verify", "status"})  # verbs that never change a host
_BAD_STATES: Final = (
    HostStatus.FAILED,
    HostStatus.REFUSED,
    HostStatus.UNREACHABLE,
    HostStatus.UNKNOWN,
    HostStatus.DRIFTED,
)


def explain_exit_code(result: FleetResult, code: ExitCode) -> str:
    """Return a sentence on what the exit code means for this result."""
    total = len(result.hosts)
    predicting = result.verb == "plan" or result.check
    bad = _bad_hosts(result.hosts.values(), predicting=predicting)
    rest = _rest_pending(result) if predicting else _good_hosts(result)
    and_rest = f"; {rest}" if rest else ""
    words = {
        ExitCode.OK: _all_well(result, predicting=predicting),
        ExitCode.CHANGES_PENDING: f"changes are pending on {_pending(result)} of {total} hosts",
        ExitCode.SOME_HOSTS_FAILED: f"of {total} hosts, {bad}{and_rest}",
        ExitCode.ALL_HOSTS_FAILED: f"no host is ok: {bad}",
        ExitCode.NOT_PROVEN: f"not proven: {bad}{and_rest}",
        ExitCode.LOCKED: f"another run is working here: {bad}{and_rest}",
        ExitCode.CANCELLED: "stopped before the end; run the same command again to go on",
    }
    if result.stopped:
        words[ExitCode.ALL_HOSTS_FAILED] = f"stopped, too many hosts failed: {bad}"
    return f"exit code {int(code)}: {words.get(code, code.name.lower())}"


def _all_well(result: FleetResult, *, predicting: bool) -> str:
    total, pending = len(result.hosts), _pending(result)
    if pending and not predicting:
        good = _good_hosts(result)
        done = f"done in part, as the tags say, on {pending} of {total} hosts"
        return f"{done}; {good}" if good else done
    if pending:
        return f"nothing was touched; changes are pending on {pending} of {total} hosts"
    if predicting:
        rest = " by these tags" if result.in_part else ""
        return f"nothing to change{rest} on {total} host{'s' * (total != 1)}"
    good = _good_hosts(result)
    if result.verb in LOOKING:
        return good
    changed = sum(host.changed for host in result.hosts.values())
    if not changed:
        return f"{good}; nothing had to be changed"
    others = total - changed
    was = f", {others} {'were' if others > 1 else 'was'} up to date" if others else ""
    return f"{good}; {changed} of {total} hosts changed{was}"


def _good_hosts(result: FleetResult) -> str:
    """Return how many hosts are in which good state, and whether a GPU was proven on any."""
    states = Counter(host.state for host in result.hosts.values() if host.ok)
    counted = ", ".join(f"{number} {state.value}" for state, number in sorted(states.items()))
    unproven = states[HostStatus.PREPARED] and not states[HostStatus.READY]
    return f"{counted}, none proven on a GPU" if unproven else counted


def _rest_pending(result: FleetResult) -> str:
    pending = _pending(result)
    return f"changes are pending on {pending}" if pending else "nothing to change on the others"


def _pending(result: FleetResult) -> int:
    return sum(
        any(step.status is StepStatus.PLANNED for step in host.steps)
        for host in result.hosts.values()
    )


def _bad_hosts(hosts: Iterable[HostResult], *, predicting: bool) -> str:
    """Return the hosts in every bad state, e.g. ``1 refused (h4)``."""
    fine = {HostStatus.DRIFTED, HostStatus.UNKNOWN} if predicting else set()
    by_state: dict[HostStatus, list[str]] = {}
    for host in hosts:
        by_state.setdefault(host.state, []).append(host.name)
    parts = []
    for state in _BAD_STATES:
        names = [] if state in fine else by_state.get(state, [])
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")  # noqa: PLR2004
            parts.append(f"{len(names)} {state.value} ({shown})")
    return ", ".join(parts)
