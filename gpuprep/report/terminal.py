"""A result as text for people: a table per host, and a last line that explains the exit code."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gpuprep.errors import ExitCode
from gpuprep.model import (
    CheckStatus,
    FleetResult,
    HostResult,
    HostStatus,
    StepStatus,
)
from gpuprep.model.jobs import in_words
from gpuprep.report.text import (
    MANY,
    diff_in_lines,
    in_seconds,
    is_folded,
    ladder_in_words,
    operations_in_words,
    steps_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuprep.components.base import Component
    from gpuprep.model import CheckResult

MOST_NAMES: Final = 8  # of hosts that are shown together
_NARROWEST: Final = 20  # characters
_INDENT: Final = "  "
_WIDTH: Final = 120  # characters, where the output is no terminal
_STATE_STYLE: Final = {
    HostStatus.READY: "green",
    HostStatus.PREPARED: "green",
    HostStatus.DRIFTED: "yellow",
    HostStatus.UNKNOWN: "yellow",
}
_DIFF_STYLE: Final = {"+": "green", "-": "red", "@": "cyan"}
_STEP_MARK: Final = {
    StepStatus.PLANNED: "~",
    StepStatus.DONE: "+",
    StepStatus.FAILED: "!",
    StepStatus.UNKNOWN: "?",
}
_LOOKING: Final = frozenset({"verify", "status"})  # verbs that never change a host
_BAD_STATES: Final = (
    HostStatus.FAILED,
    HostStatus.REFUSED,
    HostStatus.UNREACHABLE,
    HostStatus.UNKNOWN,
    HostStatus.DRIFTED,
)


def render(
    result: FleetResult, code: ExitCode | None, stream: TextIO, *, fold: bool = True
) -> None:
    """Write a result; colours and the terminal's width only on a terminal.

    Args:
        result: what happened.
        code: the exit code that the last line explains; None = nothing has ended yet.
        stream: where to.
        fold: what a role does in many steps takes one line.

    """
    width = None if stream.isatty() else _WIDTH
    console = _Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    hosts = list(result.hosts.values())
    many = len(hosts) > MANY
    with_checks = result.verb != "plan" and not result.check
    alike: dict[_View, list[str]] = {}
    for host in hosts:
        if not many or _needs_attention(host):
            view = _view(host, with_checks=with_checks, fold=fold)
            alike.setdefault(view, []).append(host.name)
    for view, names in alike.items():
        console.print(view.shown(names, max(console.width, _NARROWEST)))
    if fold and any(is_folded(host.steps) for host in hosts):
        console.print("Steps are summed up; -v tells each.\n")
    if many:
        console.print(_summary_table(hosts, with_checks=result.verb in _LOOKING))
    for warning in result.warnings:
        _print_line(console, f"warning: {warning}")
    if code is not None:
        _print_line(console, explain_exit_code(result, code))


def _print_line(console: Console, line: str) -> None:
    """Write a line: wrapped between words on a terminal, whole for programs."""
    if console.is_terminal:
        indent = _INDENT * 3
        line = textwrap.fill(line, max(console.width, _NARROWEST), subsequent_indent=indent)
    console.print(line, soft_wrap=True)


class _Console(Console):
    """A console that leaves it to its caller what a reader who has gone means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


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
    if result.verb in _LOOKING:
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


def _needs_attention(host: HostResult) -> bool:
    return not host.ok or bool(host.warnings) or host.reboot_required


def _summary_table(hosts: list[HostResult], *, with_checks: bool) -> Table:
    from gpuprep.components import KNOWN, NAMES  # noqa: PLC0415 - they make starting long

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    last = ("passed", "not tried", "failed") if with_checks else ("changed",)
    there = {name for host in hosts for name in host.versions}
    names = tuple(name for name in KNOWN if name in NAMES or name in there)
    for heading in ("host", "state", *names, *last):
        table.add_column(heading)
    for host in hosts:
        versions = (host.versions.get(component, "-") for component in names)
        counts = Counter(check.status for check in host.checks)
        ladder = (CheckStatus.PASSED, CheckStatus.SKIPPED, CheckStatus.FAILED)
        cells = [str(counts[status]) for status in ladder] if with_checks else [_changed(host)]
        table.add_row(host.name, _state(host.state), *versions, *cells)
    return table


def _changed(host: HostResult) -> str:
    return "yes" if host.changed else "no"


