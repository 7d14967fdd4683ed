"""``gpuprep inventory``: which hosts there are, and why some are not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gpuprep.cli.params import at_terminal, vault_access, vault_options
from gpuprep.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuprep.oci.doctor import Finding
    from gpuprep.run.options import Access

_OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
# Groups that only repeat what other columns say.
_TOLD_ELSEWHERE: Final = (
    "ad_", "arch_", "fd_", "gpu_count_", "gpu_model_", "oci_gpu", "os_", "region_", "shape_",
    "all", "ungrouped",
)  # fmt: skip
# What the plugin says of an expression that fails, to those who ask with -v.
_EXPRESSION: Final = re.compile(r"^gpuprep\.core\.oci: (expression .*)$", re.MULTILINE)
_COLUMNS: Final = ("host", "shape", "gpu", "os", "region", "address", "groups")


@click.group("inventory")
def inventory_group() -> None:
    """List the hosts in OCI, or find out why they cannot be listed."""


@inventory_group.command("list")
@click.option("-i", "--inventory", multiple=True, metavar="PATH", help="Inventory. Repeatable.")
@click.option("-l", "--limit", metavar="PATTERN", help="Only the hosts that match.")
@vault_options
@_OUTPUT
def list_(
    inventory: tuple[str, ...],
    limit: str | None,
    output: str,
    **vault: Any,  # noqa: ANN401 - click's values
) -> None:
    """List the hosts of any inventory, as Ansible sees it."""
    from gpuprep.run.environment import has_inventory  # noqa: PLC0415 - help must not load it

    if not inventory and not has_inventory(os.environ, Path.cwd()):
        raise ConfigError("no inventory: name one with -i (a file, a directory, or hosts)")
    done = _ask_ansible(inventory, limit, vault_access(**vault))
    click.echo(done.stderr, err=True, nl=False)
    rows = _rows(json.loads(done.stdout))
    if limit is not None and not rows:
        raise ConfigError(f"no host matches --limit {limit}")
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(_table(rows))
    click.echo(f"{len(rows)} hosts", err=True)


@inventory_group.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@vault_options
@_OUTPUT
def doctor(file: Path | None, output: str, **vault: Any) -> int:  # noqa: ANN401 - as above
    """Check configuration, key, clock, network and permissions of an OCI inventory FILE.

    Prints the policy statements that are missing. Without FILE, checks the profile's tenancy.
    """
    from gpuprep.oci.doctor import examine  # noqa: PLC0415  (help must not load it)

    access = vault_access(**vault)
    findings: list[Finding] = []
    for finding in chain(examine(file, os.environ), _expressions(file, findings, access)):
        findings.append(finding)
        if output == "text":
            detail = finding.detail.replace("\n", "\n" + " " * 23)
            click.echo(f"{finding.verdict:<8} {finding.step:<13} {detail}")
    policies = dict.fromkeys(line for finding in findings for line in finding.policies)
    if output == "json":
        shown = [{"step": one.step, "verdict": one.verdict, "detail": one.detail}
                 for one in findings]  # fmt: skip
        click.echo(json.dumps({"findings": shown, "policies": list(policies)}, indent=2))
    elif policies:
        click.echo("\nAdd to a policy of the tenancy:\n")
        click.echo("\n".join(f"  {line}" for line in policies))
    return max((finding.exit_code for finding in findings), default=ExitCode.OK)


def _expressions(file: Path | None, before: Sequence[Finding], access: Access) -> Iterator[Finding]:
    """Tell which expressions of the file fail; only Ansible can evaluate them."""
    from gpuprep.oci.doctor import Finding, Verdict, read_file  # noqa: PLC0415
    from gpuprep.oci.options import has_expressions  # noqa: PLC0415

    well = all(one.verdict is not Verdict.FAILED for one in before)
    if file is None or not well or not has_expressions(read_file(file)):
        return
    said = _ask_ansible([str(file)], None, access, "-v")
    failing = _EXPRESSION.findall(said.stdout)
    yield Finding(
        "expressions",
        Verdict.WARNING if failing else Verdict.OK,
        "\n".join(failing) or "none fails for any host",
    )


def _ask_ansible(
    inventory: Sequence[str], limit: str | None, access: Access, *more: str
) -> subprocess.CompletedProcess[str]:
    from gpuprep.run import processes  # noqa: PLC0415
    from gpuprep.run.ansible_errors import engine_error  # noqa: PLC0415
    from gpuprep.run.directory import run_directory  # noqa: PLC0415
    from gpuprep.run.environment import playbook_user_environment  # noqa: PLC0415
    from gpuprep.run.inventories import refuse_empty  # noqa: PLC0415
    from gpuprep.run.options import access_arguments, limit_arguments  # noqa: PLC0415

    refuse_empty(inventory)
    _check_prompts(access)
    command = [sys.executable, "-m", "ansible", "inventory", "--list", *more]
    command += [f"--inventory={one}" for one in inventory]
    command += access_arguments(replace(access, vault_passwords={}))
    with run_directory() as run_dir, _in_pipes(access.vault_passwords) as pipes:
        command += limit_arguments(limit, run_dir)
        command += [f"--vault-id={label}@/dev/fd/{pipe}" for label, pipe in pipes.items()]
        try:
            done = subprocess.run(
                command,
                env={
                    **os.environ,
                    **playbook_user_environment(os.environ, Path.cwd()),
                    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
                    **({"ANSIBLE_ASK_VAULT_PASS": "False"} if access.opens_vaults else {}),
                    "GPUPREP_RUN_DIR": str(run_dir),  # marks what it starts, see processes.py
                },
                pass_fds=tuple(pipes.values()),
                capture_output=True,
                text=True,
                check=False,
            )
        except BaseException:
            processes.end_all(run_dir)
            raise
    if done.returncode != 0:
        raise engine_error(done.returncode, done.stderr, None)
    return done


def _check_prompts(access: Access) -> None:
    """Refuse what would make Ansible ask where nobody is; on a terminal it asks by itself."""
    from gpuprep.run.environment import asking  # noqa: PLC0415
    from gpuprep.run.options import check_prompts  # noqa: PLC0415

    if not at_terminal():
        configured = asking(os.environ, Path.cwd())
        check_prompts(access, [one for one in configured if one == "ask_vault_pass" or "@" in one])


@contextlib.contextmanager
def _in_pipes(passwords: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Give passwords by label as pipes to read them from: they are in no file."""
    with contextlib.ExitStack() as stack:
        pipes = {}
        for label, password in passwords.items():
            pipes[label], writing = os.pipe()
            stack.callback(os.close, pipes[label])
            with os.fdopen(writing, "w", encoding="utf-8") as file:
                file.write(password)
        yield pipes


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    variables = found.pop("_meta", {}).get("hostvars", {})
    groups: dict[str, list[str]] = {}
    for group, content in found.items():
        for host in content.get("hosts", ()):
            groups.setdefault(host, []).append(group)
    return [
        _row(host, _plain(variables.get(host, {})), sorted(of_host))
        for host, of_host in sorted(groups.items())
    ]


def _row(host: str, variables: dict[str, Any], groups: list[str]) -> dict[str, Any]:
    gpu, image = _mapping(variables, "gpu"), _mapping(variables, "image")
    return {
        "host": host,
        "shape": variables.get("oci_shape"),
        "gpu": f"{gpu.get('count')}x {gpu.get('model')}" if gpu else None,
        "os": f"{image.get('os')} {image.get('version')}" if image.get("os") else None,
        "region": variables.get("oci_region", variables.get("region")),
        "address": variables.get("ansible_host"),
        "groups": [one for one in groups if not one.startswith(_TOLD_ELSEWHERE)],
    }


def _mapping(variables: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a fact of the OCI plugin, with the usual prefix or without one."""
    found = variables.get(f"oci_{name}", variables.get(name))
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Undo the mark that ansible-core 2.19 puts on strings it would not run as templates."""
    if isinstance(value, dict):
        if set(value) == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [[name.upper() for name in _COLUMNS]]
    for row in rows:
        shown = {**row, "groups": ",".join(row["groups"])}
        cells.append([str(shown[name] or "-") for name in _COLUMNS])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
