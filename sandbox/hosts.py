"""Start, stop, look into and snapshot throw-away hosts.

A host is a podman container in which systemd is process 1, or a virtual machine (vm.py); both are
reached over real ssh.
"""

from __future__ import annotations

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

from sandbox import firstboot, images, inventory, pci, vm
from sandbox.el.systems import MIRROR, system_of
from sandbox.fleet import HostSpec
from sandbox.paths import SANDBOX_ID, STATE, SandboxError, locked
from sandbox.podman import (
    LABEL,
    NETWORK,
    ensure_network,
    gateway_of,
    host_addresses,
    inspect,
    podman,
)
from sandbox.register import (
    Host,
    find,
    lookup,
    make_keys,
    register,
    running,
    unregister,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "Host",
    "HostSpec",
    "add_apt_source",
    "find",
    "gateway",
    "inventory_path",
    "restore",
    "run",
    "running",
    "snapshot",
    "start",
    "start_all",
    "start_vm",
    "stop",
    "stop_all",
    "system_state",
    "wait_ready",
    "write_file",
    "write_inventory",
]

READY_TIMEOUT: Final = 90.0  # seconds; 2 s alone, more when many boot at once
VM_READY_TIMEOUT: Final = (
    900.0  # 35 s alone; its processor is emulated and suffers from a busy machine
)
_PARALLEL: Final = 6
_EFI_GLOBAL: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"


def gateway() -> str:
    """Address of this machine on the hosts' network; bound to the bridge once a host runs."""
    return str(gateway_of(ensure_network()))


def inventory_path(fleet: str = "demo") -> Path:
    """Inventory file of a fleet: that of the demo is ``.sandbox/inventory/hosts.yml``."""
    folder = "inventory" if fleet == "demo" else f"inventory-{fleet}"
    return STATE / folder / "hosts.yml"


# --- one host ---------------------------------------------------------------------------------


def start(spec: HostSpec, fleet: str = "") -> Host:
    """Start a host, or return the living one of that name; does not wait for it to boot.

    Raises:
        SandboxError: a host of that name but of another specification is there, or podman failed.

    """
    host = _claim(spec, fleet)
    _boot(host)
    return host


def start_vm(spec: HostSpec, fleet: str = "") -> Host:
    """Start a virtual machine as a host, or return the living one; does not wait for it to boot.

    Raises:
        SandboxError: as ``start``, or qemu is missing.

    """
    with locked("hosts"):
        host = _registered(spec)
        if host is None:
            host = Host(spec.name, "127.0.0.1", "", spec, fleet, vm.free_port())
            make_keys(host.folder)
            register(host)
    with locked(f"host-{host.name}"):
        vm.launch(host)
    return host


def _registered(spec: HostSpec) -> Host | None:
    host = lookup(spec.name)
    if host and host.spec != spec:
        raise SandboxError(f"host {spec.name} exists and differs: stop it first")
    return host


def _claim(spec: HostSpec, fleet: str) -> Host:
    """Register a host and generate its keys, unless it is registered already."""
    if spec.selinux:
        raise SandboxError(f"host {spec.name}: only a virtual machine has a kernel for SELinux")
    with locked("hosts"):
        host = _registered(spec)
        if host is None:
            container = f"gpuprep-{SANDBOX_ID}-{spec.name}"
            host = Host(spec.name, _free_address(), container, spec, fleet)
            make_keys(host.folder)
            register(host)
    return host


def _free_address() -> str:
    subnet = ensure_network()
    taken = {host.address for host in running()}
    for address in host_addresses(subnet):
        if str(address) not in taken:
            return str(address)
    raise SandboxError(f"no address left in {subnet}")


def _boot(host: Host) -> None:
    """Start the container of a registered host; create it first when there is none."""
    with locked(f"host-{host.name}"):
        if inspect("container", "inspect", host.container):
            podman("start", host.container)  # no-op while it runs
            return
        image = host.spec.image
        try:
            _create(host, image if "/" in image else images.of(image))
        except SandboxError:
            stop(host.name)
            raise


