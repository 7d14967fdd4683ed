"""Whether a body is one that the API reads: known fields, right kinds, nothing missing.

The SDK's own models say which fields there are and of what kind; what must be there is said here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import oci.core.models

from sandbox.oci.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEEDED: Final[Mapping[str, str]] = {
    "AddNetworkSecurityGroupSecurityRulesDetails": "securityRules",
    "AddSecurityRuleDetails": "direction protocol",
    "CaptureConsoleHistoryDetails": "instanceId",
    "CreateCapacityReportShapeAvailabilityDetails": "instanceShape",
    "CreateComputeCapacityReportDetails": "compartmentId availabilityDomain shapeAvailabilities",
    "CreateComputeClusterDetails": "compartmentId availabilityDomain",
    "CreateInternetGatewayDetails": "compartmentId isEnabled vcnId",
    "CreateNatGatewayDetails": "compartmentId vcnId",
    "CreateNetworkSecurityGroupDetails": "compartmentId vcnId",
    "CreateRouteTableDetails": "compartmentId routeRules vcnId",
    "CreateSecurityListDetails": ("compartmentId egressSecurityRules ingressSecurityRules vcnId"),
    "CreateSubnetDetails": "compartmentId vcnId cidrBlock",
    "CreateVcnDetails": "compartmentId",
    "InstanceAgentPluginConfigDetails": "name desiredState",
    "LaunchInstanceDetails": "availabilityDomain compartmentId shape",
    "PreemptibleInstanceConfigDetails": "preemptionAction",
    "RouteRule": "networkEntityId",
}
# Models that a field tells apart.
_SUBTYPES: Final = {
    "InstanceSourceDetails": ("sourceType", {"image": "InstanceSourceViaImageDetails",
                                             "bootVolume": "InstanceSourceViaBootVolumeDetails"}),
    "PreemptionAction": ("type", {"TERMINATE": "TerminatePreemptionAction"}),
}  # fmt: skip
_PLAIN: Final[Mapping[str, Any]] = {
    "str": str, "bool": bool, "int": int, "float": (int, float), "object": object,
}  # fmt: skip
_LIST: Final = re.compile(r"list\[(.+)\]")
_DICT: Final = re.compile(r"dict\(str, (.+)\)")


def parsed(content: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; an absent body is an empty one.

    Raises:
        RefusedError: it is no JSON object.

    """
    if not content:
        return {}
    try:
        found = json.loads(content)
    except ValueError:
        raise _unreadable("the body is no JSON") from None
    if not isinstance(found, dict):
        raise _unreadable("the body is no JSON object")
    return found


def check(body: Mapping[str, Any], model: str, where: str = "") -> None:
    """Hold a body against a model of the SDK.

    Raises:
        RefusedError: a field is unknown, of another kind, or missing; says which.

    """
    if model in _SUBTYPES:
        tag, kinds = _SUBTYPES[model]
        if body.get(tag) not in kinds:
            text = f"{where}{tag}: {body.get(tag)!r} is none of {', '.join(kinds)}"
            raise RefusedError(400, text)
        model = kinds[body[tag]]
    one = getattr(oci.core.models, model)()
    kinds_of = {one.attribute_map[name]: kind for name, kind in one.swagger_types.items()}
    for name in _NEEDED.get(model, "").split():
        if body.get(name) is None:
            raise RefusedError(400, f"{where}{name} is required", "MissingParameter")
    for name, value in body.items():
        if name not in kinds_of:
            raise _unreadable(f"{where}{name}: unrecognized field")
        if value is not None:
            _check_kind(value, kinds_of[name], f"{where}{name}")


def _check_kind(value: Any, kind: str, where: str) -> None:  # noqa: ANN401 - JSON
    if kind in _PLAIN:
        wrong = not isinstance(value, _PLAIN[kind])
        if wrong or (kind in {"int", "float"} and isinstance(value, bool)):
            raise _unreadable(f"{where}: {value!r} is no {kind}")
    elif listed := _LIST.fullmatch(kind):
        if not isinstance(value, list):
            raise _unreadable(f"{where}: is no list")
        for at, item in enumerate(value):
            _check_kind(item, listed[1], f"{where}[{at}]")
    elif not isinstance(value, dict):
        raise _unreadable(f"{where}: is no object")
    elif mapping := _DICT.fullmatch(kind):
        for key, item in value.items():
            _check_kind(item, mapping[1], f"{where}.{key}")
    else:
        check(value, kind, f"{where}.")


def _unreadable(text: str) -> RefusedError:
    return RefusedError(400, text, "CannotParseRequest")
