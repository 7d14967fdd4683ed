"""Start, stop, look into and snapshot throw-away hosts.

A host is a podman container in which systemd is process 1, reached over real ssh.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox import images, inventory, pci
from sandbox.fleet import HostSpec
from sandbox.paths import HOSTS, KNOWN_HOSTS, LOGIN_KEY, SANDBOX_ID, STATE, SandboxError, locked
from sandbox.podman import LABEL, NETWORK, ensure_network, gateway_of, inspect, podman

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

SSH_PORT: Final = 22
READY_TIMEOUT: Final = 90.0  # seconds; 2 s alone, more when many boot at once
_PARALLEL: Final = 6


@dataclass(frozen=True, slots=True)
class Host:
    """A host that the sandbox has started.

    Attributes:
        name: host name, also in the inventory.
        address: IPv4 address that ssh connects to.
        container: podman's name for it; empty for a virtual machine.
        port: ssh port.
        fleet: fleet it was started for; empty when started alone.
        spec: what it was made from.

    """

    name: str
    address: str
    container: str
    spec: HostSpec
    fleet: str = ""
    port: int = SSH_PORT

    @property
    def folder(self) -> Path:
        """Where the sandbox keeps what belongs to this host."""
        return HOSTS / self.name


def gateway() -> str:
    """Address of this machine on the hosts' network; bound to the bridge once a host runs."""
    return str(gateway_of(ensure_network()))


def inventory_path(fleet: str = "demo") -> Path:
    """Inventory file of a fleet: that of the demo is ``.sandbox/inventory/hosts.yml``."""
    folder = "inventory" if fleet == "demo" else f"inventory-{fleet}"
    return STATE / folder / "hosts.yml"


# --- the register of hosts ---------------------------------------------------------------------


def find(name: str) -> Host:
    """Give the host ``name``.

    Raises:
        SandboxError: no such host was started.

    """
    record = HOSTS / name / "host.json"
    if not record.exists():
        known = ", ".join(host.name for host in running()) or "none"
        raise SandboxError(f"no host {name!r} in the sandbox; hosts: {known}")
    entry = json.loads(record.read_text())
    return Host(**{**entry, "spec": HostSpec.from_dict(name, entry["spec"])})


def running(fleet: str | None = None) -> tuple[Host, ...]:
    """Give the hosts started and not stopped since, of all fleets or of one."""
    names = sorted(path.parent.name for path in HOSTS.glob("*/host.json"))
    hosts = (find(name) for name in names)
    return tuple(host for host in hosts if fleet is None or host.fleet == fleet)


def register(host: Host) -> None:
    """Record a host and make ssh trust its key. Call with the ``hosts`` lock held."""
    entry = {
        "name": host.name,
        "address": host.address,
        "container": host.container,
        "fleet": host.fleet,
        "port": host.port,
        "spec": host.spec.to_dict(),
    }
    (host.folder / "host.json").write_text(json.dumps(entry, indent=1))
    _write_known_hosts()


def unregister(name: str) -> None:
    """Forget a host. Call with the ``hosts`` lock held."""
    shutil.rmtree(HOSTS / name, ignore_errors=True)
    _write_known_hosts()


def _write_known_hosts() -> None:
    hosts = running()
    keys = {host.name: (host.folder / "ssh_host_ed25519_key.pub").read_text() for host in hosts}
    KNOWN_HOSTS.write_text(inventory.known_hosts(hosts, keys))


def make_keys(host_folder: Path) -> None:
    """Generate the login key of the sandbox and the host key of one host where missing."""
    for path in (LOGIN_KEY, host_folder / "ssh_host_ed25519_key"):
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sandbox", "-f", str(path)],
            check=True,
            stdin=subprocess.DEVNULL,
        )


def _free_address() -> str:
    subnet = ensure_network()
    taken = {host.address for host in running()} | {str(gateway_of(subnet))}
    for address in subnet.hosts():
        if str(address) not in taken:
            return str(address)
    raise SandboxError(f"no address left in {subnet}")


# --- one host ---------------------------------------------------------------------------------


def start(spec: HostSpec, fleet: str = "") -> Host:
    """Start a host, or return the living one of that name; does not wait for it to boot.

    Raises:
        SandboxError: a host of that name but of another specification is there, or podman failed.

    """
    host = _claim(spec, fleet)
    _boot(host)
    return host


def _claim(spec: HostSpec, fleet: str) -> Host:
    """Register a host and generate its keys, unless it is registered already."""
    with locked("hosts"):
        if (HOSTS / spec.name / "host.json").exists():
            host = find(spec.name)
            if host.spec != spec:
                raise SandboxError(f"host {spec.name} exists and differs: stop it first")
            return host
        container = f"gpuprep-{SANDBOX_ID}-{spec.name}"
        host = Host(spec.name, _free_address(), container, spec, fleet)
        make_keys(host.folder)
        register(host)
    return host