def _create(host: Host, image: str) -> None:
    bus = host.folder / "pci"
    pci.write_tree(bus, pci.devices(host.spec.gpus, host.spec.nvswitches))
    podman(
        "create",
        *("--name", host.container, "--hostname", host.name),
        *("--label", LABEL, "--network", NETWORK, "--ip", host.address),
        # A new one at every start would leave this machine with a stale neighbour for a while.
        *("--mac-address", mac_of(host.address)),
        *("--restart", "always", "--systemd", "always"),
        *("--volume", f"{bus}:/sys/bus/pci:ro"),
        *_firmware(host),
        *_names(host.spec.image),
        image,
    )
    # In the host's own file system, so that they survive its reboot.
    podman("cp", "--archive=false", "-", f"{host.container}:/", stdin=firstboot.archive_of(host))
    podman("start", host.container)


def _names(image: str) -> tuple[str, ...]:
    """Return podman's options for the name to which files of Oracle's distribution lead."""
    # A snapshot may be of such a host.
    known = "/" in image or system_of(image) is not None
    return ("--add-host", f"{MIRROR}:{gateway()}") if known else ()


def _firmware(host: Host) -> tuple[str, ...]:
    """Return podman's options for a host that was started with Secure Boot: its efivars say so."""
    if host.spec.secure_boot is None:
        return ()
    variables = host.folder / "firmware" / "efi" / "efivars"
    variables.mkdir(parents=True, exist_ok=True)
    # Four bytes of attributes, then the value.
    for name, value in (("SecureBoot", host.spec.secure_boot), ("SetupMode", False)):
        (variables / f"{name}-{_EFI_GLOBAL}").write_bytes(bytes((6, 0, 0, 0, value)))
    folder = host.folder / "firmware"
    return ("--security-opt", "unmask=/sys/firmware", "--volume", f"{folder}:/sys/firmware:ro")


def mac_of(address: str) -> str:
    """Locally administered hardware address that belongs to an IPv4 address."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x47, *IPv4Address(address).packed))


def stop(name: str) -> None:
    """Remove a host and all that belongs to it; no error when there is none."""
    host = lookup(name)
    if host is None:
        return
    _remove(host)
    with locked("hosts"):
        unregister(name)


def _remove(host: Host) -> None:
    if host.container:
        podman("rm", "--force", "--ignore", "--time", "0", host.container)
    else:
        vm.kill(host.folder)


def run(
    name: str, argv: Sequence[str], timeout: float | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a host as root; a failing command is returned, not raised.

    In a container past ssh, in a virtual machine by ssh and sudo.

    Raises:
        subprocess.TimeoutExpired: it ran longer than ``timeout`` seconds.

    """
    host = find(name)
    if host.container:
        keep_open = ["--interactive"] if stdin is not None else []
        sent = stdin.encode() if stdin is not None else None
        command = ["exec", *keep_open, host.container, *argv]
        return podman(*command, check=False, timeout=timeout, stdin=sent)
    return subprocess.run(
        inventory.ssh_command(host, argv),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        input=stdin or "",
    )


def add_apt_source(name: str, source: str, text: str) -> None:
    """Give a host an apt source of the sandbox's own: deb822 ``text``; empty removes it.

    Raises:
        SandboxError: the file could not be written.

    """
    write_file(name, f"/etc/apt/sources.list.d/{source}.sources", text)


def write_file(name: str, path: str, text: str) -> None:
    """Give a host a file that root owns and all may read; empty ``text`` removes it.

    Raises:
        SandboxError: the file could not be written.

    """
    # An unchanged file keeps its time stamp: Ansible judges by it whether an index is fresh.
    script = 'set -e; if [ -z "$2" ]; then rm -f "$1"; else t=$(mktemp); printf %s "$2" >"$t"; '
    script += 'cmp -s "$t" "$1" || install -m 0644 "$t" "$1"; rm -f "$t"; fi'
    done = run(name, ["sh", "-c", script, "sh", path, text])
    if done.returncode:
        raise SandboxError(f"host {name}: cannot write {path}: {done.stderr.strip()}")


