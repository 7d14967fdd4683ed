"""The sandbox's other parts, where they exist: package repositories and the cloud's substitute.

They are found by name and loaded on demand, because they are heavier than most verbs need.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from sandbox import hosts, images
from sandbox.paths import STATE, SandboxError
from sandbox.ubuntu.systems import SYSTEMS as UBUNTU

if TYPE_CHECKING:
    from collections.abc import Sequence

_MODULES = ("sandbox.servers", "sandbox.oci")


def start(served: Sequence[hosts.Host]) -> dict[str, Any]:
    """Serve the package repositories to hosts; returns the inventory variables that use them.

    Raises:
        SandboxError: no container runs: without one the address they are served on is not there.

    """
    if not any(host.container for host in hosts.running()):
        raise SandboxError(
            "a virtual machine reaches the package repositories only while a container runs beside "
            "it: start one first, python -m sandbox host-up NAME"
        )
    servers = _load("sandbox.servers")
    if servers is None:
        return {}
    variables = dict(servers.ensure(hosts.gateway(), STATE))
    # Kernel headers are no setting of ours: a real host has its distribution's archive for them.
    source = variables.pop("headers_source", "")
    # A virtual machine runs Debian's own kernel, whose headers the archive really has.
    for host in filter(_runs_our_kernel, served):
        hosts.add_apt_source(host.name, "sandbox-kernel", source)
    _lead_to_distributions(served, servers)
    return variables


def _runs_our_kernel(host: hosts.Host) -> bool:
    """Return whether a host is Debian's and says the kernel whose headers we have."""
    if host.spec.image in UBUNTU:
        return False
    present = ["test", "-d", "/etc/apt/sources.list.d"]
    return bool(host.container) and hosts.run(host.name, present).returncode == 0


def _lead_to_distributions(served: Sequence[hosts.Host], servers: Any) -> None:  # noqa: ANN401
    """Give hosts that are not Debian their distribution's repositories, built on first use."""
    found = {host.name: images.os_of(host.spec.image) for host in served}
    systems = {
        name: system for name, system in found.items() if system and system not in images.SUITES
    }
    files = servers.distributions(systems.values(), hosts.gateway(), STATE) if systems else {}
    for name, system in systems.items():
        for path, text in files[system].items():
            hosts.write_file(name, path, text)


def stop() -> None:
    """Stop whatever of them runs."""
    for name in _MODULES:
        module = _load(name)
        if module is not None and hasattr(module, "stop"):
            module.stop(STATE)


def _load(name: str) -> Any:  # noqa: ANN401 - a module
    return importlib.import_module(name) if importlib.util.find_spec(name) else None
