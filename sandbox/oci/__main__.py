"""Command line of the OCI API emulator: ``python -m sandbox.oci serve --fleet 20 --shape ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpuprep.catalog import load
from sandbox.oci import control
from sandbox.oci.faults import Fault
from sandbox.oci.server import Knobs
from sandbox.oci.tenancy import Tenancy, fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_STATE = Path(".sandbox/oci")


class _FaultType(click.ParamType[Fault]):
    name = "ROUTE=STATUS"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fault:
        try:
            return Fault.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a substitute for the OCI API, on loopback only."""


@main.command()
@click.option("--hosts", type=click.Path(exists=True, path_type=Path), help="JSON: running hosts")
@click.option("--fleet", "count", type=int, help="that many invented hosts instead")
@click.option("--shape", help="their OCI shape")
@click.option("--compartments", default=2, show_default=True)
@click.option("--subnets", default=2, show_default=True)
@click.option("--port", default=0, help="0 = a free one")
@click.option("--latency", default=0.0, help="milliseconds before each answer")
@click.option("--rate", type=float, help="requests per second before it answers 429")
@click.option("--fault", "faults", multiple=True, type=_FaultType(), help="privateIps=404*3")
@click.option("--state", type=click.Path(path_type=Path), default=DEFAULT_STATE, show_default=True)
def serve(
    *,
    state: Path,
    faults: Sequence[Fault],
    port: int,
    latency: float,
    rate: float | None,
    **source: Any,  # noqa: ANN401 - options of the tenancy
) -> None:
    """Serve until ended; key, SDK configuration and an inventory file are in the state folder."""
    tenancy = _tenancy(**source)
    click.echo(f"serving {len(tenancy.instances)} instances; files in {state}")
    control.serve(tenancy, state, Knobs(latency / 1000, rate, port=port), faults)


@main.command()
@click.option("--state", type=click.Path(path_type=Path), default=DEFAULT_STATE, show_default=True)
def stop(state: Path) -> None:
    """End the emulator of a state folder."""
    control.end(state.absolute())


def _tenancy(
    hosts: Path | None, count: int | None, shape: str | None, compartments: int, subnets: int
) -> Tenancy:
    if hosts:
        return control.tenancy_of(json.loads(hosts.read_text()))
    if not count or not shape:
        raise click.UsageError("give --hosts FILE, or --fleet COUNT and --shape SHAPE")
    known = load().shapes.get(shape)
    if known is None:
        raise click.UsageError(f"the catalog has no shape {shape}")
    return fleet(count, shape, known.count, compartments=compartments, subnets=subnets)


if __name__ == "__main__":
    main()
