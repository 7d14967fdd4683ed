"""The observation: what a host says of itself in one read-only round trip.

:func:`script` gives the program that is fed to the host's Python; :func:`facts` reads from its
answer what the resolver needs. The answer itself is a JSON object (``schema`` 1) whose keys are
written by ``target.py``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from gpuprep.layout import collection_root, package_root
from gpuprep.model import HostFacts, HostState

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
INTERPRETER_FLAGS = "-S -E -"  # no site-packages, no PYTHON* variables, program on standard input

Observation: TypeAlias = "Mapping[str, Any]"

# Classes of PCI devices, first byte of the class code (PCI Code and ID Assignment Specification).
_DISPLAY, _BRIDGE = "03", "06"
# Distributions whose minor version does not change what packages are called.
_MAJOR_ONLY = {"ol", "rhel", "rocky", "almalinux", "centos"}


class ObservationError(ValueError):
    """A host's answer is no observation; the message says what came instead."""


@lru_cache
def _program() -> str:
    parts = (
        collection_root() / "plugins/module_utils/_openpgp.py",
        package_root() / "on_host/observe.py",
    )
    return "\n".join(path.read_text(encoding="utf-8") for path in parts)


def script(request: Mapping[str, Any], probe: str = "", tier: str = "quick") -> str:
    """Return the program to feed to ``python3 -S -E -`` on a host.

    Args:
        request: what to look at; keys as in the head of ``target.py``.
        probe: source that defines ``probe(tier, options)``, see ``gpuprep.ladder.shipped``; its
            answer comes back as ``probe``. Empty = observe only.
        tier: what the probe tries.

    """
    setting = json.dumps(json.dumps(request))
    options = {"conda_prefixes": [request["conda"]]} if request.get("conda") else {}
    lines = [
        "import json",
        f"REQUEST = json.loads({setting})",
        "__gpuprep_embedded__ = True",
        _program(),
        probe,
        "answer = observe(REQUEST)",
        f"answer['probe'] = probe({tier!r}, {options!r})" if probe else "",
        "json.dump(answer, sys.stdout)",
    ]
    return "\n".join(lines) + "\n"


def parse(text: str) -> Observation:
    """Read a host's answer.

    Raises:
        ObservationError: the text holds no observation of this schema.

    """
    start = text.find('{"schema"')
    if start < 0:
        raise ObservationError(f"the host answered no observation but: {text.strip()[:300]!r}")
    try:
        answer: Observation = json.loads(text[start:])
    except ValueError as error:
        raise ObservationError(f"the host's answer is cut off or mixed up: {error}") from error
    if answer.get("schema") != SCHEMA:
        raise ObservationError(f"observation schema {answer.get('schema')!r}, expected {SCHEMA}")
    return answer


def facts(observation: Observation, shape: str | None = None) -> HostFacts:
    """Return what the resolver must know of a host.

    Args:
        observation: the host's answer.
        shape: OCI shape from the inventory, None outside OCI.

    """
    os_id = observation["os"]["id"]
    version = observation["os"]["version_id"]
    if os_id in _MAJOR_ONLY:
        version = version.split(".")[0]
    kernel = observation["kernel"]
    devices = [(d["class"][:2], f"{d['vendor']}:{d['device']}") for d in observation["pci"]]
    named = kernel["release"] != kernel["running"]
    return HostFacts(
        gpus=tuple(pci for kind, pci in devices if kind == _DISPLAY),
        nvswitches=sum(kind == _BRIDGE for kind, _ in devices),
        os=f"{os_id}-{version}",
        arch=observation["arch"],
        kernel=kernel["release"],
        kernel_cc=kernel["compiler"],
        system_gcc=observation["system_gcc"],
        shape=shape,
        state=HostState(
            runfile=observation["runfile"],
            secure_boot=observation["secure_boot"],
            mok_enrolled=observation["mok_enrolled"],
            newest_kernel=None if named else kernel["newest_installed"],
        ),
    )


def running_driver(observation: Observation) -> str | None:
    """Return the version of the driver that is loaded, None when none is."""
    version: str | None = observation["driver"]["proc_version"]
    return version or observation["modules"]["loaded"].get("nvidia")
