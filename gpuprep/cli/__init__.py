"""The command line: ``gpuprep VERB``. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from gpuprep import __version__
from gpuprep.cli.lazy import LazyCommand, LazyGroup
from gpuprep.cli.output import ensure_streams
from gpuprep.cli.stopping import stopping
from gpuprep.errors import ExitCode, GpuprepError
from gpuprep.run import collect_seldom, leave

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (
    LazyCommand("provision", "provision", "provision", "Launch the hosts of a fleet on OCI."),
    LazyCommand("plan", "verbs", "plan", "Say what apply would do, host by host."),
    LazyCommand("apply", "verbs", "apply", "Bring the hosts to their desired state and prove it."),
    LazyCommand("verify", "verbs", "verify", "Prove that the GPUs of the hosts work."),
    LazyCommand("status", "verbs", "status", "Say in what state the hosts are."),
    LazyCommand("jobs", "jobs", "jobs", "Run jobs of Faceswap on prepared hosts."),
    LazyCommand("workshop", "jobs", "workshop", "Launch, prepare, and run jobs of Faceswap."),
    LazyCommand("explain", "explain", "explain", "Say which stack fits a GPU, and why."),
    LazyCommand("catalog", "catalog", "catalog_group", "List, check and refresh the catalog."),
    LazyCommand("lock", "lock", "lock", "Fix the exact versions of a fleet."),
    LazyCommand("inventory", "inventory", "inventory_group", "List the GPU hosts in OCI."),
    LazyCommand("report", "report", "report", "Turn a stored result into a page or a summary."),
    LazyCommand("bundle", "report", "bundle", "Collect what is needed to diagnose a host."),
    LazyCommand("env", "env", "env", "Print what plain ansible-playbook needs to find gpuprep."),
)


@click.command(
    cls=LazyGroup,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 2 changes pending (plan --detailed-exitcode); 3 some hosts failed; "
    "4 all failed (explain: refused); 5 applied but not proven; 6 locked by another run; "
    "7 cancelled, run again; 64 wrong usage; 69 inventory or engine unavailable; 1 internal error.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def root() -> None:
    """Turn bare GPU hosts into hosts proven ready to train."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process."""
    collect_seldom()
    ensure_streams()
    with stopping():
        try:
            code = run(arguments)
        except KeyboardInterrupt:  # once more, while what the first one ended was told
            code = ExitCode.CANCELLED
        leave(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit code. What goes wrong is told on stderr in words."""
    try:
        code = root.main(
            None if arguments is None else list(arguments),
            prog_name="gpuprep",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except GpuprepError as error:
        _complain(str(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped")
        return ExitCode.CANCELLED
    except Exception as error:
        if os.environ.get("GPUPREP_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _complain(f"nothing more can be written: {error.strerror}; make room and run again")
        else:
            _complain(
                f"internal error: {type(error).__name__}: {error}. This is a bug in gpuprep; "
                "GPUPREP_TRACEBACK=1 shows where."
            )
        return ExitCode.INTERNAL
    return code if isinstance(code, int) else ExitCode.OK


def _complain(message: str) -> None:
    from gpuprep.run.redact import mask_urls  # noqa: PLC0415 - hardly ever needed

    click.echo(f"gpuprep: {mask_urls(message)}", err=True)
