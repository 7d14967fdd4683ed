"""What a fleet file asks for, as frozen values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class FleetState(StrEnum):
    """What is to become of the members of a fleet."""

    PRESENT = "present"
    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


class Capacity(StrEnum):
    """Out of which capacity instances are made."""

    ON_DEMAND = "on_demand"
    PREEMPTIBLE = "preemptible"
    RESERVATION = "reservation"


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """Which image: the newest of a system, or one by its OCID.

    Attributes:
        os: ``ubuntu``, ``oracle-linux`` or ``debian``.
        version: of the system.
        ocid: the image itself; then neither of the others.
        gpu_image: the platform's builds that bring a GPU driver along.
        unproven: a system that no test has taken from bare to prepared is fine.

    """

    os: str | None = None
    version: str | None = None
    ocid: str | None = None
    gpu_image: bool = False
    unproven: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """Where the hosts' addresses come from.

    Attributes:
        subnet: name or OCID of a subnet that is there.
        compartment: of that subnet, when it is another one.
        security_groups: OCIDs.
        public_ip: whether the hosts get public addresses.
        create: make a network of its own.
        cidr: its addresses.
        ssh_from: addresses from which ssh is let in.

    """

    subnet: str | None = None
    compartment: str | None = None
    security_groups: tuple[str, ...] = ()
    public_ip: bool = False
    create: bool = False
    cidr: str = "10.66.0.0/24"
    ssh_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where instances may be.

    Attributes:
        availability_domains: their names, or endings such as ``AD-1``; empty = any.
        capacity: out of which capacity.
        reservation: OCID of the capacity reservation.
        compute_cluster: ``auto`` (for shapes on a cluster network), ``none``, or an OCID.

    """

    availability_domains: tuple[str, ...] = ()
    capacity: Capacity = Capacity.ON_DEMAND
    reservation: str | None = None
    compute_cluster: str = "auto"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a run waits for.

    Attributes:
        minutes: how long at most; None = by the shape.
        ssh: until the host answers with the key that its console told.
        cloud_init: until cloud-init is done.
        ssh_user: login name; None = the one of the image's system.
        known_hosts: file that the host keys are written to.

    """

    minutes: float | None = None
    ssh: bool = True
    cloud_init: bool = True
    ssh_user: str | None = None
    known_hosts: str = "~/.ssh/known_hosts"


@dataclass(frozen=True, slots=True)
class Desired:
    """A fleet as it should be.

    Attributes:
        fleet: its name.
        compartment: OCID, name or ``/path``.
        shape: OCI shape.
        count: number of members.
        image: what they boot from.
        ssh_keys: public keys, a line each.
        network: where they are reached.
        region: e.g. ``us-ashburn-1``; None = the profile's.
        state: what is to become of the members.
        members: the only ones that this run is about; empty = all.
        prune: terminate members beyond ``count``.
        boot_volume_gb: size of the boot volume.
        boot_volume_vpus: its performance units per GB; None = OCI's default.
        user_data: for cloud-init, base64.
        placement: where they may be.
        tags: further freeform tags.
        wait: what to wait for.
        source: the file it was read from.
        key_files: private keys that lie beside the public ones.

    """

    fleet: str
    compartment: str
    shape: str
    count: int
    image: ImageChoice
    ssh_keys: tuple[str, ...]
    network: Network
    region: str | None = None
    state: FleetState = FleetState.PRESENT
    members: tuple[int, ...] = ()
    prune: bool = False
    boot_volume_gb: int = 150
    boot_volume_vpus: int | None = None
    user_data: str | None = None
    placement: Placement = field(default_factory=Placement)
    tags: Mapping[str, str] = field(default_factory=dict)
    wait: Wait = field(default_factory=Wait)
    source: str = ""
    key_files: tuple[Path, ...] = ()

    @property
    def metal(self) -> bool:
        """Whether the shape is a whole machine."""
        return self.shape.startswith("BM.")

    @property
    def wait_seconds(self) -> float:
        """How long to wait at most; bare metal takes long to start."""
        minutes = self.wait.minutes
        return 60 * (minutes if minutes is not None else 45 if self.metal else 15)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The members that this run is about."""
        chosen = set(self.members)
        every = range(1, self.count + 1)
        return tuple(one for one in every if not chosen or one in chosen)

    def settings(self) -> dict[str, str]:
        """Return a short digest of each setting that an instance gets at its launch."""
        image = self.image
        parts: dict[str, Any] = {
            "shape": self.shape,
            "image": image.ocid or [image.os, image.version, image.gpu_image],
            "boot_volume_gb": [self.boot_volume_gb, self.boot_volume_vpus],
            "network": [
                self.network.subnet, self.network.create and self.network.cidr,
                sorted(self.network.security_groups), self.network.public_ip,
            ],
            "ssh_public_keys": sorted(_without_comment(one) for one in self.ssh_keys),
            "user_data": self.user_data,
            "capacity": [self.placement.capacity, self.placement.reservation],
        }  # fmt: skip
        return {
            name: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]
            for name, value in parts.items()
        }


def _without_comment(key: str) -> str:
    return " ".join(key.split()[:2])
