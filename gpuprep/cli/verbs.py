"""``gpuprep plan``, ``apply``, ``verify`` and ``status``."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import click

from gpuprep import api
from gpuprep.cli.params import ask_access, parse_variables, run_options, which_hosts
from gpuprep.cli.progress import progress
from gpuprep.cli.stopping import stopping
from gpuprep.cli.stored import report_file, store, with_failed_hosts
from gpuprep.errors import ConfigError, ExitCode
from gpuprep.model import Tier
from gpuprep.model.value import Value
from gpuprep.report.outcome import explain_exit_code
from gpuprep.run.inventories import LOCALHOST
from gpuprep.run.paths import readable_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuprep.model import FleetResult
    from gpuprep.run.inventories import Source
    from gpuprep.run.options import Access, Limit, RunOptions
    from gpuprep.run.transports import Transport

F = TypeVar("F", bound="Callable[..., Any]")
R = TypeVar("R")
DEFAULT_FILE: Final = "gpuprep.lock.yml"
_SEVERAL: Final = 2  # hosts to change, from which on a person is asked


def _locked(function: F) -> F:
    """Add ``--locked``: a file that ``gpuprep lock`` wrote."""
    function = click.option(
        "--lock-file",
        metavar="FILE",
        default=DEFAULT_FILE,
        show_default=True,
        help="The file that --locked means.",
    )(function)
    return click.option(
        "--locked", is_flag=True, help="Exactly what `gpuprep lock` wrote down, or a refusal."
    )(function)


def _in_part(function: F) -> F:
    """Add ``--tags``, ``--skip-tags`` and ``--diff``, as ansible-playbook has them."""
    function = click.option(
        "-D", "--diff", is_flag=True, help="Show what files become, line by line; secrets are not."
    )(function)
    function = click.option(
        "--skip-tags", multiple=True, metavar="TAGS", help="Leave these parts out."
    )(function)
    return click.option(
        "-t",
        "--tags",
        multiple=True,
        metavar="TAGS",
        help="Only these parts: install, configure, verify, or of one role: conda_install.",
    )(function)


@click.command()
@run_options
@_locked
@_in_part
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 instead of 0 when changes are pending."
)
def plan(*, detailed_exitcode: bool, **typed: Any) -> int:  # noqa: ANN401 - click's values
    """Say what apply would do to HOSTS (all by default); touch nothing."""
    return _run(api.plan, Typed(**typed), detailed_exitcode=detailed_exitcode)


@click.command()
@run_options
@_locked
@_in_part
@click.option("-C", "--check", is_flag=True, help="Only say what would be done.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before several hosts are changed.")
def apply(*, check: bool, yes: bool, **typed: Any) -> int:  # noqa: ANN401
    """Bring HOSTS (all by default) to their desired state and prove it.

    `gpuprep apply localhost` prepares this machine. On a terminal the plan is shown first, and
    nothing happens before you agree, when more than one host would be changed.
    """
    return _run(partial(api.apply, check=check), Typed(**typed), ask=not (check or yes))


@click.command()
@run_options
@click.option(
    "--tier",
    type=click.Choice([tier.value for tier in Tier]),
    default=Tier.QUICK.value,
    show_default=True,
    help="How thorough: seconds and read-only, programs on the GPU, or bounded stress.",
)
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Only N hosts, chosen at random."
)
def verify(*, tier: str, sample: int | None, **typed: Any) -> int:  # noqa: ANN401
    """Prove that the GPUs of HOSTS (all by default) work, prepared by gpuprep or not."""
    return _run(partial(api.verify, tier=tier, sample=sample), Typed(**typed))


@click.command()
@run_options
def status(**typed: Any) -> int:  # noqa: ANN401
    """Say in what state HOSTS (all by default) are; touch nothing."""
    return _run(api.status, Typed(**typed))


class Typed(Value, frozen=True, kw_only=True):
    """Values of the shared options, as typed."""

    hosts: tuple[str, ...]
    inventory: tuple[str, ...]
    limit: str | None
    extra_vars: tuple[str, ...]
    user: str | None
    private_key: str | None
    ask_pass: bool
    ask_become_pass: bool
    vault_password_file: tuple[str, ...]
    ask_vault_pass: bool
    vault_id: tuple[str, ...]
    forks: int
    timeout: float | None
    keep_connections: bool
    transport: Transport | None
    quiet: bool
    verbose: int
    output: str = "text"
    report: str | None = None
    locked: bool = False
    lock_file: str = DEFAULT_FILE
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    diff: bool = False

    @property
    def part(self) -> RunOptions:
        """The options that choose a part of the plan, as far as they were given."""
        given: RunOptions = {}
        if self.tags:
            given["tags"] = self.tags
        if self.skip_tags:
            given["skip_tags"] = self.skip_tags
        if self.diff:
            given["diff"] = True
        return given

    @property
    def variables(self) -> list[Mapping[str, Any] | str]:
        """Variables of ``-e``, and the lock file."""
        given = parse_variables(self.extra_vars)
        if not self.locked:
            return given
        path = readable_file(self.lock_file)
        if path is None:
            raise ConfigError(f"--locked: {self.lock_file} is not there; gpuprep lock writes it")
        return [*given, {"gpuprep_lock_file": str(path)}]


class Reach(Value, frozen=True):
    """Which hosts are meant and how they are reached: what was typed, read once."""

    source: Source | None
    limit: Limit | None
    variables: list[Mapping[str, Any] | str]
    access: Access

    @classmethod
    def of(cls, typed: Typed) -> Reach:
        """Read what was typed; ask for the passwords that are wanted.

        Raises:
            ConfigError: a typed value is wrong.

        """
        hosts = tuple(str(with_failed_hosts(host)) for host in typed.hosts)
        limit = with_failed_hosts(typed.limit)
        source, which = which_hosts(typed.inventory, hosts, limit)
        variables = typed.variables
        access = ask_access(
            typed.user,
            typed.private_key,
            typed.vault_password_file,
            ask_pass=typed.ask_pass,
            ask_become_pass=typed.ask_become_pass,
            ask_vault_pass=typed.ask_vault_pass,
            vault_id=typed.vault_id,
        )
        return cls(source, which, variables, access)


def carry_out(verb: Callable[..., R], typed: Typed, reach: Reach | None = None) -> R:
    """Run a verb on the hosts that were typed, with progress on stderr and a clean Ctrl-C.

    Raises:
        GpuprepError: what the verb raises; a typed value is wrong.

    """
    reach = reach or Reach.of(typed)
    with (
        stopping(watched=True) as cancel,
        progress(sys.stderr, quiet=typed.quiet, verbosity=typed.verbose) as on_event,
    ):
        return verb(
            reach.source,
            limit=reach.limit,
            variables=reach.variables,
            on_event=on_event,
            cancel=cancel,
            timeout=typed.timeout,
            access=reach.access,
            forks=typed.forks,
            keep_connections=typed.keep_connections,
            transport=typed.transport,
            verbosity=max(0, typed.verbose - 1),
            **typed.part,
        )


def _run(
    verb: Callable[..., FleetResult],
    typed: Typed,
    *,
    detailed_exitcode: bool = False,
    ask: bool = False,
) -> ExitCode:
    report = report_file(typed.report)
    reach = Reach.of(typed)
    if ask and reach.source != LOCALHOST and _somebody_answers() and not _agreed(typed, reach):
        click.echo("gpuprep: not applied; nothing was changed", err=True)
        return ExitCode.CANCELLED
    result = carry_out(verb, typed, reach)
    store(report, result)
    code = result.exit_code
    if detailed_exitcode and code is ExitCode.OK and any(h.steps for h in result.hosts.values()):
        code = ExitCode.CHANGES_PENDING
    _print(result, code, typed)
    return code


def _somebody_answers() -> bool:
    """Return whether a person sees a question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(typed: Typed, reach: Reach) -> bool:
    """Show the plan and ask, when more than one host would be changed."""
    planned = carry_out(api.plan, typed, reach)
    if planned.cancelled:
        return False
    changing = sum(host.changed for host in planned.hosts.values())
    if changing < _SEVERAL:
        return True
    _show(planned, None, sys.stderr, typed)
    return click.confirm(f"Change {changing} of {len(planned.hosts)} hosts?", err=True)


def _print(result: FleetResult, code: ExitCode, typed: Typed) -> None:
    if typed.output == "json":
        # For a person in lines; a program needs none, and they cost.
        indent = 2 if sys.stdout.isatty() else None
        click.echo(json.dumps(result.to_dict(), indent=indent))
        click.echo(explain_exit_code(result, code), err=True)
    else:
        _show(result, code, sys.stdout, typed)


def _show(result: FleetResult, code: ExitCode | None, stream: TextIO, typed: Typed) -> None:
    from gpuprep.report.terminal import render  # noqa: PLC0415 - programs do without

    render(result, code, stream, fold=not typed.verbose)
