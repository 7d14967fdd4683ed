"""Many ssh hosts out of a few: each container of the sandbox answers at many ports.

Every port is a host of its own to all contenders: an sshd in its own UTS namespace, so with a host
name of its own, a connection of its own and a full observation. What they share is the disk below.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

import gpuprep
from bench.cost import BenchError, group_of
from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.planner import HostPlan, observation_request, plan_host, settings_from
from sandbox import fleet, hosts, images, services
from sandbox.inventory import connection
from sandbox.paths import LOGIN_KEY, SANDBOX_ID, STATE
from sandbox.podman import podman

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

CONTAINERS: Final = 2
FIRST_PORT: Final = 3000
PREFIX: Final = "bench-noop-"
SNAPSHOT: Final = "bench-converged"
# One sshd per port; names are known to sudo, which else waits for a name server.
DAEMONS: Final = """
import os, subprocess, sys
first, names = int(sys.argv[1]), sys.argv[2:]
with open("/etc/hosts", "a") as stream:
    stream.writelines("127.0.0.1 %s\\n" % name for name in names)
os.makedirs("/run/sshd", exist_ok=True)
for number, name in enumerate(names):
    line = 'hostname "$1"; exec /usr/sbin/sshd -p "$2" -o PidFile=none -o MaxStartups=100'
    subprocess.check_call(["unshare", "--uts", "sh", "-c", line, "sh", name, str(first + number)])
"""


@dataclass(frozen=True)
class Logical:
    """A host of the rig: name, where it answers, its container."""

    name: str
    address: str
    port: int
    container: str


@dataclass(frozen=True)
class Rig:
    """The hosts, what leads gpuprep to the sandbox, the plan that they are converged to."""

    hosts: tuple[Logical, ...]
    variables: Mapping[str, Any]
    groups: tuple[Path, ...]
    plan: HostPlan
    known_hosts: Path

    def inventory(self, count: int, path: Path) -> Path:
        """Write an inventory of so many of the hosts, dealt evenly over the containers."""
        variables = {**connection(), **self.variables}
        common = f"-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes"
        variables["ansible_ssh_common_args"] = f"{common} -o IdentitiesOnly=yes"
        chosen = {
            one.name: {"ansible_host": one.address, "ansible_port": one.port}
            for one in self.hosts[:count]
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"all": {"hosts": chosen, "vars": variables}}))
        return path


def settings(variables: Mapping[str, Any]) -> Any:
    """Return the settings of the rig's hosts."""
    return settings_from(variables)


def look(name: str, variables: Mapping[str, Any]) -> HostPlan:
    """Return the plan of a host of the sandbox as it is now, made without Ansible."""
    chosen = settings_from(variables)
    script = observe.script(observation_request(load(), chosen))
    done = hosts.run(name, ["python3", "-S", "-E", "-"], stdin=script, timeout=120)
    return plan_host(observe.read(done.stdout), chosen, load())


def group_of_host(host: Any) -> Path:
    """Return the control group of all of a host of the sandbox."""
    shown = podman("inspect", "--format", "{{.State.Pid}}", host.container).stdout
    group = group_of(int(shown))
    while "libpod-" in group.parent.name:  # systemd's own are below the container's
        group = group.parent
    return group


@contextlib.contextmanager
def rig(count: int, folder: Path, *, apart: int = 0) -> Iterator[Rig]:
    """Make so many hosts that gpuprep has converged; they are gone afterwards.

    The last ``apart`` of them have a disk of their own: what changes there changes nowhere else.
    """
    (template,) = fleet.load("bench-1")
    kind = {"image": template.image, "gpus": list(template.gpus), "shape": template.shape}
    containers = min(CONTAINERS, count - apart) + apart
    names = [f"{PREFIX}{number}" for number in range(containers)]
    try:
        yield _made(names, kind, count, folder, apart)
    finally:
        hosts.stop_all(names)


