"""A result as text for people: a table per host, and a last line that explains the exit code."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
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
from gpuprep.report.summary import UNLIMITED, fits, print_summary, state_in_colour
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
_WIDTH: Final = 120  # characters of what is told in sentences, where the output is no terminal
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
    # A file has no width: tables and names of hosts take what they need.
    width = None if stream.isatty() else UNLIMITED
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
        view.print(console, names)
    if fold and any(is_folded(host.steps) for host in hosts):
        console.print("Steps are summed up; -v tells each.\n")
    if many:
        print_summary(console, hosts, with_checks=result.verb in LOOKING)
    for warning in result.warnings:
        _print_line(console, f"warning: {warning}")
    if code is not None:
        _print_line(console, explain_exit_code(result, code))


def _print_line(console: Console, line: str) -> None:
    """Write a line: wrapped between words on a terminal, whole for programs."""
    if console.is_terminal:
        line = "\n".join(_wrapped(line, _width_of(console), first=""))
    console.print(line, soft_wrap=True)


def _width_of(console: Console) -> int:
    return max(console.width, _NARROWEST) if console.is_terminal else _WIDTH


class _Console(Console):
    """A console that leaves it to its caller what a reader who has gone means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _needs_attention(host: HostResult) -> bool:
    return not host.ok or bool(host.warnings) or host.reboot_required


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

    def print(self, console: Console, names: Sequence[str]) -> None:
        """Write it under the names of its hosts."""
        width = _width_of(console)
        title = Text.assemble((_names(names), "bold"), "  ", state_in_colour(self.state))
        if self.code:
            title.append(f"  [{self.code}]")
        console.print(title)
        ladder = [f"ladder: {self.ladder}"] if self.ladder else []
        _print_hanging(console, (*self.reasons, *ladder), width)
        if self.components:
            table = _component_table(self.components)
            if fits(table, console):
                console.print(table)
            else:
                _print_hanging(console, map(_component_in_words, self.components), width)
        _print_hanging(console, self.lines, width)
        for line in ("", *self.diffs) if self.diffs else ():
            console.print(_diff_line(line) if line else "")
        console.print()


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


def _print_hanging(console: Console, lines: Iterable[str], width: int) -> None:
    """Write lines in pieces that fit; those after the first stand further in."""
    for line in lines:
        for piece in _wrapped(line, width, first=_INDENT):
            console.print(Text(piece, overflow="fold"))


def _wrapped(line: str, width: int, *, first: str) -> list[str]:
    """Return a line in pieces that fit, broken between words only: names stay whole."""
    return textwrap.wrap(
        line,
        width,
        initial_indent=first,
        subsequent_indent=_INDENT * 3,
        break_long_words=False,
        break_on_hyphens=False,
    )


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


def _component_in_words(row: Sequence[str]) -> str:
    name, wanted, found, state = row
    return f"{name}: wanted {wanted}; found {found}; {state}"


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
