"""The support table: what every GPU gets, and what every system is asked to install."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.components import resolve
from gpuprep.model import DesiredStack, HostFacts, Refusal
from gpuprep.packages.support import Support, support_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuprep.catalog.tables import Catalog, Gpu, System
    from gpuprep.model import Stack


_KERNEL = "6.0-any"  # stands for the running kernel


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, column names and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def support_tables(catalog: Catalog) -> tuple[Table, ...]:
    """Return the tables of ``explain --matrix``."""
    return (_gpu_table(catalog), _system_table(catalog))


def as_text(table: Table) -> str:
    """Lay a table out in columns for a terminal."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    body = ("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)) for line in lines)
    return "\n".join([table.title, *(line.rstrip() for line in body)])


def as_json(tables: Iterable[Table]) -> str:
    """Return tables for programs: by title a list of rows, each by column."""
    rows = {
        table.title: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        for table in tables
    }
    return json.dumps(rows, indent=2)


def as_markdown(table: Table) -> str:
    """Lay a table out in Markdown under a second-level heading."""
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    body = (f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
    return "\n".join([f"## {table.title}", "", *body])


def shapes_with(catalog: Catalog, gpu: Gpu) -> str:
    """Return the OCI shapes that carry a GPU."""
    return ", ".join(s.name for s in catalog.shapes.values() if s.gpu == gpu.id) or "-"


def _gpu_table(catalog: Catalog) -> Table:
    channels = tuple(catalog.channels)
    columns = ("GPU", "PCI id", "cc", *(f"channel {c}" for c in channels), "fabric", "OCI shapes")
    rows = tuple(
        (
            gpu.name,
            gpu.id,
            gpu.cc,
            *(_stack_in_words(catalog, gpu, channel) for channel in channels),
            gpu.fabric,
            shapes_with(catalog, gpu),
        )
        for gpu in catalog.gpus.values()
    )
    return Table("What each GPU gets when nothing is asked for", columns, rows)


def _stack_in_words(catalog: Catalog, gpu: Gpu, channel: str) -> str:
    arch = gpu.host_arch or "x86_64"
    system = next(s for s in catalog.systems.values() if arch in s.arches)
    facts = HostFacts((gpu.id,), system.name, arch)
    desired = DesiredStack(channel=channel, as_of=catalog.as_of)  # type: ignore[arg-type]
    outcome = resolve(facts, desired, catalog)
    if isinstance(outcome, Refusal):
        return outcome.code
    cuda = outcome.cuda[0].version
    return f"{outcome.branch} {outcome.flavour}, CUDA {cuda}, cuDNN {outcome.cudnn}"


def _system_table(catalog: Catalog) -> Table:
    columns = (
        *("System", "machines", "NVIDIA's directory", "CUDA seen there", "driver packages"),
        *("held by", "headers", "gpuprep"),
    )
    return Table("What each system is asked to install", columns, tuple(_system_rows(catalog)))


def _system_rows(catalog: Catalog) -> Sequence[tuple[str, ...]]:
    gpu = next(g for g in catalog.gpus.values() if g.flavours == ("open", "proprietary"))
    rows = []
    for system in catalog.systems.values():
        facts = HostFacts((gpu.id,), system.name, system.arches[0], kernel=_KERNEL)
        desired = DesiredStack(components=("driver",), as_of=catalog.as_of)
        stack = resolve(facts, desired, catalog)
        if isinstance(stack, Refusal):
            rows.append((system.name, "", "", "", stack.code, "", "", _support(system)))
            continue
        rows.append(
            (
                system.name,
                ", ".join(system.arches),
                system.distro,
                str(system.cuda),
                _names(stack, headers=False),
                _held_by(stack),
                _names(stack, headers=True),
                _support(system),
            )
        )
    return rows


def _support(system: System) -> str:
    levels: dict[Support, list[str]] = {}
    for arch in system.arches:
        levels.setdefault(support_of(system, arch), []).append(arch)
    if len(levels) == 1:
        return next(iter(levels))
    return "; ".join(f"{', '.join(arches)}: {level}" for level, arches in levels.items())


def _names(stack: Stack, *, headers: bool) -> str:
    def is_header(name: str, version: str | None) -> bool:
        return _KERNEL in f"{name} {version}" or name.endswith("-headers")

    chosen = (
        p
        for p in stack.packages
        if is_header(p.name, p.version) == headers and (headers or not p.pre_install)
    )
    text = " ".join(f"{p.name} {p.version}" if p.version else p.name for p in chosen)
    return text.replace(_KERNEL, "<kernel>")


def _held_by(stack: Stack) -> str:
    pins = [p.name for p in stack.packages if p.pre_install and (stack.branch or "") in p.name]
    lock = "version lock" if stack.version_locks else None
    return " + ".join(filter(None, (*pins, stack.stream, lock)))
