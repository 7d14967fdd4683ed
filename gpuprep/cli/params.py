"""Options that the verbs share, and what the texts given to them mean."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpuprep.errors import ConfigError
from gpuprep.run.environment import PROMPT_SOURCES, asking
from gpuprep.run.inventories import LOCALHOST
from gpuprep.run.options import MOST_FORKS, Access, split_vault_id
from gpuprep.run.transports import TRANSPORTS

if TYPE_CHECKING:
    from gpuprep.run.inventories import Source
    from gpuprep.run.options import Limit

F = TypeVar("F", bound=Callable[..., Any])

_VAULT = (
    click.option(
        "--vault-password-file",
        multiple=True,
        metavar="FILE",
        help="Password of encrypted variables. Repeatable.",
    ),
    click.option(
        "-J", "--ask-vault-pass", is_flag=True, help="Ask for the password of encrypted variables."
    ),
    click.option(
        "--vault-id",
        multiple=True,
        metavar="LABEL@FILE",
        help="The same for one identity; LABEL@prompt asks. Repeatable.",
    ),
)
_REACH = (
    click.argument("hosts", nargs=-1),
    click.option(
        "-i",
        "--inventory",
        multiple=True,
        metavar="PATH",
        help="Inventory: file, directory, script or plugin configuration. Repeatable.",
    ),
    click.option(
        "-l",
        "--limit",
        metavar="PATTERN",
        help="Only the hosts that match; @report.json: those that failed in that run.",
    ),
    click.option(
        "-e",
        "--extra-vars",
        multiple=True,
        metavar="KEY=VALUE|@FILE",
        help="Settings and other variables that win over the inventory. Repeatable.",
    ),
    click.option("-u", "--user", metavar="NAME", help="Login name."),
    click.option("--private-key", metavar="FILE", help="Private key of the login."),
    click.option("-k", "--ask-pass", is_flag=True, help="Ask for the login's password."),
    click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for sudo's password."),
    *_VAULT,
    click.option(
        "-f",
        "--forks",
        type=click.IntRange(min=1),
        default=MOST_FORKS,
        show_default=True,
        help="Hosts worked on at a time.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Stop the run after this time; running again goes on.",
    ),
    click.option(
        "--keep-connections/--no-keep-connections",
        default=True,
        show_default=True,
        help="Leave ssh's connections open for the next run, a few minutes.",
    ),
    click.option(
        "--transport",
        type=click.Choice(TRANSPORTS),
        help="Look at hosts by ssh, or by asyncssh within gpuprep's own process. Default: ssh, or"
        " gpuprep_transport.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
    click.option(
        "-v",
        "--verbose",
        count=True,
        help="Tell every step, and show Ansible's own output; more with -vv to -vvvv.",
    ),
)
_RESULT = (
    click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Form of the result on stdout.",
    ),
    click.option("--report", metavar="FILE", help="Also store the result as JSON in FILE."),
)


def reach_options(function: F) -> F:
    """Add the options that say which hosts are meant and how they are reached."""
    return _with(_REACH, function)


def run_options(function: F) -> F:
    """Add the options of a verb whose result is shown: how hosts are reached, and its form."""
    return _with(_REACH, _with(_RESULT, function))


def vault_options(function: F) -> F:
    """Add the options that open encrypted variables."""
    return _with(_VAULT, function)


def _with(options: tuple[Callable[[F], F], ...], function: F) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def which_hosts(
    inventory: tuple[str, ...], hosts: tuple[str, ...], limit: str | None
) -> tuple[Source | None, Limit | None]:
    """Return inventory and limit for what was typed: HOSTS narrow an inventory.

    Without an inventory, ``localhost`` alone means this machine.

    Raises:
        ConfigError: hosts and a limit exclude each other.

    """
    if hosts == (LOCALHOST,) and not inventory and limit is None:
        return LOCALHOST, None
    if hosts and limit is not None:
        raise ConfigError("name the hosts either as arguments or with --limit, not both")
    return list(inventory) or None, hosts or limit


def parse_variables(texts: tuple[str, ...]) -> list[Mapping[str, Any] | str]:
    """Read values of ``-e``: ``key=value``, JSON or YAML, or ``@file``.

    Raises:
        ConfigError: a text is none of these.

    """
    return [text[1:] if text.startswith("@") else _parse_mapping(text) for text in texts]


def _parse_mapping(text: str) -> Mapping[str, Any]:
    if text.lstrip().startswith("{"):
        import yaml  # noqa: PLC0415 - hardly anybody writes this

        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError("-e: the text in braces is not valid JSON or YAML") from error
        if isinstance(data, Mapping):
            return data
    try:
        pairs = [part.partition("=") for part in shlex.split(text)]
    except ValueError as error:
        raise ConfigError(f"-e: {error} (quotes must be in pairs)") from error
    wrong = [name for name, equals, _ in pairs if not equals or not name.isidentifier()]
    if wrong or not pairs:
        # Only the first word is shown: the rest may be a secret.
        raise ConfigError(f"-e: expected KEY=VALUE, JSON or @FILE, found {(wrong or [''])[0]!r}")
    return {name: value for name, _, value in pairs}


def ask_access(  # noqa: PLR0913 - one per option
    user: str | None,
    private_key: str | None,
    vault_password_file: tuple[str, ...],
    *,
    ask_pass: bool,
    ask_become_pass: bool,
    ask_vault_pass: bool = False,
    vault_id: tuple[str, ...] = (),
) -> Access:
    """Ask for the passwords that are wanted, on the terminal and not in the arguments.

    Also for those that Ansible's own configuration wants asked for; without a terminal the run
    says how to give them instead.
    """
    configured = asking(os.environ, Path.cwd()) if at_terminal() else ()
    ask_pass = ask_pass or "ask_pass" in configured
    ask_become_pass = ask_become_pass or "become_ask_pass" in configured
    given = bool(vault_password_file or vault_id)
    ask_vault_pass = ask_vault_pass or ("ask_vault_pass" in configured and not given)
    vault_id += tuple(setting for setting in configured if "@" in setting)
    connection_password = _ask("SSH password") if ask_pass else None
    become_password = _ask("BECOME password") if ask_become_pass else None
    return replace(
        vault_access(vault_password_file, ask_vault_pass=ask_vault_pass, vault_id=vault_id),
        user=user,
        private_key=private_key,
        connection_password=connection_password,
        become_password=become_password,
    )


def vault_access(
    vault_password_file: tuple[str, ...], *, ask_vault_pass: bool, vault_id: tuple[str, ...]
) -> Access:
    """Ask for the passwords of encrypted variables alone, those that are wanted."""
    asked = [label for label, source in map(split_vault_id, vault_id) if source in PROMPT_SOURCES]
    labels = ["default", *asked] if ask_vault_pass else asked
    return Access(
        vault_password_files=vault_password_file,
        vault_ids=tuple(one for one in vault_id if split_vault_id(one)[1] not in PROMPT_SOURCES),
        vault_passwords={
            label: _ask(f"Vault password ({label})") for label in dict.fromkeys(labels)
        },
    )


def at_terminal() -> bool:
    """Return whether somebody is there to be asked for a password."""
    return sys.stdin is not None and sys.stdin.isatty()


def _ask(prompt: str) -> str:
    answer: str = click.prompt(prompt, hide_input=True, err=True)
    return answer
