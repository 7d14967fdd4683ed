"""``gpuprep jobs`` and ``gpuprep workshop``: jobs of Faceswap, alone or with the whole road."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from gpuprep import api
from gpuprep.cli import provision as provisioning
from gpuprep.cli.params import parse_variables, run_options, vault_access, vault_options
from gpuprep.cli.progress import progress
from gpuprep.cli.stopping import stopping
from gpuprep.cli.stored import report_file, store
from gpuprep.cli.verbs import Typed, carry_out
from gpuprep.errors import ExitCode
from gpuprep.model.jobs import in_words, progress_of_result
from gpuprep.model.text import clean_line
from gpuprep.report.terminal import render

if TYPE_CHECKING:
    from gpuprep.run.jobs import JobsResult
    from gpuprep.run.workshop import WorkshopResult


@click.command()
@click.argument("file", metavar="FILE")
@run_options
@click.option("-C", "--check", is_flag=True, help="Only say what would be done.")
@click.option(
    "--state",
    type=click.Choice(["done", "started", "stopped"]),
    default="done",
    show_default=True,
    help="Wait for the videos; only start the jobs; or stop them, which saves.",
)
def jobs(*, file: str, check: bool, state: str, **typed: Any) -> int:  # noqa: ANN401
    """Run the jobs of FILE on HOSTS (all by default) that have Faceswap.

    Consent, files and settings are checked before anything is copied. A job that was stopped goes
    on where it was; what is done is not done again.
    """
    given = Typed(**typed)
    report = report_file(given.report)
    result = carry_out(partial(api.run_jobs, file, check=check, state=state), given)
    store(report, result)
    _show(result, given.output)
    return result.exit_code


@click.command()
@click.argument("fleet", metavar="FLEET")
@click.argument("file", metavar="JOBS")
@click.option("-C", "--check", is_flag=True, help="Only say what would be done.")
@click.option(
    "--state",
    type=click.Choice(["done", "stopped", "absent"]),
    default="done",
    show_default=True,
    help="stopped: jobs save, hosts cost no GPU time; absent: the hosts are terminated.",
)
@click.option("-e", "--extra-vars", multiple=True, metavar="VARS", help="key=value, JSON, @FILE.")
@vault_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask before hosts are launched or ended.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def workshop(  # noqa: PLR0913 - one per option
    *,
    fleet: str,
    file: str,
    check: bool,
    state: str,
    extra_vars: tuple[str, ...],
    yes: bool,
    output: str,
    quiet: bool,
    **vault: Any,  # noqa: ANN401 - as above
) -> int:
    """Launch the hosts of FLEET, prepare them, install Faceswap, and run JOBS to their videos.

    Running it again does what is left: nothing, when all is done.
    """
    access = vault_access(**vault)
    if not (check or yes) and sys.stdin.isatty() and sys.stderr.isatty():
        planned = api.provision(fleet, check=True, state=None if state == "done" else state)
        if planned.changed:
            click.echo(provisioning.in_words(planned), err=True)
            if not click.confirm("Go on?", err=True):
                click.echo("gpuprep: nothing was changed", err=True)
                return ExitCode.CANCELLED
    # Nothing looks at the request while hosts are launched: that is interrupted. The rest looks.
    with stopping() as stop, progress(sys.stderr, quiet=quiet) as on_event:
        result = api.workshop(
            fleet,
            file,
            state=state,
            check=check,
            variables=parse_variables(extra_vars),
            on_progress=None if quiet else provisioning.tell,
            on_event=on_event,
            cancel=stop,
            access=access,
        )
    if output == "json":
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _show_all(result)
    return result.exit_code


def _show_all(result: WorkshopResult) -> None:
    if result.provision is not None:
        click.echo(provisioning.in_words(result.provision))
    if result.prepare is not None:
        render(result.prepare, None, sys.stdout)
    if result.jobs is not None:
        click.echo(_text(result.jobs))
    took = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in result.seconds.items())
    click.echo(f"{'changed' if result.changed else 'nothing to do'}; {took}")


def _show(result: JobsResult, output: str) -> None:
    click.echo(json.dumps(result.to_dict(), indent=2) if output == "json" else _text(result))


def _text(result: JobsResult) -> str:
    lines = []
    for host in result.hosts.values():
        lines += [f"{host.name}: {clean_line(change)}" for change in host.changes]
        lines += [
            f"{host.name}: job {name}: {in_words(progress_of_result(one))}"
            for name, one in host.jobs.items()
        ]
        if host.error:
            lines.append(f"{host.name}: FAILED: {clean_line(host.error, 2000)}")
    if result.cancelled:
        lines.append("stopped before the end; jobs that run go on")
    return "\n".join(lines) if lines else "there are no jobs for these hosts"
