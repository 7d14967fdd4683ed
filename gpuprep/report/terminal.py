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

from gpuprep.model import (
    CheckStatus,
    FleetResult,
    HostResult,
    HostStatus,
    StepStatus,
)
from gpuprep.model.jobs import in_words
from gpuprep.report.outcome import LOOKING, explain_exit_code
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
    from gpuprep.errors import ExitCode
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
        console.print(_summary_table(hosts, with_checks=result.verb in LOOKING))
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
