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
from sandbox.oci.tenancy import Tenancy, fleet, for_launches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.oci.compute import Machines

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
@click.option("--launches", is_flag=True, help="no hosts yet: images and a subnet to launch some")
@click.option("--hosts-prefix", help="launched instances become sandbox hosts with such names")
@click.option("--boot", default=0.0, help="seconds that an instance takes to start or stop")
@click.option("--capacity", "room", multiple=True, help="SHAPE[/DOMAIN/FAULT-DOMAIN]=HOSTS")
@click.option("--limit", "limits", multiple=True, help="NAME[/DOMAIN]=GPUS")
@click.option("--fresh", is_flag=True, help="forget what was launched before")
@click.option("--compartments", default=2, show_default=True)
@click.option("--subnets", default=2, show_default=True)
@click.option("--port", default=0, help="0 = a free one")
@click.option("--latency", default=0.0, help="milliseconds before each answer")
@click.option("--rate", type=float, help="requests per second before it answers 429")
@click.option("--fault", "faults", multiple=True, type=_FaultType(), help="privateIps=404*3")
@click.option("--state", type=click.Path(path_type=Path), default=DEFAULT_STATE, show_default=True)
def serve(  # noqa: PLR0913 - one per option
    *,
    state: Path,
    faults: Sequence[Fault],
    port: int,
    latency: float,
    rate: float | None,
    boot: float,
    hosts_prefix: str | None,
    room: Sequence[str],
    limits: Sequence[str],
    fresh: bool,
    **source: Any,  # noqa: ANN401 - options of the tenancy
) -> None:
    """Serve until ended; key, SDK configuration and an inventory file are in the state folder."""
    if fresh:
        control.forget(state)
    machines, block = _machines(hosts_prefix)
    tenancy = _tenancy(block=block, **source)
    tenancy.capacity.update(_counts(room, "--capacity"))
    tenancy.limits.update(_counts(limits, "--limit"))
    tenancy = control.kept(state) or tenancy
    click.echo(f"serving {len(tenancy.instances)} instances; files in {state}")
    knobs = Knobs(latency / 1000, rate, port=port, boot=boot)
    control.serve(tenancy, state, knobs, faults, machines)


@main.command()
@click.option("--state", type=click.Path(path_type=Path), default=DEFAULT_STATE, show_default=True)
def stop(state: Path) -> None:
    """End the emulator of a state folder."""
    control.end(state.absolute())


def _machines(prefix: str | None) -> tuple[Machines | None, str | None]:
    """Return what makes real hosts, and the addresses of their network."""
    if prefix is None:
        return None, None
    from sandbox import bootstrap  # noqa: PLC0415 - needs podman
    from sandbox.oci.machines import SandboxHosts  # noqa: PLC0415
    from sandbox.podman import ensure_network  # noqa: PLC0415

    bootstrap.ensure()
    return SandboxHosts(prefix), str(ensure_network())


def _counts(texts: Sequence[str], option: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.isdigit():
            raise click.UsageError(f"{option} {text}: expected NAME=NUMBER")
        found[name] = int(number)
    return found


def _tenancy(  # noqa: PLR0913 - one per option
    *,
    hosts: Path | None,
    count: int | None,
    shape: str | None,
    compartments: int,
    subnets: int,
    launches: bool,
    block: str | None,
) -> Tenancy:
    if launches:
        return for_launches(block)
    if hosts:
        return control.tenancy_of(json.loads(hosts.read_text()))
    if not count or not shape:
        raise click.UsageError("give --launches, --hosts FILE, or --fleet COUNT and --shape SHAPE")
    known = load().shapes.get(shape)
    if known is None:
        raise click.UsageError(f"the catalog has no shape {shape}")
    return fleet(count, shape, known.count, compartments=compartments, subnets=subnets)


if __name__ == "__main__":
    main()