@dataclass(frozen=True, slots=True)
class _View:
    """What is shown of a host, but for its name: of equal hosts it is shown once."""

    state: HostStatus
    code: str | None
    reasons: tuple[str, ...]
    ladder: str
    components: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]
    diffs: tuple[str, ...] = ()

    def shown(self, names: Sequence[str], width: int) -> Group:
        """Return it under the names of its hosts."""
        title = Text.assemble((_names(names), "bold"), "  ", _state(self.state))
        if self.code:
            title.append(f"  [{self.code}]")
        parts: list[Text | Table] = [title]
        parts += [piece for line in self.reasons for piece in _hanging(line, width)]
        if self.ladder:
            parts += _hanging(f"ladder: {self.ladder}", width)
        if self.components:
            parts.append(_component_table(self.components))
        parts += [piece for line in self.lines for piece in _hanging(line, width)]
        parts += [Text(), *map(_diff_line, self.diffs)] if self.diffs else []
        return Group(*parts, Text())


def _view(host: HostResult, *, with_checks: bool, fold: bool) -> _View:
    refused = host.state is HostStatus.REFUSED
    # What a refused host lacks is no news: it was left as it is.
    checks = host.checks if with_checks and not refused else ()
    words = ladder_in_words((check.status, check.detail) for check in checks) if checks else ""
    components = () if refused else tuple(_components(host))
    reasons = _reasons(host, checks, fold=fold)
    remarks = _remarks(host, checks, fold=fold)
    diffs = tuple(line for one in host.diffs for line in diff_in_lines(one))
    return _View(host.state, host.code, tuple(reasons), words, components, tuple(remarks), diffs)


def _diff_line(line: str) -> Text:
    """Return a line of a diff, whole: what is cut off cannot be compared."""
    style = _DIFF_STYLE.get(line[:1], "") if not line.startswith(("---", "+++")) else "bold"
    return Text(f"{_INDENT}{line}", style=style, overflow="fold")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _hanging(line: str, width: int) -> list[Text]:
    """Return a line in pieces that fit; those after the first stand further in."""
    pieces = textwrap.wrap(
        line,
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT * 3,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [Text(piece, overflow="fold") for piece in pieces]


def _state(state: HostStatus) -> Text:
    return Text(state.value, style=_STATE_STYLE.get(state, "red"))


def _components(host: HostResult) -> Iterator[tuple[str, ...]]:
    """Return a row per component that is wanted or found: name, wanted, found, state."""
    from gpuprep.components import COMPONENTS  # noqa: PLC0415 - they make starting long

    for component in COMPONENTS:
        desired = "-" if host.stack is None else component.desired(host.stack)
        current = host.versions.get(component.name, "-")
        if {desired, current} != {"-"}:
            yield component.name, desired, current, _component_state(host, component)


def _component_table(rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2))
    for heading in ("component", "wanted", "found", "state"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    return table


def _component_state(host: HostResult, component: Component) -> str:
    statuses = Counter(step.status for step in host.steps if step.role == component.role)
    if not statuses:
        wanted = host.stack is not None and component.desired(host.stack) != "-"
        return "up to date" if wanted else "-"
    return ", ".join(f"{number} {status.value}" for status, number in sorted(statuses.items()))


def _reasons(host: HostResult, checks: Iterable[CheckResult], *, fold: bool) -> Iterator[str]:
    """Return why a host is not as it should be: what one has to see first."""
    yield from (host.error or "").splitlines()
    for check in checks:
        if check.status is CheckStatus.FAILED:
            yield from _check_in_words(check, fold=fold)


def _check_in_words(check: CheckResult, *, fold: bool) -> Iterator[str]:
    took = "" if fold or check.seconds is None else f" ({in_seconds(check.seconds)})"
    yield f"{check.status.value}: {check.id}: {check.detail}{took}"
    if check.remedy:
        yield f"  remedy: {check.remedy}"


def _remarks(host: HostResult, checks: Iterable[CheckResult], *, fold: bool) -> Iterator[str]:
    for status, words in steps_in_words(host.steps, fold=fold):
        yield f"{_STEP_MARK[status]} {words}"
    if not fold:
        yield from operations_in_words(host.operations)
    for check in checks:
        if check.status is CheckStatus.WARNED or (check.status is CheckStatus.PASSED and not fold):
            yield from _check_in_words(check, fold=fold)
    yield from (f"{warning.code}: {warning.message}" for warning in host.warnings)
    yield from (f"job {job.name}: {in_words(job)}" for job in host.jobs)
    if host.reboot_required:
        yield "a reboot is required before the new driver works"
