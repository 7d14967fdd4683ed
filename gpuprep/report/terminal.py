"""A result as text for people: a table per host, and a last line that explains the exit code."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gpuprep.components import COMPONENTS, NAMES
from gpuprep.errors import ExitCode
from gpuprep.model import (
    CheckStatus,
    FleetResult,
    HostResult,
    HostStatus,
    StepStatus,
)
from gpuprep.report.text import MANY, step_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.components.base import Component

_WIDTH: Final = 120  # characters, where the output is no terminal
_STATE_STYLE: Final = {
    HostStatus.READY: "green",
    HostStatus.PREPARED: "green",
    HostStatus.DRIFTED: "yellow",
    HostStatus.UNKNOWN: "yellow",
}
_STEP_MARK: Final = {
    StepStatus.PLANNED: "~",
    StepStatus.DONE: "+",
    StepStatus.FAILED: "!",
    StepStatus.UNKNOWN: "?",
}
_BAD_CHECKS: Final = frozenset({CheckStatus.FAILED, CheckStatus.WARNED})
_BAD_STATES: Final = (
    HostStatus.FAILED,
    HostStatus.REFUSED,
    HostStatus.UNREACHABLE,
    HostStatus.UNKNOWN,
    HostStatus.DRIFTED,
)


def render(result: FleetResult, code: ExitCode, stream: TextIO) -> None:
    """Write a result; colours and the terminal's width only on a terminal."""
    width = None if stream.isatty() else _WIDTH
    console = _Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    hosts = list(result.hosts.values())
    many = len(hosts) > MANY
    for host in hosts:
        if not many or _needs_attention(host):
            console.print(_host_view(host, with_checks=result.verb != "plan" and not result.check))
    if many:
        console.print(_summary_table(hosts))
    for warning in result.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    console.print(explain_exit_code(result, code), soft_wrap=True)


class _Console(Console):
    """A console that leaves it to its caller what a reader who has gone means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def explain_exit_code(result: FleetResult, code: ExitCode) -> str:
    """Return a sentence on what the exit code means for this result."""
    total = len(result.hosts)
    predicting = result.verb == "plan" or result.check
    bad = _bad_hosts(result.hosts.values(), predicting=predicting)
    rest = f"changes are pending on {_pending(result)}" if predicting else "the others are ok"
    words = {
        ExitCode.OK: _all_well(result),
        ExitCode.CHANGES_PENDING: f"changes are pending on {_pending(result)} of {total} hosts",
        ExitCode.SOME_HOSTS_FAILED: f"of {total} hosts, {bad}; {rest}",
        ExitCode.ALL_HOSTS_FAILED: f"no host is ok: {bad}",
        ExitCode.NOT_PROVEN: f"not proven: {bad}",
        ExitCode.LOCKED: f"another run is working here: {bad}",
        ExitCode.CANCELLED: "stopped before the end; run the same command again to go on",
    }
    if result.stopped:
        words[ExitCode.ALL_HOSTS_FAILED] = f"stopped, too many hosts failed: {bad}"
    return f"exit code {int(code)}: {words.get(code, code.name.lower())}"


def _all_well(result: FleetResult) -> str:
    total, pending = len(result.hosts), _pending(result)
    if pending:
        return f"nothing was touched; changes are pending on {pending} of {total} hosts"
    states = Counter(host.state.value for host in result.hosts.values())
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    changed = sum(host.changed for host in result.hosts.values())
    return f"{counted}; {changed} of {total} hosts changed"


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


def _summary_table(hosts: list[HostResult]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("host", "state", *NAMES, "changed"):
        table.add_column(heading)
    for host in hosts:
        versions = (host.versions.get(component, "-") for component in NAMES)
        table.add_row(host.name, _state(host), *versions, "yes" if host.changed else "no")
    return table


def _host_view(host: HostResult, *, with_checks: bool) -> Group:
    title = Text.assemble((host.name, "bold"), "  ", _state(host))
    if host.code:
        title.append(f"  [{host.code}]")
    lines = [Text(line) for line in _remarks(host, with_checks=with_checks)]
    parts: list[Text | Table | Padding] = [title]
    if host.stack is not None or host.versions:
        parts.append(_component_table(host))
    parts += [Padding(line, (0, 0, 0, 2), expand=False) for line in lines]
    return Group(*parts, Text())


def _state(host: HostResult) -> Text:
    return Text(host.state.value, style=_STATE_STYLE.get(host.state, "red"))


def _component_table(host: HostResult) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2))
    for heading in ("component", "wanted", "found", "state"):
        table.add_column(heading)
    for component in COMPONENTS:
        desired = "-" if host.stack is None else component.desired(host.stack)
        current = host.versions.get(component.name, "-")
        if {desired, current} != {"-"}:
            table.add_row(component.name, desired, current, _component_state(host, component))
    return table


def _component_state(host: HostResult, component: Component) -> str:
    statuses = Counter(step.status for step in host.steps if step.role == component.role)
    if not statuses:
        wanted = host.stack is not None and component.desired(host.stack) != "-"
        return "up to date" if wanted else "-"
    return ", ".join(f"{number} {status.value}" for status, number in sorted(statuses.items()))


def _remarks(host: HostResult, *, with_checks: bool) -> list[str]:
    remarks = []
    if host.error:
        remarks += host.error.splitlines()
    for step in host.steps:
        remarks.append(f"{_STEP_MARK[step.status]} {step_in_words(step)}")
    for check in host.checks if with_checks else ():
        if check.status in _BAD_CHECKS:
            remarks.append(f"{check.status.value}: {check.id}: {check.detail}")
            remarks += [f"  remedy: {check.remedy}"] if check.remedy else []
    remarks += [f"{warning.code}: {warning.message}" for warning in host.warnings]
    if host.reboot_required:
        remarks.append("a reboot is required before the new driver works")
    return remarks
