"""Plans and checks in words, for every place that shows them; no colours, no tables."""

from __future__ import annotations

from collections import Counter
from difflib import unified_diff
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from gpuprep.model import CheckStatus, FileDiff, StepStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuprep.model import Done, Step
    from gpuprep.planner import HostPlan

MOST_STEPS: Final = 3  # of a role, that are told one by one
_TENTH: Final = 0.1  # seconds
_FOLDED: Final = frozenset({StepStatus.PLANNED, StepStatus.DONE})  # the others are looked into
_ABSENT: Final = frozenset({" does not exist", " is not installed"})
MANY: Final = 16  # hosts; of larger fleets, only what needs attention is shown in full


def step_in_words(step: Step) -> str:
    """Return what a step does to what, and why."""
    change = f" ({step.before or 'none'} -> {step.after})" if step.after else ""
    news = news_of(step.target, step.reason)
    told = f"{step.role}: {step.action} {step.kind} {step.target}{change}"
    return f"{told}: {news}" if news else told


def steps_in_words(steps: Sequence[Step], *, fold: bool = True) -> Iterator[tuple[StepStatus, str]]:
    """Return the steps of a host by their status, in lines.

    Args:
        steps: in their order.
        fold: what a role does, or did, in many steps takes one line.

    """
    for (role, status), grouped in groupby(steps, key=lambda step: (step.role, step.status)):
        own = list(grouped)
        if fold and status in _FOLDED and len(own) > MOST_STEPS:
            yield status, f"{role}: {len(own)} steps: {_actions(own)}"
        else:
            yield from ((status, step_in_words(step)) for step in own)


def in_seconds(seconds: float) -> str:
    """Return a short time in words.

    >>> in_seconds(12.34), in_seconds(0.0034)
    ('12.3 s', '3 ms')
    """
    return f"{seconds:.1f} s" if seconds >= _TENTH else f"{seconds * 1000:.0f} ms"


def operations_in_words(operations: Iterable[Done]) -> Iterator[str]:
    """Return what a host carried out, with the time that each took, in lines."""
    for done in operations:
        took = "" if done.seconds is None else f" ({in_seconds(done.seconds)})"
        yield f"{'*' if done.changed else '='} {done.role}: {done.detail}{took}"


def diff_of(stored: Mapping[str, Any]) -> FileDiff:
    """Return a diff as ``report.json`` has it."""
    return FileDiff(*(str(stored.get(key) or "") for key in ("path", "before", "after")))


def diff_in_lines(diff: FileDiff) -> Iterator[str]:
    """Return what a file became, as a unified diff."""
    before, after = diff.before.splitlines(), diff.after.splitlines()
    old = diff.path if before else "/dev/null"
    return unified_diff(before, after, old, diff.path, n=1, lineterm="")


def is_folded(steps: Sequence[Step]) -> bool:
    """Return whether steps of a host are told in fewer lines than there are steps."""
    return sum(1 for _ in steps_in_words(steps)) < len(steps)


def _actions(steps: Sequence[Step]) -> str:
    """Return what steps do, in short: ``create key, pin; install 3 packages``."""
    counts: dict[str, Counter[str]] = {}
    for step in steps:
        counts.setdefault(step.action, Counter())[step.kind] += 1
    return "; ".join(
        f"{action} {', '.join(_counted(kind, number) for kind, number in kinds.items())}"
        for action, kinds in counts.items()
    )


def _counted(kind: str, number: int) -> str:
    if number == 1:
        return kind
    return f"{number} {kind.removesuffix('y')}ies" if kind.endswith("y") else f"{number} {kind}s"


def news_of(target: str, reason: str) -> str:
    """Return what the reason of a step adds to its target; empty where it is mere absence.

    >>> news_of("/etc/x", "/etc/x does not exist"), news_of("gcc", "dkms needs gcc")
    ('', 'dkms needs gcc')
    """
    return "" if reason.removeprefix(target) in _ABSENT else reason


def fleet_in_words(plans: Mapping[str, HostPlan]) -> Iterator[str]:
    """Return, line by line, what was planned: a line per host, the steps too of few hosts."""
    for name, plan in plans.items():
        if not plan.ok:
            yield f"{name}: {plan.state} [{plan.code}]: {plan.error}"
            yield from _warnings(plan)
            continue
        yield f"{name}: {_outcome(plan)}"
        if len(plans) <= MANY:
            yield from (f"  ~ {step_in_words(step)}" for step in plan.steps)
        yield from _warnings(plan)
        if plan.reboot_required:
            yield "  a reboot is required before the new driver works"


def _warnings(plan: HostPlan) -> Iterator[str]:
    yield from (f"  {warning.code}: {warning.message}" for warning in plan.warnings)


def _outcome(plan: HostPlan) -> str:
    number = len(plan.steps)
    steps = f"{number} step{'s' if number > 1 else ''} to do" if number else "up to date"
    if plan.stack is None:
        return steps
    from gpuprep.components import COMPONENTS  # noqa: PLC0415 - they make starting long

    desired = {component.name: component.desired(plan.stack) for component in COMPONENTS}
    stack = ", ".join(f"{name} {version}" for name, version in desired.items() if version != "-")
    return f"{steps}; {stack}"


def ladder_in_words(checks: Iterable[tuple[str, str]]) -> str:
    """Return how far the ladder was climbed, and why not all of it.

    Args:
        checks: status and detail of each check.

    >>> ladder_in_words([("passed", ""), ("skipped", "no driver"), ("skipped", "no driver")])
    '1 passed, 2 not tried (no driver), 0 failed'

    """
    checks = tuple(checks)
    counts = Counter(status for status, _ in checks)
    reasons = Counter(detail for status, detail in checks if status == CheckStatus.SKIPPED)
    parts = [f"{counts[CheckStatus.PASSED]} passed"]
    if reasons:
        ((reason, _),) = reasons.most_common(1)
        mostly = "mostly: " if len(reasons) > 1 else ""
        parts.append(f"{counts[CheckStatus.SKIPPED]} not tried ({mostly}{reason})")
    if counts[CheckStatus.WARNED]:
        parts.append(f"{counts[CheckStatus.WARNED]} warned")
    return ", ".join((*parts, f"{counts[CheckStatus.FAILED]} failed"))


def checks_in_words(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    """Return what state a host is in, how far the ladder was climbed, and what is warned of.

    Args:
        name: the host.
        told: ``checks`` and, where they were judged, ``host_status`` as in ``report.json``;
            ``state`` of the plan else.

    """
    checks = told["checks"]
    words = ladder_in_words((check["status"], check["detail"]) for check in checks)
    state = told.get("host_status", told["state"])
    yield f"{name}: {state}; ladder: {words if checks else 'not climbed'}"
    for check in checks:
        if check["status"] == CheckStatus.WARNED:
            yield f"  {check['id']}: {check['detail']}"
