"""``gpuprep lock``: fix what a plan resolved to, and see what is newer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpuprep.model import FleetResult

_FILE = "gpuprep.lock.yml"


@click.command()
@click.option("--inventory", "-i", multiple=True, help="Inventory to plan for; repeatable.")
@click.option("--limit", "-l", help="Host pattern that narrows the inventory.")
@click.option(
    *("--file", "-f"),
    type=click.Path(dir_okay=False, path_type=Path),
    default=_FILE,
    show_default=True,
    help="Lock file.",
)
@click.option("--check", is_flag=True, help="Write nothing; say what exists in newer versions.")
def lock(inventory: tuple[str, ...], limit: str | None, file: Path, *, check: bool) -> None:
    """Write the exact version of every package, installer and key that the plan resolves to.

    Versions come from the index of NVIDIA's repository (or its mirror), read from here; a driver
    that is installed and fits stays at its version. With --check nothing is planned or written.
    """
    from gpuprep.catalog import load  # noqa: PLC0415  (help must not load the data)
    from gpuprep.lock import lock_document, newer_than, offer_of, read_lock  # noqa: PLC0415

    catalog, index = load(), lru_cache(offer_of)
    if check:
        found = newer_than(read_lock(file), catalog, index)
        for item in found:
            click.echo(f"{item.host_class}: {item.name} {item.locked} -> {item.newest}")
        click.echo(f"{file}: {len(found)} newer", err=True)
        return
    result = _plan(inventory, limit)
    document = lock_document(result.hosts.values(), catalog, index)
    file.write_text(document.to_text(), encoding="utf-8")
    _say(result, file, len(document.classes))


def _plan(inventory: tuple[str, ...], limit: str | None) -> FleetResult:
    from gpuprep import api  # noqa: PLC0415  (slow to import)

    return api.plan(inventory or None, limit=limit)


def _say(result: FleetResult, file: Path, classes: int) -> None:
    for host in result.hosts.values():
        if host.stack is None:
            click.echo(f"not locked: {host.name}: {host.error or host.state}", err=True)
    click.echo(f"{file}: {classes} host classes")
    click.get_current_context().exit(int(result.exit_code))
