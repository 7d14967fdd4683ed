"""Command line of the sandbox: ``python -m sandbox VERB``."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from sandbox import bootstrap, fleet, hosts, images
from sandbox.paths import SandboxError
from sandbox.podman import environment, remove_network


def server_variables() -> dict[str, Any]:
    """Start the package repositories where they exist; inventory variables that point to them."""
    servers = _servers()
    return dict(servers.ensure()) if servers else {}


def _servers() -> Any:  # noqa: ANN401 - a module
    """Give the module of the package repositories; heavier than most verbs need, so on demand."""
    found = importlib.util.find_spec("sandbox.servers")
    return importlib.import_module("sandbox.servers") if found else None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Throw-away Debian hosts with simulated GPUs, reached over real ssh."""


@main.command()
@click.option("--fleet", "name", default="demo", show_default=True, help="a fleet of fleets.yml")
def up(name: str) -> None:
    """Start a fleet and write its inventory."""
    started = time.monotonic()
    bootstrap.ensure()
    specs = fleet.load(name)
    begun = hosts.start_all(specs, name)
    path = hosts.write_inventory(begun, server_variables(), hosts.inventory_path(name))
    seconds = time.monotonic() - started
    click.echo(f"{len(begun)} hosts ready in {seconds:.1f} s; inventory: {path}")


@main.command()
@click.option("--fleet", "name", help="only the hosts of this fleet")
def down(name: str | None) -> None:
    """Stop all hosts, or one fleet; leaves only the cached images."""
    hosts.stop_all(host.name for host in hosts.running(name))
    if name is None:
        servers = _servers()
        if servers:
            servers.stop()
        hosts.drop_snapshots()
        remove_network()


@main.command()
def status() -> None:
    """List the hosts: name, address, image, simulated devices, systemd's state, fleet."""
    for host in hosts.running():
        devices = [*host.spec.gpus, *host.spec.nvswitches]
        counted = " ".join(f"{devices.count(one)}x{one}" for one in dict.fromkeys(devices))
        state = hosts.system_state(host.name)
        columns = (host.name, host.address, host.spec.image, counted or "-", state, host.fleet)
        click.echo("\t".join(columns))


@main.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("name")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, argv: tuple[str, ...]) -> None:
    """Run a command as root in a host: exec NAME -- CMD."""
    argv = argv[argv[0] == "--" :]
    terminal = ["--tty"] if sys.stdin.isatty() else []
    container = hosts.find(name).container
    command = ["podman", "exec", "--interactive", *terminal, container, *argv]
    sys.exit(subprocess.run(command, env=environment(), check=False).returncode)


@main.command("images")
def images_() -> None:
    """Build the images that are missing; print their podman names."""
    bootstrap.ensure()
    for suite, image in images.ensure(images.SUITES.values()).items():
        click.echo(f"{suite}\t{image}")


@main.command("host-up")
@click.argument("name")
@click.option("--image", default="debian-12", show_default=True)
@click.option("--gpu", "gpus", multiple=True, help="PCI id: 10de:2236 or 8x10de:2330")
@click.option("--nvswitch", "nvswitches", multiple=True, help="PCI id: 4x10de:22a3")
@click.option("--shape", help="OCI shape, the host variable oci_shape")
@click.option("--group", default="", help="hosts of one group share the inventory file")
@click.option(
    "--inventory", "path", type=click.Path(path_type=Path), help="inventory file to write"
)
def host_up(name: str, path: Path | None, group: str, **entry: Any) -> None:  # noqa: ANN401
    """Start one host; the inventory holds it and the others of its group."""
    bootstrap.ensure()
    spec = fleet.HostSpec.from_dict(name, entry)
    (host,) = hosts.start_all([spec], group)
    if path:
        members = hosts.running(group) if group else (host,)
        hosts.write_inventory(members, server_variables(), path)
    click.echo(f"{host.name}\t{host.address}\t{host.container}")


@main.command("host-down")
@click.argument("names", nargs=-1, required=True)
def host_down(names: tuple[str, ...]) -> None:
    """Stop hosts by name; those that do not exist are passed over."""
    hosts.stop_all(names)


if __name__ == "__main__":
    try:
        main()
    except SandboxError as problem:
        sys.exit(f"sandbox: {problem}")
