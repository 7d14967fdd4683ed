"""Command line of the sandbox: ``python -m sandbox VERB``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from sandbox import bootstrap, fleet, hosts, images, inventory, services
from sandbox.paths import SandboxError
from sandbox.podman import environment, remove_network


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Throw-away hosts with simulated GPUs, reached over real ssh."""


@main.command()
@click.option("--fleet", "name", default="demo", show_default=True, help="a fleet of fleets.yml")
def up(name: str) -> None:
    """Start a fleet and write its inventory."""
    started = time.monotonic()
    bootstrap.ensure()
    specs = fleet.load(name)
    begun = hosts.start_all(specs, name)
    path = hosts.write_inventory(begun, services.start(begun), hosts.inventory_path(name))
    seconds = time.monotonic() - started
    click.echo(f"{len(begun)} hosts ready in {seconds:.1f} s; inventory: {path}")


@main.command()
@click.option("--fleet", "name", help="only the hosts of this fleet")
def down(name: str | None) -> None:
    """Stop all hosts, or one fleet; leaves only the cached images."""
    hosts.stop_all(host.name for host in hosts.running(name))
    if name is None:
        services.stop()
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
    host = hosts.find(name)
    if host.container:
        command = ["podman", "exec", "--interactive", *terminal, host.container, *argv]
    else:
        command = inventory.ssh_command(host, argv)
    sys.exit(subprocess.run(command, env=environment(), check=False).returncode)


@main.command("images")
@click.argument("names", nargs=-1)
def images_(names: tuple[str, ...]) -> None:
    """Build the images that are missing, by default Debian's; print their podman names."""
    bootstrap.ensure()
    for name in names:
        images.check(name)
    for name, image in images.ensure(names or images.SUITES.values()).items():
        click.echo(f"{name}\t{image}")


@main.command("host-up")
@click.argument("name")
@click.option("--image", default="debian-12", show_default=True)
@click.option("--gpu", "gpus", multiple=True, help="PCI id: 10de:2236 or 8x10de:2330")
@click.option("--nvswitch", "nvswitches", multiple=True, help="PCI id: 4x10de:22a3")
@click.option("--shape", help="OCI shape, the host variable oci_shape")
@click.option("--secure-boot", is_flag=True, help="the firmware says that Secure Boot is on")
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
        hosts.write_inventory(members, services.start(members), path)
    click.echo(f"{host.name}\t{host.address}\t{host.container}")


@main.command("host-down")
@click.argument("names", nargs=-1, required=True)
def host_down(names: tuple[str, ...]) -> None:
    """Stop hosts by name; those that do not exist are passed over."""
    hosts.stop_all(names)


@main.command("vm-up")
@click.argument("name", default="gpu-vm")
@click.option("--gpu", "gpus", multiple=True, default=["10de:2236"], show_default=True)
@click.option("--shape", default="VM.GPU.A10.1", show_default=True)
@click.option("--selinux", is_flag=True, help="with Debian's SELinux policy, enforcing")
@click.option(
    "--inventory", "path", type=click.Path(path_type=Path), help="inventory file to write"
)
def vm_up(name: str, path: Path | None, **entry: Any) -> None:  # noqa: ANN401
    """Start a virtual machine with Debian 12 and its kernel, for real reboots."""
    started = time.monotonic()
    bootstrap.ensure()
    host = hosts.start_vm(fleet.HostSpec.from_dict(name, entry), "vm")
    hosts.wait_ready(name)
    path = hosts.write_inventory([host], services.start([host]), path or hosts.inventory_path("vm"))
    seconds = time.monotonic() - started
    click.echo(f"{name} ready in {seconds:.0f} s at port {host.port}; inventory: {path}")


@main.command("vm-down")
@click.argument("name", default="gpu-vm")
def vm_down(name: str) -> None:
    """Stop a virtual machine and remove its disk."""
    hosts.stop(name)


if __name__ == "__main__":
    try:
        main()
    except SandboxError as problem:
        sys.exit(f"sandbox: {problem}")