def _boot(host: Host) -> None:
    """Start the container of a registered host; create it first when there is none."""
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
        *("--restart", "always", "--systemd", "always"),
        *("--volume", f"{bus}:/sys/bus/pci:ro"),
        image,
    )
    # In the host's own file system, so that they survive its reboot.
    podman("cp", "--archive=false", "-", f"{host.container}:/", stdin=_first_files(host))
    podman("start", host.container)


def _first_files(host: Host) -> bytes:
    """Tar stream of what makes an image this host: ssh keys and the files it was asked to have."""
    key = host.folder / "ssh_host_ed25519_key"
    authorized = LOGIN_KEY.with_suffix(".pub").read_bytes()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        _add(archive, "etc/ssh/ssh_host_ed25519_key", key.read_bytes(), 0o600)
        _add(archive, "etc/ssh/ssh_host_ed25519_key.pub", key.with_suffix(".pub").read_bytes())
        home = f"home/{images.LOGIN_USER}/.ssh/authorized_keys"
        _add(archive, home, authorized, 0o600, owner=1000)
        for path, file in host.spec.files.items():
            _add(archive, path.lstrip("/"), file.content.encode(), int(file.mode, 8))
    return stream.getvalue()


def _add(
    archive: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644, owner: int = 0
) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.mtime = len(content), mode, int(time.time())
    member.uid = member.gid = owner
    archive.addfile(member, io.BytesIO(content))


def stop(name: str) -> None:
    """Remove a host and all that belongs to it; no error when there is none."""
    if not (HOSTS / name / "host.json").exists():
        return
    _remove(find(name))
    with locked("hosts"):
        unregister(name)


def _remove(host: Host) -> None:
    podman("rm", "--force", "--ignore", "--time", "0", host.container)


def run(
    name: str, argv: Sequence[str], timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a host as root, past ssh; a failing command is returned, not raised."""
    return podman("exec", find(name).container, *argv, check=False, timeout=timeout)


def system_state(name: str) -> str:
    """Ask systemd in a host for its state: ``running``, ``degraded``, ... or ``down``."""
    return run(name, ["systemctl", "is-system-running"]).stdout.strip() or "down"


def wait_ready(name: str, timeout: float = READY_TIMEOUT) -> None:
    """Wait until a host has booted (systemd done, perhaps with a failed unit) and ssh answers.

    Raises:
        SandboxError: it had not within ``timeout`` seconds.

    """
    host = find(name)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        # Before dbus is up the command fails at once; apt, too, must wait for that.
        booted = run(name, ["systemctl", "is-system-running", "--wait"], timeout=timeout)
        if booted.stdout.strip() in {"running", "degraded"} and ssh_answers(host):
            return
        time.sleep(0.3)
    last = (booted.stdout + booted.stderr).strip()
    raise SandboxError(f"host {name} was not up after {timeout:.0f} s; systemd says: {last}")


def ssh_answers(host: Host) -> bool:
    """Whether an ssh server introduces itself at the host's address."""
    try:
        with socket.create_connection((host.address, host.port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def snapshot(name: str, tag: str) -> str:
    """Image of a host as it is now; start others from it with ``HostSpec(image=...)``."""
    image = f"{images.REPOSITORY}-snapshot:{SANDBOX_ID}-{tag}"
    run(name, ["sync"])
    podman("commit", "--quiet", "--pause=false", find(name).container, image)
    return image


def restore(name: str, tag: str) -> Host:
    """Replace a host by a fresh one from the snapshot ``tag``, at the same address."""
    host = find(name)
    image = f"{images.REPOSITORY}-snapshot:{SANDBOX_ID}-{tag}"
    if not images.exists(image):
        raise SandboxError(f"no snapshot {tag!r}")
    _remove(host)
    _create(host, image)
    return host


def drop_snapshots() -> None:
    """Remove all snapshots of this sandbox."""
    listed = podman("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    for image in listed:
        if image.startswith(f"{images.REPOSITORY}-snapshot:{SANDBOX_ID}-"):
            podman("rmi", "--force", image)


# --- several hosts ----------------------------------------------------------------------------


def start_all(specs: Iterable[HostSpec], fleet: str = "") -> tuple[Host, ...]:
    """Start hosts side by side, building missing images first, and wait until all are ready."""
    specs = tuple(specs)
    ensure_network()
    images.ensure(images.suite_of(spec.image) for spec in specs if "/" not in spec.image)

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
