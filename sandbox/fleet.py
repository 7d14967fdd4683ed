"""What hosts a fleet has: host specifications and the file fleets.yml."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from sandbox import images, pci
from sandbox.paths import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

FLEETS_FILE: Final = Path(__file__).with_name("fleets.yml")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_KEYS: Final = {"image", "gpus", "nvswitches", "shape", "vars", "files", "secure_boot", "selinux"}
_COUNTED: Final = re.compile(r"(?P<base>.+)-(?P<count>\d+)")


@dataclass(frozen=True, slots=True)
class File:
    """A text file that a host has from the start, owned by root."""

    content: str
    mode: str = "0644"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """What a host is to be.

    Attributes:
        name: host name, also the name in the inventory.
        image: ``debian-12``, ``ol-9`` and the like, or a podman image of a snapshot.
        gpus: PCI ids, one per GPU.
        nvswitches: PCI ids, one per NVSwitch.
        shape: OCI shape, the host variable ``oci_shape``; None: no such variable.
        vars: further host variables.
        files: files by absolute path.
        secure_boot: whether the firmware says that Secure Boot is on; None: there is no UEFI.
        selinux: whether its kernel enforces SELinux's policy; virtual machines only.

    """

    name: str
    image: str = "debian-12"
    gpus: tuple[str, ...] = ()
    nvswitches: tuple[str, ...] = ()
    shape: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    secure_boot: bool | None = None
    selinux: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain types, the form that ``from_dict`` takes besides the name."""
        plain = asdict(self)
        del plain["name"]
        return plain

    @classmethod
    def from_dict(cls, name: str, entry: Mapping[str, Any]) -> HostSpec:
        """Host specification from an entry of fleets.yml.

        Raises:
            SandboxError: bad name, unknown key, unknown image or malformed PCI id.

        """
        if not _NAME.fullmatch(name):
            raise SandboxError(f"host name {name!r}: lower-case letters, digits and - only")
        unknown = set(entry) - _KEYS
        if unknown:
            raise SandboxError(f"host {name}: unknown keys {', '.join(sorted(unknown))}")
        image = entry.get("image", "debian-12")
        if "/" not in image:
            images.check(image)
        return cls(
            name=name,
            image=image,
            gpus=pci.expand(entry.get("gpus", ())),
            nvswitches=pci.expand(entry.get("nvswitches", ())),
            shape=entry.get("shape"),
            vars=dict(entry.get("vars", {})),
            files={path: File(**file) for path, file in entry.get("files", {}).items()},
            secure_boot=entry.get("secure_boot"),
            selinux=entry.get("selinux", False),
        )


def load(name: str, document: Mapping[str, Any] | None = None) -> tuple[HostSpec, ...]:
    """Return the hosts of the fleet ``name``; ``bench-50`` is the fleet ``bench`` with 50 hosts.

    Raises:
        SandboxError: there is no such fleet, or one of its hosts is malformed.

    """
    fleets = document if document is not None else yaml.safe_load(FLEETS_FILE.read_text())
    if name in fleets:
        return _hosts(name, fleets[name], fleets[name].get("count", 0))
    counted = _COUNTED.fullmatch(name)
    if counted and "templates" in fleets.get(counted["base"], {}):
        return _hosts(counted["base"], fleets[counted["base"]], int(counted["count"]))
    raise SandboxError(f"no fleet {name!r} in {FLEETS_FILE.name}: there are {', '.join(fleets)}")


def _hosts(fleet: str, entry: Mapping[str, Any], count: int) -> tuple[HostSpec, ...]:
    named = [HostSpec.from_dict(name, host) for name, host in entry.get("hosts", {}).items()]
    templates = entry.get("templates", ())
    for number in range(1, count + 1):
        template = templates[(number - 1) % len(templates)]
        named.append(HostSpec.from_dict(f"{fleet}-{number:03d}", template))
    return tuple(named)