def _made(
    names: Sequence[str], kind: Mapping[str, Any], count: int, folder: Path, apart: int
) -> Rig:
    image = converged(names[0], kind, folder)
    specs = [fleet.HostSpec.from_dict(name, {**kind, "image": image}) for name in names]
    hosts.stop_all(names)
    started = hosts.start_all(specs, "bench")
    variables = {**services.start(started), "oci_shape": kind["shape"]}
    found = look(names[0], variables)
    if found.steps:
        raise BenchError(f"the rig's hosts differ: {', '.join(step.id for step in found.steps)}")
    shared = len(started) - apart
    dealt = [started[number % shared] for number in range(count - apart)]
    every = tuple(_listen(started, (*dealt, *started[shared:])))
    known = folder / "known_hosts"
    keys = {
        host.address: hosts.run(host.name, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout
        for host in started
    }
    known.write_text(
        "".join(f"[{one.address}]:{one.port} {keys[one.address].strip()}\n" for one in every)
    )
    groups = tuple(map(group_of_host, started))
    return Rig(every, variables, groups, wanted(variables), known)


def wanted(variables: Mapping[str, Any]) -> HostPlan:
    """Return what gpuprep plans for the rig's hosts while they are bare."""
    chosen = settings_from(variables)
    kept = STATE / "bench-bare.json"
    return plan_host(observe.read(kept.read_text()), chosen, load())


def converged(name: str, kind: Mapping[str, Any], folder: Path) -> str:
    """Return the image of a host that gpuprep has prepared; made when it is not there."""
    image = f"{images.REPOSITORY}-snapshot:{SANDBOX_ID}-{SNAPSHOT}"
    if images.exists(image) and (STATE / "bench-bare.json").exists():
        return image
    started = hosts.start_all([fleet.HostSpec.from_dict(name, dict(kind))], "bench")
    variables = {**services.start(started), "oci_shape": kind["shape"]}
    keep_bare(name, variables)
    inventory = hosts.write_inventory(started, variables, folder / "containers" / "hosts.yml")
    result = gpuprep.apply(inventory)
    if result.hosts[name].state != "prepared":
        raise BenchError(f"the rig's host cannot be prepared: {result.hosts[name].error}")
    return hosts.snapshot(name, SNAPSHOT)


def keep_bare(name: str, variables: Mapping[str, Any]) -> None:
    """Keep what a bare host says of itself: what all contenders want is planned from that."""
    script = observe.script(observation_request(load(), settings_from(variables)))
    done = hosts.run(name, ["python3", "-S", "-E", "-"], stdin=script, timeout=120)
    (STATE / "bench-bare.json").write_text(done.stdout)


def _listen(started: Sequence[Any], dealt: Sequence[Any]) -> Iterator[Logical]:
    """Let the containers answer at their ports; give the hosts, each on its container."""
    names: dict[str, list[str]] = {host.name: [] for host in started}
    for number, host in enumerate(dealt):
        port = FIRST_PORT + len(names[host.name])
        name = f"bench-{number:04d}"
        names[host.name].append(name)
        yield Logical(name, host.address, port, host.name)
    for host in started:
        argv = ["python3", "-c", DAEMONS, str(FIRST_PORT), *names[host.name]]
        _inside(host, argv)


def _inside(host: Any, argv: Sequence[str]) -> None:
    """Run a command in a container with rights that containers do not have: to make namespaces.

    Raises:
        BenchError: it failed.

    """
    pid = podman("inspect", "--format", "{{.State.Pid}}", host.container).stdout.strip()
    group = group_of_host(host)

    def enter() -> None:  # what it starts counts as the host's
        (group / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run(
        ["nsenter", "--target", pid, "--mount", "--net", "--pid", "--ipc", "--", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=enter,
    )
    if done.returncode:
        raise BenchError(f"{host.name} does not answer at its ports: {done.stderr}")


def login_key() -> str:
    """Return the path of the login's private key."""
    return str(LOGIN_KEY)
