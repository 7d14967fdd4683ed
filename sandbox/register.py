"""The register of hosts: what was started and not stopped since, and their ssh keys."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.fleet import HostSpec
from sandbox.images import os_of
from sandbox.paths import HOSTS, KNOWN_HOSTS, LOGIN_KEY, STATE, SandboxError, replace_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SSH_PORT: Final = 22
# For the cloud's substitute, which presents the hosts as instances.
SUMMARY: Final = STATE / "hosts.json"


@dataclass(frozen=True, slots=True)
class Host:
    """A host that the sandbox has started.

    Attributes:
        name: host name, also in the inventory.
        address: IPv4 address that ssh connects to.
        container: podman's name for it; empty for a virtual machine.
        spec: what it was made from.
        fleet: fleet it was started for; empty when started alone.
        port: ssh port.

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


def find(name: str) -> Host:
    """Return the host ``name``.

    Raises:
        SandboxError: no such host was started.

    """
    host = lookup(name)
    if host is None:
        known = ", ".join(host.name for host in running()) or "none"
        raise SandboxError(f"no host {name!r} in the sandbox; hosts: {known}")
    return host


def lookup(name: str) -> Host | None:
    """Return the host ``name``, or None."""
    try:
        entry = json.loads((HOSTS / name / "host.json").read_text())
    except FileNotFoundError:
        return None
    return Host(**{**entry, "spec": HostSpec.from_dict(name, entry["spec"])})


def running(fleet: str | None = None) -> tuple[Host, ...]:
    """Return the hosts started and not stopped since, of all fleets or of one."""
    found = (lookup(path.parent.name) for path in sorted(HOSTS.glob("*/host.json")))
    return tuple(host for host in found if host and fleet in {None, host.fleet})


def register(host: Host) -> None:
    """Record a host and make ssh trust its key. Call with the ``hosts`` lock held."""
    entry = {
        "name": host.name,
        "address": host.address,
        "container": host.container,
        "spec": host.spec.to_dict(),
        "fleet": host.fleet,
        "port": host.port,
    }
    replace_text(host.folder / "host.json", json.dumps(entry, indent=1))
    _publish()


def unregister(name: str) -> None:
    """Forget a host. Call with the ``hosts`` lock held."""
    shutil.rmtree(HOSTS / name, ignore_errors=True)
    _publish()


def _publish() -> None:
    hosts = running()
    keys = {host.name: (host.folder / "ssh_host_ed25519_key.pub").read_text() for host in hosts}
    replace_text(KNOWN_HOSTS, known_hosts(hosts, keys))
    summary = [
        {
            "name": host.name,
            "address": host.address,
            "shape": host.spec.shape,
            "os": os_of(host.spec.image),
            "tags": {"fleet": host.fleet},
        }
        for host in hosts
        if host.container  # a virtual machine shares its address with everything on loopback
    ]
    replace_text(SUMMARY, json.dumps(summary, indent=1))


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


def known_hosts(hosts: Iterable[Host], keys: Mapping[str, str]) -> str:
    """Text for ssh's known_hosts from the public host key of each host, by host name."""
    lines = []
    for host in hosts:
        place = host.address if host.port == SSH_PORT else f"[{host.address}]:{host.port}"
        kind, key = keys[host.name].split()[:2]
        lines.append(f"{place} {kind} {key}\n")
    return "".join(lines)
