"""A tenancy as data: the resources, in the JSON of OCI's REST API, and ways to build one.

Field names follow the models of the SDK; a test compares them.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Json = dict[str, Any]

TENANCY: Final = "ocid1.tenancy.oc1..sandbox"
REGION: Final = "us-ashburn-1"
CREATED: Final = "2026-01-01T00:00:00.000Z"
_NETWORK_COMPARTMENT: Final = "network"
_TITLES: Final = {"ol": "Oracle Linux", "rocky": "Rocky Linux"}


@dataclass(slots=True)
class Tenancy:
    """All resources of a tenancy, by kind; ``vnics`` and the like are keyed by OCID."""

    ocid: str = TENANCY
    regions: tuple[str, ...] = (REGION,)
    compartments: list[Json] = field(default_factory=list)
    instances: dict[str, Json] = field(default_factory=dict)
    attachments: list[Json] = field(default_factory=list)
    vnics: dict[str, Json] = field(default_factory=dict)
    private_ips: list[Json] = field(default_factory=list)
    public_ips: list[Json] = field(default_factory=list)
    ipv6s: list[Json] = field(default_factory=list)
    subnets: dict[str, Json] = field(default_factory=dict)
    vcns: dict[str, Json] = field(default_factory=dict)
    images: dict[str, Json] = field(default_factory=dict)
    pools: list[Json] = field(default_factory=list)
    cluster_networks: list[Json] = field(default_factory=list)
    compute_clusters: list[Json] = field(default_factory=list)
    memory_clusters: list[Json] = field(default_factory=list)
    members: dict[str, list[str]] = field(default_factory=dict)  # cluster -> instances
    region_of: dict[str, str] = field(default_factory=dict)  # resource -> region, if not home
    internet_gateways: dict[str, Json] = field(default_factory=dict)
    nat_gateways: dict[str, Json] = field(default_factory=dict)
    route_tables: dict[str, Json] = field(default_factory=dict)
    security_lists: dict[str, Json] = field(default_factory=dict)
    security_groups: dict[str, Json] = field(default_factory=dict)
    security_rules: dict[str, list[Json]] = field(default_factory=dict)  # by group
    work_requests: dict[str, Json] = field(default_factory=dict)
    work_errors: dict[str, list[Json]] = field(default_factory=dict)
    histories: dict[str, Json] = field(default_factory=dict)  # console histories and their text
    host_keys: dict[str, str] = field(default_factory=dict)  # instance -> public keys, by line
    pending: list[Json] = field(default_factory=list)  # what becomes of instances, and when
    retry_tokens: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    # What there is room for. Free hosts by "SHAPE/DOMAIN/FAULT-DOMAIN" or "SHAPE"; GPUs that limits
    # allow by "LIMIT/DOMAIN" or "LIMIT"; those of quotas by "COMPARTMENT/LIMIT"; domains that lack
    # a shape; capacity reservations and their domain; what the next launches fail of, afterwards.
    capacity: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    quotas: dict[str, int] = field(default_factory=dict)
    without_shape: dict[str, list[str]] = field(default_factory=dict)
    reservations: dict[str, str] = field(default_factory=dict)
    doomed: list[tuple[str, str]] = field(default_factory=list)
    domain_count: int = 3
    fault_domains: list[str] = field(
        default_factory=lambda: [f"FAULT-DOMAIN-{number}" for number in (1, 2, 3)]
    )
    serial: int = 0

    # --- places and time -----------------------------------------------------------------------

    def domains(self, region: str | None = None) -> list[str]:
        """Return the names of a region's availability domains."""
        where = (region or self.regions[0]).upper().removesuffix("-1")
        return [f"SdBx:{where}-AD-{number}" for number in range(1, self.domain_count + 1)]

    def is_in(self, one: Json, region: str) -> bool:
        """Return whether a resource is in a region."""
        return self.region_of.get(one["id"], self.regions[0]) == region

    @staticmethod
    def now() -> float:
        """Return the time, in seconds."""
        return time.time()

    @staticmethod
    def stamp() -> str:
        """Return the time as OCI writes it."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # --- building ------------------------------------------------------------------------------

    def new_id(self, kind: str) -> str:
        """Return an OCID of the usual form and length."""
        self.serial += 1
        return f"ocid1.{kind}.oc1.iad.{self.serial:060d}"

    def compartment(self, name: str, parent: str | None = None) -> str:
        """Add a compartment; gives its OCID."""
        self.serial += 1
        ocid = f"ocid1.compartment.oc1..{name}{self.serial:052d}"
        self.compartments.append(
            {
                "id": ocid,
                "compartmentId": parent or self.ocid,
                "name": name,
                "description": name,
                "timeCreated": CREATED,
                "lifecycleState": "ACTIVE",
                "freeformTags": {},
                "definedTags": {},
            }
        )
        return ocid

    def subnet(
        self,
        compartment: str,
        name: str,
        *,
        private: bool = True,
        region: str | None = None,
        block: str | None = None,
    ) -> str:
        """Add a subnet, in a VCN of its own; gives its OCID."""
        vcn, ocid = self.new_id("vcn"), self.new_id("subnet")
        number = len(self.subnets)
        block = block or f"10.{number}.0.0/16"
        common = {"compartmentId": compartment, "lifecycleState": "AVAILABLE", **_created()}
        self.vcns[vcn] = {
            "id": vcn,
            "displayName": f"vcn-{name}",
            "dnsLabel": f"vcn{number}",
            "vcnDomainName": f"vcn{number}.oraclevcn.com",
            "cidrBlock": block,
            "cidrBlocks": [block],
            **common,
        }
        self.subnets[ocid] = {
            "id": ocid,
            "vcnId": vcn,
            "displayName": name,
            "dnsLabel": f"sub{number}",
            "subnetDomainName": f"sub{number}.vcn{number}.oraclevcn.com",
            "cidrBlock": block,
            "prohibitPublicIpOnVnic": private,
            **common,
        }
        if region:
            self.region_of[vcn] = self.region_of[ocid] = region
        return ocid

    def image(self, name: str, os: str, version: str, created: str = CREATED) -> str:
        """Add an image of the platform; gives its OCID."""
        ocid = self.new_id("image")
        self.images[ocid] = {
            "id": ocid,
            "compartmentId": None,
            "displayName": name,
            "operatingSystem": os,
            "operatingSystemVersion": version,
            "lifecycleState": "AVAILABLE",
            "createImageAllowed": True,
            "sizeInMBs": 47694,
            **_created(),
            "timeCreated": created,
        }
        return ocid

    def instance(  # noqa: PLR0913 - a resource has that many properties
        self,
        name: str,
        shape: str,
        compartment: str,
        *,
        gpus: int = 0,
        gpu_description: str | None = None,
        image: str | None = None,
        state: str = "RUNNING",
        domain: int = 1,
        freeform_tags: Mapping[str, str] | None = None,
        defined_tags: Mapping[str, Mapping[str, str]] | None = None,
        region: str | None = None,
    ) -> str:
        """Add an instance without a VNIC; gives its OCID."""
        ocid = self.new_id("instance")
        where = region or self.regions[0]
        self.instances[ocid] = {
            "id": ocid,
            "displayName": name,
            "shape": shape,
            "compartmentId": compartment,
            "availabilityDomain": f"SdBx:{where.upper().removesuffix('-1')}-AD-{domain}",
            "faultDomain": f"FAULT-DOMAIN-{domain}",
            "lifecycleState": state,
            "region": {"us-ashburn-1": "iad", "us-phoenix-1": "phx"}.get(where, where),  # as OCI
            "imageId": image,
            "sourceDetails": {"sourceType": "image", "imageId": image},
            "shapeConfig": {
                "gpus": gpus,
                "gpuDescription": gpu_description,
                "ocpus": 8.0,
                "memoryInGBs": 128.0,
                "networkingBandwidthInGbps": 50.0,
            },
            "launchMode": "NATIVE",
            "metadata": {
                "ssh_authorized_keys": "ssh-ed25519 AAAA sandbox",
                "user_data": "I2Nsb3Vk",
            },
            "extendedMetadata": {},
            "agentConfig": {"isMonitoringDisabled": False, "pluginsConfig": []},
            "freeformTags": dict(freeform_tags or {}),
            "definedTags": {key: dict(tags) for key, tags in (defined_tags or {}).items()},
            "timeCreated": CREATED,
        }
        if region:
            self.region_of[ocid] = region
        return ocid

    def vnic(  # noqa: PLR0913 - a resource has that many properties
        self,
        instance: str,
        subnet: str | None,
        address: str | None,
        *,
        primary: bool = True,
        state: str = "ATTACHED",
        public_ip: str | None = None,
        ipv6: Sequence[str] = (),
        vlan: str | None = None,
        nic_index: int = 0,
    ) -> str:
        """Attach a VNIC with its addresses; gives its OCID."""
        host = self.instances[instance]
        ocid, label = self.new_id("vnic"), _label(host["displayName"])
        compartment, where = host["compartmentId"], self.region_of.get(instance)
        domain = host["availabilityDomain"]
        common = {"compartmentId": compartment, "subnetId": subnet, **_created()}
        self.attachments.append(
            {
                "id": self.new_id("vnicattachment"),
                "instanceId": instance,
                "vnicId": ocid,
                "vlanId": vlan,
                "availabilityDomain": domain,
                "nicIndex": nic_index,
                "lifecycleState": state,
                "compartmentId": compartment,
                "subnetId": subnet,
                "timeCreated": CREATED,
            }
        )
        self.vnics[ocid] = {
            "id": ocid,
            "availabilityDomain": domain,
            "displayName": label,
            "hostnameLabel": label,
            "isPrimary": primary,
            "lifecycleState": "AVAILABLE",
            "privateIp": address,
            "publicIp": public_ip,
            "ipv6Addresses": list(ipv6),
            "vlanId": vlan,
            "macAddress": "02:00:17:00:00:01",
            "nsgIds": [],
            **common,
        }
        if address and subnet:
            self._private_ip(ocid, address, label, domain, public_ip, common)
        for one in ipv6 if subnet else ():
            row = {"id": self.new_id("ipv6"), "ipAddress": one, "vnicId": ocid, **common}
            self.ipv6s.append({**row, "lifecycleState": "AVAILABLE"})
        for owned in (self.attachments[-1]["id"], ocid):
            if where:
                self.region_of[owned] = where
        return ocid

    def detach(self, instance: str) -> None:
        """Take an instance's VNICs and their addresses away."""
        mine = {one["vnicId"] for one in self.attachments if one["instanceId"] == instance}
        gone = {one["id"] for one in self.private_ips if one["vnicId"] in mine}
        for rows, key, dead in (
            (self.attachments, "vnicId", mine),
            (self.private_ips, "vnicId", mine),
            (self.ipv6s, "vnicId", mine),
            (self.public_ips, "privateIpId", gone),
        ):
            rows[:] = [one for one in rows if one[key] not in dead]
        for ocid in mine:
            self.vnics.pop(ocid, None)
        for members in self.members.values():
            if instance in members:
                members.remove(instance)

    # --- keeping -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tenancy:
        """Return the tenancy that was kept."""
        known = {one.name for one in fields(cls)}
        given = {key: value for key, value in data.items() if key in known}
        given["regions"] = tuple(given.get("regions", (REGION,)))
        return cls(**given)

    def _private_ip(  # noqa: PLR0913, PLR0917 - the parts of two resources
        self,
        vnic: str,
        address: str,
        label: str,
        domain: str,
        public_ip: str | None,
        common: Json,
    ) -> None:
        ocid = self.new_id("privateip")
        self.private_ips.append(
            {
                "id": ocid,
                "ipAddress": address,
                "isPrimary": True,
                "vnicId": vnic,
                "hostnameLabel": label,
                "displayName": label,
                "availabilityDomain": domain,
                **common,
            }
        )
        if public_ip:
            self.public_ips.append(
                {
                    "id": self.new_id("publicip"),
                    "ipAddress": public_ip,
                    "privateIpId": ocid,
                    "assignedEntityId": ocid,
                    "assignedEntityType": "PRIVATE_IP",
                    "scope": "AVAILABILITY_DOMAIN",
                    "lifetime": "EPHEMERAL",
                    "availabilityDomain": domain,
                    "lifecycleState": "ASSIGNED",
                    "compartmentId": common["compartmentId"],
                    "timeCreated": CREATED,
                }
            )

    def cluster(self, kind: str, name: str, compartment: str, instances: Iterable[str]) -> str:
        """Add a cluster; kind is ``pools``, ``cluster_networks``, ... as the fields are named."""
        ocid = self.new_id(kind.rstrip("s").replace("_", ""))
        row = {"id": ocid, "displayName": name, "compartmentId": compartment, **_created()}
        getattr(self, kind).append({**row, "lifecycleState": "RUNNING"})
        self.members[ocid] = list(instances)
        return ocid


