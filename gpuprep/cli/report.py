"""``gpuprep report`` and ``gpuprep bundle``."""

from __future__ import annotations

import stat
import webbrowser
from datetime import UTC, datetime
from pathlib import Path

import click

from gpuprep import api
from gpuprep.cli.output import write_file
from gpuprep.cli.params import ask_access, parse_variables, which_hosts
from gpuprep.cli.stopping import stopping
from gpuprep.cli.stored import read_result
from gpuprep.errors import ConfigError, ExitCode
from gpuprep.report.compare import against
from gpuprep.report.formats import FORMATS, SUFFIXES, render
from gpuprep.run.bundle import Diagnosis, collect, pack
from gpuprep.run.paths import existing


@click.command()
@click.argument("run", metavar="RESULT")
@click.option(
    "-f",
    "--format",
    "fmt",
    type=click.Choice(list(FORMATS)),
    help="Form of the report; by default what the ending of --to says, else html.",
)
@click.option("--to", metavar="FILE", help="Where to; - is stdout. Default: beside RESULT.")
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
@click.option("--against", "old", metavar="OLD", help="Also tell what changed since this result.")
def report(*, run: str, fmt: str | None, to: str | None, show: bool, old: str | None) -> ExitCode:
    """Turn a stored result into a page, a summary or a CI report.

    RESULT is what --report or --output json of plan, apply, verify or status wrote; - reads it from
    stdin.
    """
    fmt = fmt or _format_of(to)
    result = read_result(run)
    if old is not None:
        result = against(result, read_result(old))
    text = render(result, fmt)
    if to == "-" or (to is None and run == "-"):
        if show:
            raise ConfigError("--open needs a file: name one with --to")
        click.echo(text, nl=False)
        return ExitCode.OK
    path = Path(to) if to else Path(run).with_suffix(SUFFIXES[fmt])
    source = None if run == "-" else Path(run)
    if source is not None and _is_same(path, source):
        raise ConfigError(f"{path} is the result itself; name another file with --to")
    try:
        write_file(path, text, _rights(source))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    click.echo(str(path))
    if show:
        webbrowser.open(path.absolute().as_uri())
    return ExitCode.OK


def _rights(source: Path | None) -> int | None:
    """Return the rights of a report: who may not read its source may not read it either."""
    return None if source is None else stat.S_IMODE(source.stat().st_mode) & 0o666


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False  # one of them is not there


def _format_of(name: str | None) -> str:
    endings = {suffix: fmt for fmt, suffix in SUFFIXES.items()}
    return endings.get(Path(name or "").suffix, "html")


@click.command()
@click.argument("hosts", nargs=-1, required=True)
@click.option("-i", "--inventory", multiple=True, metavar="PATH", help="Inventory. Repeatable.")
@click.option("-e", "--extra-vars", multiple=True, metavar="KEY=VALUE|@FILE", help="Variables.")
@click.option("-u", "--user", metavar="NAME", help="Login name.")
@click.option("--private-key", metavar="FILE", help="Private key of the login.")
@click.option("-k", "--ask-pass", is_flag=True, help="Ask for the login's password.")
@click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for sudo's password.")
@click.option("--vault-password-file", multiple=True, metavar="FILE", help="Vault password file.")
@click.option("-J", "--ask-vault-pass", is_flag=True, help="Ask for the vault password.")
@click.option("--vault-id", multiple=True, metavar="LABEL@FILE", help="Vault password by label.")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Where to put the archives.  [default: here]",
)
def bundle(  # noqa: PLR0913 - one per option
    *,
    hosts: tuple[str, ...],
    inventory: tuple[str, ...],
    extra_vars: tuple[str, ...],
    user: str | None,
    private_key: str | None,
    ask_pass: bool,
    ask_become_pass: bool,
    vault_password_file: tuple[str, ...],
    ask_vault_pass: bool,
    vault_id: tuple[str, ...],
    to: Path,
) -> ExitCode:
    """Collect logs, states and versions of HOSTS into one redacted archive each."""
    folder = existing(to)
    if folder is None or not folder.is_dir():
        raise ConfigError(f"{to}: no such folder")
    source, limit = which_hosts(inventory, hosts, None)
    variables = parse_variables(extra_vars)
    access = ask_access(
        user,
        private_key,
        vault_password_file,
        ask_pass=ask_pass,
        ask_become_pass=ask_become_pass,
        ask_vault_pass=ask_vault_pass,
        vault_id=vault_id,
    )
    with stopping(watched=True) as stop:
        seen = api.status(
            source, limit=limit, variables=variables, access=access, cancel=stop
        ).to_dict()
        when = datetime.now(UTC)
        found = collect(
            source, limit=limit, variables=variables, options={"access": access}, cancel=stop
        )
    silent = {
        name: Diagnosis(name, error=host["error"] or "no answer")
        for name, host in seen["hosts"].items()
        if not stop.asked
    }
    failed = 0
    for name, diagnosis in {**silent, **found}.items():
        known = {name: seen["hosts"][name]} if name in seen["hosts"] else {}
        problem = diagnosis.problem
        try:
            click.echo(str(pack(diagnosis, folder, {**seen, "hosts": known}, when)))
        except ConfigError as error:
            problem = str(error)
        if problem:
            failed += 1
            click.echo(f"gpuprep: {name}: {problem}", err=True)
    if stop.asked:
        left = ", ".join(name for name in seen["hosts"] if name not in found)
        click.echo(f"gpuprep: stopped; not collected: {left or 'the rest'}", err=True)
        return ExitCode.CANCELLED
    if not failed:
        return ExitCode.OK
    return (
        ExitCode.ALL_HOSTS_FAILED
        if failed == len({**silent, **found})
        else ExitCode.SOME_HOSTS_FAILED
    )
