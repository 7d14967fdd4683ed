"""``gpuprep catalog``: what the data file knows, and keeping it true."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("catalog")
def catalog_group() -> None:
    """List what the catalog knows, check it, and propose updates from NVIDIA's own lists."""


@catalog_group.command("list")
@click.option("--catalog", "path", type=_FILE, help="Data file; default: gpuprep's own.")
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Date to judge by; default: today."
)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def list_releases(path: Path | None, as_of: dt.datetime | None, output: str) -> None:
    """List driver branches with their ends of life, CUDA toolkits and cuDNN releases."""
    from gpuprep.catalog import load  # noqa: PLC0415  (help must not load the data)
    from gpuprep.planner.matrix import as_json, as_text  # noqa: PLC0415
    from gpuprep.planner.releases import release_tables  # noqa: PLC0415

    today = (as_of or dt.datetime.now(tz=dt.UTC)).date()
    tables = release_tables(load(path), today.isoformat())
    click.echo(as_json(tables) if output == "json" else "\n\n".join(map(as_text, tables)))


@catalog_group.command()
@click.option("--from", "sources", multiple=True, required=True, help="URL or file; repeatable.")
@click.option("--catalog", "path", type=_FILE, help="Data file; default: gpuprep's own.")
def refresh(sources: tuple[str, ...], path: Path | None) -> None:
    """Propose changes to the data file as a patch on stdout; findings for people on stderr.

    Reads an apt Packages index, an rpm repomd.xml or primary.xml, or NVIDIA's releases.json.
    Nothing is written and no rule is changed.
    """
    from gpuprep.catalog import load  # noqa: PLC0415  (help must not load the data)
    from gpuprep.catalog.load import DATA_FILE  # noqa: PLC0415
    from gpuprep.catalog.upkeep.feeds import read_feeds  # noqa: PLC0415
    from gpuprep.catalog.upkeep.refresh import as_patch, propose  # noqa: PLC0415

    proposal = propose(load(path), read_feeds(sources))
    file = path or DATA_FILE
    name = path or Path(*file.parts[-3:])  # as in the repository
    click.echo(as_patch(name, file.read_text(encoding="utf-8"), proposal.changes), nl=False)
    for change in proposal.changes:
        place = ".".join(map(str, change.place))
        click.echo(
            f"# {place}: {_words(change.old)} -> {_words(change.new)} ({change.source})", err=True
        )
    for finding in proposal.findings:
        click.echo(f"# for a person: {finding}", err=True)


@catalog_group.command()
@click.option("--catalog", "path", type=_FILE, help="Data file; default: gpuprep's own.")
@click.option("--max-age", default=90, show_default=True, help="Days after which facts are old.")
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Date to judge by; default: today."
)
def check(path: Path | None, max_age: int, as_of: dt.datetime | None) -> None:
    """Check the data file by its schema, and warn about ended branches and old data."""
    from gpuprep.catalog.load import DATA_FILE, load  # noqa: PLC0415
    from gpuprep.catalog.upkeep.freshness import complaints  # noqa: PLC0415  (help must not load the data)

    catalog = load(path or DATA_FILE)
    today = (as_of or dt.datetime.now(tz=dt.UTC)).date()
    found = list(complaints(catalog, today, max_age))
    for complaint in found:
        click.echo(f"warning: {complaint}")
    click.echo(f"{path or DATA_FILE.name}: follows the schema; {len(found)} warnings")


def _words(value: object) -> str:
    if value is None:
        return "more"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
