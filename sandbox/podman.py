"""Call podman with the sandbox's own configuration."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final

from sandbox.paths import SANDBOX_ID, STATE, SandboxError, locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CONFIGURATION: Final = STATE / "containers.conf"
NETWORK: Final = f"gpuprep-{SANDBOX_ID}"
LABEL: Final = f"gpuprep.sandbox={SANDBOX_ID}"
# Tried in this order; the first that overlaps no route of this machine is taken.
SUBNETS: Final = tuple(IPv4Network(f"10.{n}.0.0/22") for n in (187, 213, 149, 97, 61)) + tuple(
    IPv4Network(f"172.{n}.0.0/22") for n in (29, 27, 23)
)
MAX_OPEN_FILES: Final = 20_000
MAX_PROCESSES: Final = 32_768  # podman lowers its own limit to this first, cannot pass more on


def environment() -> dict[str, str]:
    """Environment in which podman, also one called by testinfra, finds the sandbox's hosts."""
    return {**os.environ, "CONTAINERS_CONF": str(CONFIGURATION)}


def configuration(hard_files: int, hard_processes: int) -> str:
    """Text of containers.conf, within the hard limits given (-1 = unlimited).

    Podman asks for 1048576 open files by default, which fails without CAP_SYS_RESOURCE. runc
    because crun refuses hybrid cgroup mounts.
    """
    files = min(hard_files, MAX_OPEN_FILES) if hard_files >= 0 else MAX_OPEN_FILES
    processes = min(hard_processes, MAX_PROCESSES) if hard_processes >= 0 else MAX_PROCESSES
    return f"""\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
pids_limit = 0
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""


def configure() -> None:
    """Write the sandbox's containers.conf."""
    STATE.mkdir(exist_ok=True)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    CONFIGURATION.write_text(configuration(files, processes))


def podman(
    *arguments: str, check: bool = True, stdin: bytes | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``podman ARGUMENTS``.

    Raises:
        SandboxError: podman is not installed, or ``check`` and it failed.

    """
    try:
        done = subprocess.run(
            ["podman", *arguments],
            env=environment(),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
    except FileNotFoundError as missing:
        raise SandboxError("podman is not installed: run `python -m sandbox up`") from missing
    result = subprocess.CompletedProcess(
        done.args,
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )
    if check and result.returncode:
        command = " ".join(arguments)
        raise SandboxError(f"podman {command}: exit {result.returncode}: {result.stderr.strip()}")
    return result


def inspect(*arguments: str) -> list[dict[str, Any]]:
    """Parse the answer of ``podman [network|...] inspect``; empty when nothing is there."""
    done = podman(*arguments, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else []


def free_subnet(taken: Iterable[str], candidates: Sequence[IPv4Network] = SUBNETS) -> IPv4Network:
    """First of ``candidates`` that overlaps none of ``taken`` (networks or addresses).

    Raises:
        SandboxError: all are taken.

    """
    used = [IPv4Network(text, strict=False) for text in taken]
    for candidate in candidates:
        if not any(candidate.overlaps(network) for network in used):
            return candidate
    names = ", ".join(map(str, candidates))
    raise SandboxError(f"no free subnet for the sandbox: all of {names} overlap routes in use")


def _routes() -> list[str]:
    shown = subprocess.run(
        ["ip", "-json", "-4", "route", "show", "table", "all"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [route["dst"] for route in json.loads(shown.stdout) if route["dst"] != "default"]


def _networks() -> list[str]:
    names = podman("network", "ls", "--quiet").stdout.split()
    found = inspect("network", "inspect", *names) if names else []
    subnets = [part["subnet"] for network in found for part in network.get("subnets") or []]
    return [subnet for subnet in subnets if ":" not in subnet]


def _nameservers() -> list[str]:
    with open("/etc/resolv.conf") as handle:  # noqa: PTH123 - a file of the machine
        pairs = [line.split()[:2] for line in handle if line.startswith("nameserver")]
    return [pair[1] for pair in pairs if ":" not in pair[1]]


def ensure_network() -> IPv4Network:
    """Subnet of the sandbox's bridge network; creates the network when it is missing."""
    with locked("network"):
        found = inspect("network", "inspect", NETWORK)
        if not found:
            subnet = free_subnet([*_routes(), *_networks(), *_nameservers()])
            podman("network", "create", "--label", LABEL, "--subnet", str(subnet), NETWORK)
            found = inspect("network", "inspect", NETWORK)
    return IPv4Network(found[0]["subnets"][0]["subnet"])


def host_addresses(subnet: IPv4Network) -> Iterator[IPv4Address]:
    """Addresses that the register may give to hosts: all but the lowest quarter of the subnet.

    From that quarter podman serves containers that somebody puts on the network by hand.
    """
    _, *quarters = subnet.subnets(prefixlen_diff=2)
    for quarter in quarters:
        yield from quarter.hosts()


def gateway_of(subnet: IPv4Network) -> IPv4Address:
    """Address of the bridge, by podman's rule the first one of the subnet."""
    return subnet.network_address + 1


def remove_network() -> None:
    """Remove the sandbox's network; no error when there is none.

    Raises:
        SandboxError: containers of somebody else are on it.

    """
    with locked("network"):
        if inspect("network", "inspect", NETWORK):
            podman("network", "rm", NETWORK)
