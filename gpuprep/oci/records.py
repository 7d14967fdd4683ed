"""What OCI tells, cut down to what the inventory uses.

``metadata``, ``extendedMetadata`` and ``user_data`` may hold secrets: they are dropped here and
reach neither host variables nor cache files.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]


def address(value: Any) -> str | None:  # noqa: ANN401 - from the cloud
    """Return an IP address by which another machine can be reached; None for anything else."""
    try:
        found = ipaddress.ip_address(str(value))
    except ValueError:
        return None
    return None if is_own(found) else str(value)


def is_own(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address means the machine that connects to it."""
    inner = getattr(found, "ipv4_mapped", None) or found
    return inner.is_loopback or inner.is_unspecified


# As the official collection spells them.
_SHAPE_CONFIG: Final = {
    "ocpus": "ocpus",
    "memory_in_gbs": "memoryInGBs",
    "networking_bandwidth_in_gbps": "networkingBandwidthInGbps",
}


@dataclass(frozen=True, slots=True)
class Compartment:
    """A compartment; name and path are None when only the OCID is known."""

    id: str
    name: str | None = None
    path: str | None = None

    @property
    def words(self) -> str:
        """For messages: path and OCID."""
        return f"compartment {self.path} ({self.id})" if self.path else f"compartment {self.id}"

    @property
    def where(self) -> str:
        """As the end of a policy statement: ``in tenancy``, ``in compartment a:b``."""
        if self.path == "/":
            return "in tenancy"
        return f"in compartment {self.path[1:].replace('/', ':') if self.path else 'id ' + self.id}"


@dataclass(frozen=True, slots=True)
class Instance:
    """A compute instance."""

    id: str
    name: str
    shape: str
    state: str
    compartment: Compartment
    region: str
    availability_domain: str
    fault_domain: str | None
    image_id: str | None
    time_created: str | None
    capacity_reservation_id: str | None
    instance_configuration_id: str | None
    shape_config: Mapping[str, float]
    gpus: int
    gpu_description: str | None
    freeform_tags: Mapping[str, str]
    defined_tags: Mapping[str, Mapping[str, Any]]
    agent_plugins: tuple[str, ...]

    @classmethod
    def from_json(cls, raw: Json, region: str, compartment: Compartment) -> Instance:
        """Read an item of ListInstances."""
        shape_config = raw.get("shapeConfig") or {}
        agent = raw.get("agentConfig") or {}
        plugins = agent.get("pluginsConfig") or ()
        return cls(
            id=raw["id"],
            name=raw.get("displayName") or raw["id"],
            shape=raw.get("shape") or "",
            state=raw.get("lifecycleState") or "",
            compartment=compartment,
            region=region,
            availability_domain=raw.get("availabilityDomain") or "",
            fault_domain=raw.get("faultDomain"),
            image_id=raw.get("imageId") or (raw.get("sourceDetails") or {}).get("imageId"),
            time_created=raw.get("timeCreated"),
            capacity_reservation_id=raw.get("capacityReservationId"),
            instance_configuration_id=raw.get("instanceConfigurationId"),
            shape_config={
                ours: shape_config[theirs]
                for ours, theirs in _SHAPE_CONFIG.items()
                if shape_config.get(theirs) is not None
            },
            gpus=int(shape_config.get("gpus") or 0),
            gpu_description=shape_config.get("gpuDescription"),
            freeform_tags=raw.get("freeformTags") or {},
            defined_tags={
                space: tags or {} for space, tags in (raw.get("definedTags") or {}).items()
            },
            agent_plugins=tuple(
                one["name"] for one in plugins if one.get("desiredState") == "ENABLED"
            ),
        )


@dataclass(frozen=True, slots=True)
class Addresses:
    """How a host can be reached by its primary VNIC; None or empty = has none, or not asked."""

    vnic_id: str
    subnet_id: str
    private_ip: str | None = None
    private_ip_id: str | None = None
    public_ip: str | None = None
    ipv6: tuple[str, ...] = ()
    hostname_label: str | None = None
    domain: str | None = None

    @classmethod
    def from_vnic(cls, raw: Json) -> Addresses:
        """Read the answer of GetVnic, which tells all but the domain."""
        return cls(
            vnic_id=raw["id"],
            subnet_id=raw.get("subnetId") or "",
            private_ip=address(raw.get("privateIp")),
            public_ip=address(raw.get("publicIp")),
            ipv6=tuple(one for one in raw.get("ipv6Addresses") or () if address(one)),
            hostname_label=raw.get("hostnameLabel"),
        )

    def get(self, kind: str) -> str | None:
        """Return ``private_ip``, ``public_ip``, ``ipv6``, ``hostname_label`` or ``fqdn``."""
        if kind == "ipv6":
            return self.ipv6[0] if self.ipv6 else None
        if kind == "fqdn":
            both = self.hostname_label and self.domain
            return f"{self.hostname_label}.{self.domain}" if both else None
        value: str | None = getattr(self, kind)
        return value


@dataclass(frozen=True, slots=True)
class Image:
    """The image a host was made of."""

    id: str
    name: str
    os: str
    version: str

    @classmethod
    def from_json(cls, raw: Json) -> Image:
        """Read the answer of GetImage."""
        return cls(
            raw["id"],
            raw.get("displayName") or "",
            raw.get("operatingSystem") or "",
            raw.get("operatingSystemVersion") or "",
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """The group of hosts that were made to work together."""

    kind: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Host:
    """A host as Ansible gets it; ``id`` is its OCID."""

    name: str
    id: str
    groups: tuple[str, ...]
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is missing from the inventory.

    Attributes:
        text: the request that failed and what was answered, or what is odd about a host.
        hosts: OCIDs of the hosts that lack something; None = hosts nobody knows of may be missing.
        lasting: it is the state of the cloud, not a request that failed.

    """

    text: str
    hosts: frozenset[str] | None = None
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The inventory.

    Attributes:
        hosts: in order of their names.
        group_parents: groups whose parents hold all of their hosts: shape -> GPU model, ...
        summary: how many instances were seen, and why some are no hosts.
        warnings: what the user should know.
        gaps: what is missing.
        policies: statements that would have allowed what was refused.
        requests: how many were sent; None when it came from a cache.

    """

    hosts: tuple[Host, ...]
    group_parents: Mapping[str, tuple[str, ...]]
    summary: str = ""
    warnings: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    policies: tuple[str, ...] = ()
    requests: int | None = field(default=None, compare=False)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.gaps

    def to_dict(self) -> Json:
        """Return plain JSON types, for a cache."""
        return {
            "hosts": [
                [one.name, one.id, list(one.groups), dict(one.variables)] for one in self.hosts
            ],
            "group_parents": {key: list(value) for key, value in self.group_parents.items()},
            "warnings": list(self.warnings),
            "gaps": [[one.text, sorted(one.hosts or ())] for one in self.gaps if one.lasting],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Listing:
        """Read what ``to_dict`` gave."""
        return cls(
            hosts=tuple(
                Host(name, ocid, tuple(groups), variables)
                for name, ocid, groups, variables in data["hosts"]
            ),
            group_parents={key: tuple(value) for key, value in data["group_parents"].items()},
            warnings=tuple(data["warnings"]),
            gaps=tuple(Gap(text, frozenset(hosts), lasting=True) for text, hosts in data["gaps"]),
        )