def system_state(name: str) -> str:
    """Ask systemd in a host for its state: ``running``, ``degraded``, ... or ``down``."""
    return run(name, ["systemctl", "is-system-running"]).stdout.strip() or "down"


def wait_ready(name: str, timeout: float | None = None) -> None:
    """Wait until a host has booted (systemd done, perhaps with a failed unit) and ssh answers.

    Raises:
        SandboxError: it had not within ``timeout`` seconds.

    """
    host = find(name)
    limit = timeout or (READY_TIMEOUT if host.container else VM_READY_TIMEOUT)
    deadline = time.monotonic() + limit
    last = "nothing"
    while time.monotonic() < deadline:
        # Before dbus is up the command fails at once; apt, too, must wait for that.
        booted = run(name, ["systemctl", "is-system-running", "--wait"], timeout=limit)
        last = (booted.stdout + booted.stderr).strip()
        if booted.stdout.strip() in {"running", "degraded"} and ssh_answers(host):
            return
        time.sleep(0.3)
    raise SandboxError(f"host {name} was not up after {limit:.0f} s; systemd says: {last}")


def ssh_answers(host: Host) -> bool:
    """Return whether an ssh server introduces itself at the host's address."""
    try:
        with socket.create_connection((host.address, host.port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


# --- snapshots --------------------------------------------------------------------------------


def snapshot(name: str, tag: str) -> str:
    """Keep a host's file system as an image; start others from it with ``HostSpec(image=...)``.

    Raises:
        SandboxError: the host is a virtual machine, or podman failed.

    """
    host = find(name)
    if not host.container:
        raise SandboxError(f"host {name} is a virtual machine: there are no snapshots of those")
    image = _snapshot_image(tag)
    former = inspect("image", "inspect", image)
    run(name, ["sync"])
    podman(
        "commit", "--quiet", "--pause=false", "--change", f"LABEL {LABEL}", host.container, image
    )
    for entry in former:
        podman("rmi", entry["Id"], check=False)  # stays while a host runs from it
    return image


def _snapshot_image(tag: str) -> str:
    return f"{images.REPOSITORY}-snapshot:{SANDBOX_ID}-{tag}"


def restore(name: str, tag: str) -> Host:
    """Replace a host by a fresh one from the snapshot ``tag``, at the same address.

    Raises:
        SandboxError: no such host or snapshot.

    """
    host, image = find(name), _snapshot_image(tag)
    if not images.exists(image):
        raise SandboxError(f"no snapshot {tag!r}")
    _remove(host)
    _create(host, image)
    return host


def drop_snapshots() -> None:
    """Remove all snapshots of this sandbox; call with no host running from one."""
    own = podman("image", "ls", "--quiet", "--all", "--filter", f"label={LABEL}").stdout.split()
    if own:
        podman("rmi", "--force", *dict.fromkeys(own))


# --- several hosts ----------------------------------------------------------------------------


def start_all(specs: Iterable[HostSpec], fleet: str = "") -> tuple[Host, ...]:
    """Start hosts side by side, building missing images first, and wait until all are ready.

    Raises:
        SandboxError: one of them does not come up; the others stay.

    """
    specs = tuple(specs)
    ensure_network()
    images.ensure(spec.image for spec in specs if "/" not in spec.image)
    # One after the other, so that the same fleet gets the same addresses every time.
    claimed = tuple(_claim(spec, fleet) for spec in specs)

    def boot(host: Host) -> None:
        _boot(host)
        wait_ready(host.name)

    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        list(pool.map(boot, claimed))
    return claimed


def stop_all(names: Iterable[str]) -> None:
    """Stop hosts side by side."""
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        list(pool.map(stop, tuple(names)))


def write_inventory(
    hosts: Iterable[Host], extra_vars: Mapping[str, Any], path: Path | None = None
) -> Path:
    """Write an inventory of ``hosts`` with ``extra_vars`` for all of them; returns its path."""
    path = path or inventory_path()
    inventory.write(hosts, extra_vars, path)
    return path