def for_launches(block: str | None = None) -> Tenancy:
    """Build a tenancy in which fleets can be launched: compartment, subnet, platform images.

    Args:
        block: addresses of the subnet ``hosts``.

    """
    tenancy = Tenancy()
    place = tenancy.compartment("gpu")
    tenancy.subnet(place, "hosts", block=block)
    for date in ("2026.05.30", "2026.08.14"):
        when = f"{date.replace('.', '-')}T00:00:00.000Z"
        for machine in ("", "aarch64-"):
            for release in ("22.04", "24.04"):
                tenancy.image(
                    f"Canonical-Ubuntu-{release}-{machine}{date}-0", "Canonical Ubuntu", release,
                    when,
                )  # fmt: skip
            for release, full in (("8", "8.10"), ("9", "9.8"), ("10", "10.2")):
                tenancy.image(
                    f"Oracle-Linux-{full}-{machine}{date}-0", "Oracle Linux", release, when
                )
            for release in ("12", "13"):
                tenancy.image(f"Debian-{release}-{machine}{date}-0", "Debian", release, when)
        tenancy.image(f"Oracle-Linux-9.8-Gen2-GPU-{date}-0", "Oracle Linux", "9", when)
    return tenancy


def fleet(count: int, shape: str, gpus: int, *, compartments: int = 2, subnets: int = 2) -> Tenancy:
    """Build a tenancy with so many equal hosts, dealt out to compartments and subnets."""
    tenancy = Tenancy()
    places = [tenancy.compartment(f"team{number}") for number in range(compartments)]
    nets = [tenancy.subnet(places[n % compartments], f"net{n}") for n in range(subnets)]
    image = tenancy.image("Oracle-Linux-9.6-Gen2-GPU-2026.02.28-0", "Oracle Linux", "9")
    for number in range(count):
        ocid = tenancy.instance(
            f"gpu-{number:05d}",
            shape,
            places[number % compartments],
            gpus=gpus,
            image=image,
            domain=number % 3 + 1,
            freeform_tags={"role": "train"},
        )
        spot = number + 2  # OCI keeps the first two addresses of a subnet
        address = f"10.{spot >> 16}.{spot >> 8 & 255}.{spot & 255}"
        tenancy.vnic(ocid, nets[number % subnets], address)
    return tenancy


