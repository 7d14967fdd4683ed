"""The network of a fleet that has none: found by its tags, or made. Closed to the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gpuprep.oci.provision.identity import FLEET_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.oci.client import Json
    from gpuprep.oci.provision.calls import Cloud
    from gpuprep.oci.provision.desired import Desired

_EVERYWHERE: Final = "0.0.0.0/0"
_PART_TAG: Final = "gpuprep-part"
_TCP, _ICMP, _ALL = "6", "1", "all"


def find_or_make(cloud: Cloud, desired: Desired) -> tuple[str, str]:
    """Return the OCIDs of the fleet's subnet and network security group; make what is missing."""
    wanted = desired.network
    vcn = _part(cloud, desired, "/vcns", "vcn", {}, {"cidrBlocks": [wanted.cidr]})
    inside = {"vcnId": vcn["id"]}
    if wanted.public_ip:
        path, part, more = "/internetGateways", "gateway", {"isEnabled": True}
    else:
        path, part, more = "/natGateways", "gateway", {}
    gateway = _part(cloud, desired, path, part, inside, {**inside, **more})
    rule = {"destination": _EVERYWHERE, "destinationType": "CIDR_BLOCK",
            "networkEntityId": gateway["id"]}  # fmt: skip
    routes = _part(cloud, desired, "/routeTables", "routes", inside,
                   {**inside, "routeRules": [rule]})  # fmt: skip
    # The list that a network begins with lets ssh in from everywhere: the subnet gets its own.
    none: dict[str, Any] = {"ingressSecurityRules": [], "egressSecurityRules": []}
    closed = _part(cloud, desired, "/securityLists", "rules", inside, {**inside, **none})
    subnet = _part(
        cloud, desired, "/subnets", "subnet", inside,
        {**inside, "cidrBlock": wanted.cidr, "routeTableId": routes["id"],
         "securityListIds": [closed["id"]], "prohibitPublicIpOnVnic": not wanted.public_ip},
    )  # fmt: skip
    group = _part(cloud, desired, "/networkSecurityGroups", "hosts", inside, inside)
    there = [_essence(one) for one in cloud.rules(group["id"])]
    missing = [one for one in rules(group["id"], wanted.ssh_from) if _essence(one) not in there]
    if missing:
        cloud.add_rules(group["id"], missing)
    return subnet["id"], group["id"]


def find(cloud: Cloud, desired: Desired) -> str | None:
    """Return the OCID of the fleet's subnet; None = it would be made."""
    vcn = cloud.find("/vcns", {"displayName": desired.fleet}, _tags(desired, "vcn"))
    if vcn is None:
        return None
    params = {"vcnId": vcn["id"], "displayName": desired.fleet}
    subnet = cloud.find("/subnets", params, _tags(desired, "subnet"))
    return subnet["id"] if subnet else None


def rules(group: str, ssh_from: Iterable[str]) -> list[Json]:
    """Return the rules of a fleet's hosts: out to everywhere, in from each other, ssh from some."""
    among = {"sourceType": "NETWORK_SECURITY_GROUP", "source": group}
    found: list[Json] = [
        {"direction": "EGRESS", "protocol": _ALL, "destinationType": "CIDR_BLOCK",
         "destination": _EVERYWHERE},
        {"direction": "INGRESS", "protocol": _ALL, **among},
    ]  # fmt: skip
    for one in ssh_from:
        source = {"direction": "INGRESS", "sourceType": "CIDR_BLOCK", "source": one}
        ports = {"destinationPortRange": {"min": 22, "max": 22}}
        found.append({**source, "protocol": _TCP, "tcpOptions": ports})
        # Without it, large packets get lost on the way in silence.
        found.append({**source, "protocol": _ICMP, "icmpOptions": {"type": 3, "code": 4}})
    return found


def _part(  # noqa: PLR0913, PLR0917 - each says what is looked for or made
    cloud: Cloud, desired: Desired, path: str, part: str, params: Json, body: Json
) -> Json:
    tags = _tags(desired, part)
    named = {"displayName": desired.fleet}
    there = cloud.find(path, {**params, **named}, tags)
    if there is not None:
        return there
    whole = {"compartmentId": cloud.compartment.id, **named, **body, "freeformTags": tags}
    return cloud.make(desired.fleet, path, whole)


def _tags(desired: Desired, part: str) -> dict[str, str]:
    return {FLEET_TAG: desired.fleet, _PART_TAG: part}


def _essence(rule: Json) -> tuple[Any, ...]:
    """Return what two equal rules have in common."""
    ports = ((rule.get("tcpOptions") or {}).get("destinationPortRange")) or {}
    icmp = rule.get("icmpOptions") or {}
    return (
        rule.get("direction"), rule.get("protocol"), rule.get("source"), rule.get("destination"),
        ports.get("min"), ports.get("max"), icmp.get("type"), icmp.get("code"),
    )  # fmt: skip
