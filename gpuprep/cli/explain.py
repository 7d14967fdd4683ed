"""``gpuprep explain``: what a host would get, and why. Offline; touches no host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpuprep.components import KNOWN, NAMES
from gpuprep.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gpuprep.catalog import Catalog
    from gpuprep.model import HostFacts, Refusal, Stack
    from gpuprep.packages.support import Support

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
# Options that are keys of a facts file under another name; the others are called alike.
_KEYS = {"gpu": "gpus", "only": "components"}


def _completing(names: Callable[[Catalog], Iterable[str]]) -> Callable[..., list[str]]:
    """Return what completes a value in a shell: the catalog's names."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        from gpuprep.catalog import load  # noqa: PLC0415  (help must not load the data)

        return [name for name in names(load()) if name.startswith(begun)]

    return complete


@click.command()
@click.argument("shape", required=False, shell_complete=_completing(lambda known: known.shapes))
@click.option(
    "--os",
    help="Operating system: ubuntu-24.04, debian-12, ol-9, ...; --matrix lists all.",
    shell_complete=_completing(lambda known: known.systems),
)
@click.option("--gpu", multiple=True, help="PCI id of a GPU (10de:2236), instead of a shape.")
@click.option("--arch", help="Machine: x86_64 or aarch64; by the shape when given.")
@click.option("--kernel", help="Kernel release the modules are built for (uname -r).")
@click.option("--kernel-cc", help="CONFIG_CC_VERSION_TEXT of that kernel.")
@click.option("--system-gcc", type=int, help="Major version of the host's gcc.")
@click.option("--channel", type=click.Choice(["lts", "pb"]), help="Line that the driver follows.")
@click.option("--branch", help="Driver branch: 580.")
@click.option("--driver-version", "version", help="Full driver version: 580.95.05.")
@click.option("--flavour", type=click.Choice(["open", "proprietary"]), help="Kernel modules.")
@click.option("--profile", type=click.Choice(["full", "compute"]), help="With or without display.")
@click.option(
    "--source", type=click.Choice(["auto", "nvidia", "distro"]), help="Whose driver packages."
)
@click.option("--keep-driver", help="Version of an installed driver that stays.")
@click.option("--cuda", multiple=True, help="CUDA toolkit: 13.0; may be given several times.")
@click.option("--cudnn", help="cuDNN series or release: 9, 9.10.2.21.")
@click.option("--forward-compat", is_flag=True, default=None, help="Allow cuda-compat.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(KNOWN),
    help="Component, as in gpuprep_components; may be given several times.",
)
@click.option(
    "--workload",
    type=click.Choice([name for name in KNOWN if name not in NAMES]),
    help="What a workload gets and needs; without --os on every system that the roles install.",
)
@click.option("--as-of", help="Date that end-of-life warnings are judged by.")
@click.option("--facts", type=_FILE, help="Facts file; options given beside it win.")
@click.option("--catalog", "catalog_file", type=_FILE, help="Another catalog data file.")
@click.option("--matrix", is_flag=True, help="Print the support table.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def explain(
    shape: str | None,
    facts: Path | None,
    catalog_file: Path | None,
    *,
    matrix: bool,
    output: str,
    **options: Any,  # noqa: ANN401  (click gives each option its type)
) -> ExitCode:
    """Say which driver, CUDA, cuDNN and conda a host would get, and why.

    SHAPE is an OCI shape (BM.GPU.H100.8); without one, name GPUs with --gpu or give --facts.
    A host that would be refused ends in exit code 4, as in `plan`.
    """
    from gpuprep.catalog import load  # noqa: PLC0415  (help must not load the data)
    from gpuprep.components import resolve  # noqa: PLC0415
    from gpuprep.model import Refusal  # noqa: PLC0415
    from gpuprep.planner.facts_file import parse_facts  # noqa: PLC0415
    from gpuprep.resolve.answer import answer  # noqa: PLC0415

    catalog = load(catalog_file)
    if matrix:
        _print_matrix(catalog, output)
        return ExitCode.OK
    workload: str | None = options.pop("workload")
    if workload is not None:
        options["only"] = options["only"] or _needed_by(workload)
        if workload not in options["only"]:
            raise ConfigError(f"--only leaves {workload} out, which --workload asks for")
    data, where = _question(shape, facts, options, catalog, any_system=workload is not None)
    if workload is not None and not data["gpus"]:
        data["components"] = [name for name in data["components"] if name != "driver"]
    if "os" not in data:
        return _on_each_system(data, where, catalog, str(workload), output)
    host, desired = parse_facts(data, where)
    outcome = resolve(host, desired, catalog)
    if output == "json":
        support = {} if isinstance(outcome, Refusal) else {"support": _support(host, catalog)}
        click.echo(json.dumps(answer(outcome) | support, indent=2))
    else:
        click.echo(_in_words(host, outcome, catalog))
    return ExitCode.ALL_HOSTS_FAILED if isinstance(outcome, Refusal) else ExitCode.OK


