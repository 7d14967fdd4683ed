"""``gpuprep report`` and ``gpuprep bundle``."""

from __future__ import annotations

import json
import sys
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpuprep import api
from gpuprep.cli.params import ask_access, parse_variables, which_hosts
from gpuprep.errors import ConfigError, ExitCode
from gpuprep.report.formats import FORMATS, SUFFIXES, render
from gpuprep.run.bundle import collect, pack

if TYPE_CHECKING:
    from collections.abc import Mapping


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
def report(*, run: str, fmt: str | None, to: str | None, show: bool) -> ExitCode:
    """Turn a stored result into a page, a summary or a CI report.

    RESULT is what --report or --output json wrote; - reads it from stdin.
    """
    fmt = fmt or _format_of(to)
    text = render(_read(run), fmt)
    if to == "-" or (to is None and run == "-"):
        if show:
            raise ConfigError("--open needs a file: name one with --to")
        click.echo(text, nl=False)
        return ExitCode.OK
    path = Path(to) if to else Path(run).with_suffix(SUFFIXES[fmt])
    if path == Path(run):
        raise ConfigError(f"{path} is the result itself; name another file with --to")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    click.echo(str(path))
    if show:
        webbrowser.open(path.absolute().as_uri())
    return ExitCode.OK


def _format_of(name: str | None) -> str:
    endings = {suffix: fmt for fmt, suffix in SUFFIXES.items()}
    return endings.get(Path(name or "").suffix, "html")


def _read(run: str) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if run == "-" else Path(run).read_text(encoding="utf-8")
        data = json.loads(text)
    except OSError as error:
        raise ConfigError(f"{run}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{run}: no JSON ({error}); expected is what --report wrote") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{run}: no result of gpuprep; expected is what --report wrote")
    return data


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
    if not to.is_dir():
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
    seen = api.status(source, limit=limit, variables=variables, access=access).to_dict()
    when = datetime.now(UTC)
    found = collect(source, limit=limit, variables=variables, options={"access": access})
    for name, diagnosis in found.items():
        known = {name: seen["hosts"][name]} if name in seen["hosts"] else {}
        click.echo(str(pack(diagnosis, to, {**seen, "hosts": known}, when)))
        if diagnosis.error:
            click.echo(f"gpuprep: {name}: {diagnosis.error}", err=True)
    failed = sum(1 for diagnosis in found.values() if diagnosis.error)
    if not failed:
        return ExitCode.OK
    return ExitCode.ALL_HOSTS_FAILED if failed == len(found) else ExitCode.SOME_HOSTS_FAILED
