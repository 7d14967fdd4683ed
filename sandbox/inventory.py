"""The Ansible inventory of the sandbox's hosts, and the ssh command that reaches one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.images import LOGIN_USER
from sandbox.paths import KNOWN_HOSTS, LOGIN_KEY
from sandbox.register import SSH_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sandbox.register import Host

PATIENCE = 60  # seconds until ssh must have answered; a virtual machine on a busy machine is slow
_HEADER = "# Written by `python -m sandbox`; changes are lost.\n"


def _ssh_options() -> tuple[str, ...]:
    return (
        f"UserKnownHostsFile={KNOWN_HOSTS}",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
    )


def connection() -> dict[str, Any]:
    """Variables that make Ansible reach the hosts: strict host keys, one login, sudo."""
    return {
        "ansible_user": LOGIN_USER,
        "ansible_ssh_private_key_file": str(LOGIN_KEY),
        "ansible_ssh_common_args": " ".join(f"-o {shlex.quote(one)}" for one in _ssh_options()),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_become": True,
    }


def host_variables(host: Host) -> dict[str, Any]:
    """Variables of one host; ``sandbox_container`` is its podman name (for testinfra)."""
    variables: dict[str, Any] = {"ansible_host": host.address}
    if host.port != SSH_PORT:
        variables["ansible_port"] = host.port
    if host.container:
        variables["sandbox_container"] = host.container
    else:
        variables["ansible_timeout"] = PATIENCE
    if host.spec.shape:
        variables["oci_shape"] = host.spec.shape
    return {**variables, **host.spec.vars}


def document(hosts: Iterable[Host]) -> dict[str, Any]:
    """Inventory in Ansible's YAML form: all hosts, besides in one group per fleet."""
    hosts = sorted(hosts, key=lambda host: host.name)
    fleets: dict[str, dict[str, Any]] = {}
    for host in hosts:
        if host.fleet:
            group = fleets.setdefault(host.fleet.replace("-", "_"), {"hosts": {}})
            group["hosts"][host.name] = None
    return {
        "all": {
            "vars": connection(),
            "hosts": {host.name: host_variables(host) for host in hosts},
            "children": fleets,
        }
    }


def write(hosts: Iterable[Host], extra_vars: Mapping[str, Any], path: Path) -> None:
    """Write the inventory at ``path`` and ``group_vars/all.yml`` beside it."""
    variables = path.parent / "group_vars" / "all.yml"
    variables.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HEADER + yaml.safe_dump(document(hosts), sort_keys=False))
    variables.write_text(_HEADER + yaml.safe_dump(dict(extra_vars), sort_keys=True))


def ssh_command(host: Host, argv: Sequence[str]) -> list[str]:
    """Command that runs ``argv`` in a host as root over ssh."""
    options = [part for option in _ssh_options() for part in ("-o", option)]
    target = ["-i", str(LOGIN_KEY), "-p", str(host.port), f"{LOGIN_USER}@{host.address}"]
    return [
        "ssh",
        "-F",
        "none",
        *options,
        "-o",
        f"ConnectTimeout={PATIENCE}",
        *target,
        "--",
        "sudo",
        shlex.join(argv),
    ]
