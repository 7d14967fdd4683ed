"""``gpuprep provision``: a fleet of hosts on OCI, from a file."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from gpuprep import api, codes
from gpuprep.errors import ExitCode
from gpuprep.model.text import clean_line

if TYPE_CHECKING:
    from gpuprep.oci.provision.result import MemberResult, ProvisionResult

_SEVERAL: Final = 2  # hosts to change, from which on a person is asked
_WORDS: Final = {
    "launch": ("would be launched", "launched"),
    "start": ("would be started", "started"),
    "stop": ("would be stopped", "stopping"),
    "terminate": ("would be terminated", "terminating"),
    "keep": ("is there", "is there"),
    "refuse": ("is refused", "is refused"),
}
_STATES: Final = ("present", "running", "stopped", "absent")


@click.command()
@click.option("-f", "--file", "file", required=True, metavar="FILE", help="The fleet file.")
@click.option("-C", "--check", is_flag=True, help="Only say what would be done.")
@click.option(
    "--state", type=click.Choice(_STATES), help="Instead of the file's own: absent terminates."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before several hosts are changed.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def provision(  # noqa: PLR0913 - one per option
    *, file: str, check: bool, state: str | None, yes: bool, output: str, quiet: bool
) -> int:
    """Launch, start, stop or terminate the hosts that a fleet FILE asks for, and wait for them.

    What is there is known by its tags: running again launches nothing twice. Where OCI has no free
    host, the next fault domain and availability domain is asked at once. A run that is stopped
    leaves what it has launched; running again finds it.
    """
    verb = partial(api.provision, file, state=state, on_progress=None if quiet else tell)
    if not (check or yes) and _somebody_answers():
        planned = verb(check=True)
        changing = [one for one in planned.members.values() if one.changed]
        destroying = any(one.action == "terminate" for one in changing)
        if len(changing) >= _SEVERAL or destroying:
            click.echo(in_words(planned), err=True)
            if not click.confirm(f"Change {len(changing)} hosts?", err=True):
                click.echo("gpuprep: nothing was changed", err=True)
                return ExitCode.CANCELLED
    result = verb(check=check)
    if output == "json":
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        click.echo(in_words(result))
    return result.exit_code


def tell(words: str) -> None:
    """Write a line of progress."""
    # What sys.stderr is now: click itself would look through it, and write across a live view.
    click.echo(f"gpuprep: {clean_line(words)}", file=sys.stderr)


def _somebody_answers() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def in_words(result: ProvisionResult) -> str:
    """Return what became of a fleet, a line for each host."""
    lines = [line for one in result.members.values() for line in _of_member(one, result)]
    if not lines:
        lines.append(f"fleet {result.fleet} has no hosts")
    lines += [f"warning: {clean_line(one.message, 2000)} [{one.code}]" for one in result.warnings]
    details = result.details
    if result.check and details:
        lines += [
            f"{name}: {clean_line(str(details[name]))}"
            for name in ("image", "subnet")
            if name in details
        ]
        lines += [_of_domain(one) for one in details.get("domains", ())]
        if "billed_when_stopped" in details:
            costs = "still costs" if details["billed_when_stopped"] else "costs no GPU time"
            lines.append(f"a stopped host {costs}")
    return "\n".join(lines)


def _of_member(one: MemberResult, result: ProvisionResult) -> list[str]:
    would, done = _WORDS[one.action]
    said = would if result.check or one.code else done
    if one.code:
        remedy = codes.table()[one.code].remedy
        return [
            f"{one.name}  failed  [{one.code}] {clean_line(one.error or '', 2000)}",
            f"    {remedy}",
        ]
    state = one.state if not result.check else None
    where = [part for part in (one.place, one.address, state) if part]
    login = f"  {one.user}@{one.address}" if one.user and one.address else ""
    line = f"{one.name}  {said}  {'  '.join(where)}{login}".rstrip()
    return [line, f"    {one.id}"] if one.id else [line]  # too long for the same line


def _of_domain(row: dict[str, Any]) -> str:
    if not row["offered"]:
        return f"{row['domain']}: does not have the shape"
    limits = ", ".join(
        f"{name} {left if left is not None else 'not told'}" for name, left in row["limits"].items()
    )
    places = ", ".join(
        f"{name.replace('FAULT-DOMAIN', 'FD')} {status.lower().replace('_', ' ')}"
        for name, status in row["capacity"].items()
    )
    return (
        f"{row['domain']}: left by limits: {limits or 'not told'}; {places or 'capacity not told'}"
    )
