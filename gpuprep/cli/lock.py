"""``gpuprep lock``: fix what a plan resolved to, and see what is newer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import click

from gpuprep.cli.output import write_file
from gpuprep.cli.params import reach_options
from gpuprep.cli.verbs import DEFAULT_FILE, Typed, carry_out
from gpuprep.errors import ConfigError, ExitCode


@click.command()
@reach_options
@click.option(
    *("--lock-file", "--file", "file"),
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    help="The lock file, as for `apply --locked`.",
)
@click.option("--check", is_flag=True, help="Write nothing; say what exists in newer versions.")
def lock(*, file: Path, check: bool, **typed: Any) -> int:  # noqa: ANN401 - click's values
    """Write the exact version of every package, installer and key that the plan resolves to.

    Versions come from the index of NVIDIA's repository (or its mirror), read from here; a driver
    that is installed and fits stays at its version. One of the distribution's archive is locked as
    a prepared host has it. With --check nothing is planned or written.
    """
    from gpuprep import api  # noqa: PLC0415  (slow to import, as all of these)
    from gpuprep.catalog import load  # noqa: PLC0415
    from gpuprep.lock.lockfile import lock_document, newer_than, read_lock  # noqa: PLC0415
    from gpuprep.lock.repository_index import index_of  # noqa: PLC0415

    catalog, index = load(), lru_cache(index_of)
    if check:
        found = newer_than(read_lock(file), catalog, index)
        for item in found:
            click.echo(f"{item.host_class}: {item.name} {item.locked} -> {item.newest}")
        click.echo(f"{file}: {len(found)} newer", err=True)
        return ExitCode.OK
    result = carry_out(api.plan, Typed(**typed))
    document = lock_document(result.hosts.values(), catalog, index)
    for host in result.hosts.values():
        if host.stack is None:
            click.echo(f"not locked: {host.name}: {host.error or host.state}", err=True)
    if result.exit_code is ExitCode.CANCELLED or not document.classes:
        click.echo(f"{file}: not written", err=True)
        return result.exit_code
    _write(file, document.to_text())
    click.echo(f"{file}: {len(document.classes)} host classes")
    return result.exit_code


def _write(file: Path, text: str) -> None:
    try:
        write_file(file, text)
    except OSError as error:
        raise ConfigError(f"lock file {file} cannot be written: {error.strerror}") from error