def of_hosts(hosts: Iterable[Mapping[str, Any]], gpus: Mapping[str, int]) -> Tenancy:
    """Present running hosts as instances: their names, addresses, shapes and systems.

    Args:
        hosts: mappings with name, address, shape, os (``debian-12``) and, if wanted, tags.
        gpus: GPUs by shape.

    """
    tenancy = Tenancy()
    place = tenancy.compartment("sandbox")
    net = tenancy.subnet(tenancy.compartment(_NETWORK_COMPARTMENT), "hosts")
    images: dict[str, str] = {}
    for host in hosts:
        system, _, version = str(host.get("os") or "debian-12").partition("-")
        title = _TITLES.get(system, system.capitalize())
        name = f"{title.replace(' ', '-')}-{version}"
        if name not in images:
            images[name] = tenancy.image(name, title, version)
        shape = str(host["shape"])
        ocid = tenancy.instance(
            str(host["name"]),
            shape,
            place,
            gpus=gpus.get(shape, 0),
            image=images[name],
            freeform_tags=host.get("tags"),
        )
        tenancy.vnic(ocid, net, str(host["address"]))
    return tenancy


def _label(name: str) -> str:
    """Make a host label of a display name, as far as DNS allows."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:63].strip("-") or "host"


def _created() -> Json:
    return {"timeCreated": CREATED, "freeformTags": {}, "definedTags": {}}
