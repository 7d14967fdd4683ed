"""Whether an answer has the form that its reader counts on. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT: Final = (
    "availabilityDomain", "assignedEntityId", "capacityReservationId", "compartmentId",
    "desiredState", "displayName", "faultDomain", "gpuDescription", "hostnameLabel", "id",
    "imageId", "instanceConfigurationId", "instanceId", "ipAddress", "lifecycleState", "name",
    "operatingSystem", "operatingSystemVersion", "privateIp", "privateIpId", "publicIp",
    "message", "regionName", "shape", "status", "subnetDomainName", "subnetId", "timeCreated",
    "vcnId", "vnicId",
)  # fmt: skip
_NUMBERS: Final = (
    "available",
    "availableCount",
    "gpus",
    "memoryInGBs",
    "networkingBandwidthInGbps",
    "nicIndex",
    "ocpus",
)
_MAPPINGS: Final = ("agentConfig", "definedTags", "freeformTags", "shapeConfig", "sourceDetails")
_LISTS: Final = ("ipv6Addresses", "pluginsConfig", "quotaNames", "shapeAvailabilities")
_KINDS: Final[Mapping[str, type[Any] | tuple[type[Any], ...]]] = MappingProxyType(
    {
        **dict.fromkeys(_TEXT, str),
        **dict.fromkeys(_NUMBERS, (int, float)),
        **dict.fromkeys(_MAPPINGS, dict),
        **dict.fromkeys(_LISTS, list),
        "isPrimary": bool,
    }
)
# What a reader cannot do without, by the last word of the path that is no OCID.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "compartments": ("id", "compartmentId", "name"),
        "regionSubscriptions": ("regionName",),
        "vnicAttachments": ("instanceId",),
        "privateIps": ("id", "ipAddress"),
        "ipv6": ("ipAddress",),
        "publicIps": ("ipAddress",),
        "subnets": (),
        "shapes": ("shape",),
        "availabilityDomains": ("name",),
        "faultDomains": ("name",),
        "resourceAvailability": (),
        "computeCapacityReports": ("shapeAvailabilities",),
        "errors": (),
        "securityRules": ("direction",),
        "addSecurityRules": (),
    }
)


def wrong_with(row: Any, path: str) -> str | None:  # noqa: ANN401 - JSON
    """Return what is wrong with an object that a request for ``path`` gave; None if nothing is."""
    if not isinstance(row, dict):
        return f"expected JSON objects, got {type(row).__name__}"
    kind = next(part for part in reversed(path.split("/")) if not part.startswith("ocid1."))
    missing = [name for name in _NEEDED.get(kind, ("id",)) if not row.get(name)]
    return f"{missing[0]} is missing" if missing else _wrong_inside(row)


def _wrong_inside(row: Mapping[str, Any]) -> str | None:
    for name, value in row.items():
        if value is None or name not in _KINDS:
            continue
        if not isinstance(value, _KINDS[name]):
            return f"{name} is {type(value).__name__}"
        inner = _wrong_part(name, value)
        if inner:
            return inner
    return None


def _wrong_part(name: str, value: Any) -> str | None:  # noqa: ANN401 - JSON
    """Look into the parts that are read; metadata and the rest are not."""
    if name in {"shapeConfig", "agentConfig", "sourceDetails"}:
        return _wrong_inside(value)
    if name == "pluginsConfig":
        plain = all(isinstance(one, dict) and one.get("name") for one in value)
        return next(filter(None, map(_wrong_inside, value)), None) if plain else f"{name} is odd"
    if name == "definedTags":
        spaces = [tags for tags in value.values() if tags is not None]
        plain = all(isinstance(tags, dict) for tags in spaces) and not any(
            isinstance(one, dict | list) for tags in spaces for one in tags.values()
        )
    elif name == "freeformTags":
        plain = all(isinstance(tag, str) or tag is None for tag in value.values())
    else:
        kind: Any = {"ipv6Addresses": str, "quotaNames": str, "shapeAvailabilities": dict}.get(name)
        plain = kind is None or all(isinstance(one, kind) for one in value)
    return None if plain else f"{name} is odd"