def _needed_by(workload: str) -> tuple[str, ...]:
    """Return the components that a workload needs, itself included."""
    from gpuprep.components import BY_NAME  # noqa: PLC0415  (as above)

    component = BY_NAME[workload]
    return (*component.decided_by, *component.after, workload)


def _on_each_system(
    data: Mapping[str, Any], where: str, catalog: Catalog, workload: str, output: str
) -> ExitCode:
    """Print what a workload gets on each system that the roles install; a table, or JSON."""
    from gpuprep.components import BY_NAME, resolve  # noqa: PLC0415  (as above)
    from gpuprep.model import Refusal  # noqa: PLC0415
    from gpuprep.planner.facts_file import parse_facts  # noqa: PLC0415
    from gpuprep.planner.matrix import as_text  # noqa: PLC0415

    rows: list[tuple[str, ...]] = []
    fits = False
    arch = data.get("arch", "x86_64")
    installed = {name: system for name, system in catalog.systems.items() if system.installs}
    known = sorted({each for system in installed.values() for each in system.arches})
    if arch not in known:
        raise ConfigError(
            f"arch {arch!r}: no system that the roles install runs on such machines; "
            f"known: {', '.join(known)}"
        )
    for name, system in installed.items():
        if arch not in system.arches:
            continue
        host, desired = parse_facts({**data, "os": name}, where)
        outcome = resolve(host, desired, catalog)
        if isinstance(outcome, Refusal):
            rows.append((name, "-", "-", "-", "-", f"{outcome.code}: {outcome.message}"))
            continue
        fits = True
        why = next((r.why for r in outcome.reasons if r.choice == "variant"), "")
        chosen = outcome.faceswap
        told = (chosen.variant, chosen.backend, f"torch {chosen.torch}") if chosen else ("-",) * 3
        rows.append((name, outcome.branch or "-", *told, why))
    columns = ("system", "driver", "variant", "backend", "framework", "why")
    if output == "json":
        click.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
    else:
        from gpuprep.planner.matrix import Table  # noqa: PLC0415

        title = f"{BY_NAME[workload].title} on {data.get('shape') or 'a host of these facts'}"
        click.echo(as_text(Table(title, columns, tuple(rows))))
    return ExitCode.OK if fits else ExitCode.ALL_HOSTS_FAILED


def _question(
    shape: str | None,
    facts: Path | None,
    options: Mapping[str, Any],
    catalog: Catalog,
    *,
    any_system: bool = False,
) -> tuple[dict[str, Any], str]:
    """Put the facts together: file first, then the shape's, then the options."""
    from gpuprep.planner.facts_file import (  # noqa: PLC0415  (as above)
        check_options,
        facts_of_shape,
        read_mapping,
    )

    data: dict[str, Any] = {}
    where = "options"
    if facts is not None:
        read, where = read_mapping(facts), str(facts)
        data = {name: value for name, value in read.items() if value is not None}
    if shape is not None:
        data |= facts_of_shape(shape, catalog)
    elif "gpus" not in data and isinstance(data.get("shape"), str):
        data = facts_of_shape(data["shape"], catalog) | data
    given = {
        _KEYS.get(name, name): list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value not in (None, ())
    }
    parameters = click.get_current_context().command.params
    check_options(given, {_KEYS.get(p.name or "", p.name or ""): p.opts[0] for p in parameters})
    data |= given
    if shape is None and "gpus" not in data:
        raise ConfigError("explain needs a SHAPE, --gpu or --facts; or --matrix for all of them")
    if "os" not in data and not any_system:
        raise ConfigError(f"explain needs --os: one of {', '.join(catalog.systems)}")
    return data, where


def _print_matrix(catalog: Catalog, output: str) -> None:
    from gpuprep.planner.matrix import as_json, as_text, support_tables  # noqa: PLC0415

    tables = support_tables(catalog)
    click.echo(as_json(tables) if output == "json" else "\n\n".join(map(as_text, tables)))


def _in_words(host: HostFacts, outcome: Stack | Refusal, catalog: Catalog) -> str:
    from gpuprep.model import Refusal  # noqa: PLC0415
    from gpuprep.resolve.text import refusal_in_words, stack_in_words  # noqa: PLC0415

    if isinstance(outcome, Refusal):
        from gpuprep.planner.advice import advice  # noqa: PLC0415
        from gpuprep.planner.facts_file import meant  # noqa: PLC0415

        told = advice(outcome)
        if host.os not in catalog.systems:
            told = f"System {host.os!r} is not in the catalog{meant(host.os, catalog.systems)}"
        return refusal_in_words(host, outcome, catalog) + (f"\n{told}" if told else "")
    level = _support(host, catalog)
    return f"{stack_in_words(host, outcome, catalog)}\n\n{host.os}, {level}: {level.meaning}"


def _support(host: HostFacts, catalog: Catalog) -> Support:
    from gpuprep.packages.support import support_of  # noqa: PLC0415

    return support_of(catalog.systems[host.os], host.arch)
