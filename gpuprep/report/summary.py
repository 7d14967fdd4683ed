"""Every host of a large fleet, in short: a row each, or those that are alike told together."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gpuprep.model import CheckStatus, HostStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from gpuprep.model import HostResult

UNLIMITED: Final = 100_000  # characters; more than a line ever has
_INDENT: Final = "  "
_GAP: Final = 2  # between names that stand beside each other
_LADDER: Final = {
    CheckStatus.PASSED: "passed",
    CheckStatus.SKIPPED: "not tried",
    CheckStatus.FAILED: "failed",
}
_STATE_STYLE: Final = {
    HostStatus.READY: "green",
    HostStatus.PREPARED: "green",
    HostStatus.DRIFTED: "yellow",
    HostStatus.UNKNOWN: "yellow",
}


def print_summary(console: Console, hosts: Sequence[HostResult], *, with_checks: bool) -> None:
    """Write a row per host, or groups of hosts that are alike where the rows are too wide.

    Nothing is ever cut: names that begin alike could not be told apart, nor could versions.
    """
    table = _table(hosts, with_checks=with_checks)
    if fits(table, console):
        console.print(table)
        return
    for line in _groups(hosts, console.width, with_checks=with_checks):
        # A name that is wider than the terminal is broken by it, so that it can be copied whole.
        console.print(line, soft_wrap=True)


def fits(table: Table, console: Console) -> bool:
    """Return whether a table can be shown with every cell whole, on one line."""
    free = console.options.update(max_width=UNLIMITED)
    return Measurement.get(console, free, table).maximum <= console.width


def state_in_colour(state: HostStatus) -> Text:
    """Return a state, in the colour that says how good it is."""
    return Text(state.value, style=_STATE_STYLE.get(state, "red"))


def _components(hosts: Sequence[HostResult]) -> tuple[str, ...]:
    """Return the components to tell of: the usual ones, and others that a host has."""
    from gpuprep.components import KNOWN, NAMES  # noqa: PLC0415 - they make starting long

    there = {name for host in hosts for name in host.versions}
    return tuple(name for name in KNOWN if name in NAMES or name in there)


def _table(hosts: Sequence[HostResult], *, with_checks: bool) -> Table:
    # A gap of two, and numbers no wider than they have to be: 80 columns are soon full.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    names = _components(hosts)
    for heading in ("host", "state", *names):
        table.add_column(heading)
    if with_checks:
        for heading in _LADDER.values():
            table.add_column(heading.replace(" ", "\n"), justify="right", vertical="bottom")
    else:
        table.add_column("changed")
    for host in hosts:
        versions = (host.versions.get(component, "-") for component in names)
        counts = _counts(host)
        changed = "yes" if host.changed else "no"
        cells = [str(counts[status]) for status in _LADDER] if with_checks else [changed]
        table.add_row(host.name, state_in_colour(host.state), *versions, *cells)
    return table


def _counts(host: HostResult) -> Counter[CheckStatus]:
    return Counter(check.status for check in host.checks)


def _groups(hosts: Sequence[HostResult], width: int, *, with_checks: bool) -> Iterator[Text]:
    """Return, line by line, what hosts have in common, and under it their names."""
    components = _components(hosts)
    alike: dict[tuple[HostStatus, tuple[str, ...]], list[str]] = {}
    for host in hosts:
        told = tuple(_told(host, components, with_checks=with_checks))
        alike.setdefault((host.state, told), []).append(host.name)
    for (state, told), names in alike.items():
        title = f"{len(names)} hosts" if len(names) > 1 else names[0]
        yield Text.assemble((title, "bold"), "  ", state_in_colour(state))
        yield from (Text(line) for words in told for line in _wrapped(words, width))
        if len(names) > 1:
            yield from map(Text, _in_columns(names, width))
        yield Text()


def _told(host: HostResult, components: Sequence[str], *, with_checks: bool) -> Iterator[str]:
    """Return what a host has and how far its checks came, in lines."""
    versions = [f"{name} {host.versions[name]}" for name in components if name in host.versions]
    if versions:
        yield ", ".join(versions)
    if not with_checks:
        yield "changed" if host.changed else "not changed"
    elif host.checks and host.state is not HostStatus.REFUSED:
        counts = _counts(host)
        yield ", ".join(f"{counts[status]} {word}" for status, word in _LADDER.items())


def _wrapped(words: str, width: int) -> list[str]:
    return textwrap.wrap(
        words,
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _in_columns(names: Sequence[str], width: int) -> Iterator[str]:
    """Return names in as many columns as there is room for, read downwards as `ls` has them."""
    widest = max(map(cell_len, names))
    indent = " " * max(0, min(len(_INDENT) * 2, width - widest))
    columns = max(1, (width - len(indent) + _GAP) // (widest + _GAP))
    lines = -(-len(names) // columns)
    for line in range(lines):
        row = names[line::lines]
        padded = (name + " " * (widest + _GAP - cell_len(name)) for name in row)
        yield (indent + "".join(padded)).rstrip()
