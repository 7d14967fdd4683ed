"""By what a fleet's instances are known: tags, names, retry tokens. Pure.

The tags on the instances are the only state there is. Names are for people: OCI's are not unique.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.provision.placement import Place

FLEET_TAG: Final = "gpuprep-fleet"
MEMBER_TAG: Final = "gpuprep-member"
SETTINGS_TAG: Final = "gpuprep-settings"
_MEMBER: Final = re.compile(r"\d{3}")


def member_name(fleet: str, number: int) -> str:
    """Return the name of a member: ``train-001``."""
    return f"{fleet}-{number:03d}"


def tags_of(desired: Desired, number: int) -> dict[str, str]:
    """Return the tags of a member."""
    settings = " ".join(f"{name}:{digest}" for name, digest in desired.settings().items())
    return {
        **desired.tags,
        FLEET_TAG: desired.fleet,
        MEMBER_TAG: f"{number:03d}",
        SETTINGS_TAG: settings,
    }


def number_of(tags: Mapping[str, Any], fleet: str) -> int | None:
    """Return which member of a fleet an instance is; None = it is none of ours."""
    member = tags.get(MEMBER_TAG)
    if tags.get(FLEET_TAG) != fleet or not isinstance(member, str) or not _MEMBER.fullmatch(member):
        return None
    return int(member) or None


def differing_settings(desired: Desired, tags: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings that are not what an instance was launched with.

    A setting that the tag does not tell, or a tag that is gone, is no difference: nothing shows it.
    """
    said = dict(
        part.split(":", 1) for part in str(tags.get(SETTINGS_TAG, "")).split() if ":" in part
    )
    return tuple(
        name for name, digest in desired.settings().items() if said.get(name, digest) != digest
    )


def launch_token(
    fleet: str, number: int, generation: int, place: Place, body: Mapping[str, Any]
) -> str:
    """Return the retry token of a launch: the same for whoever wants the same instance.

    64 signs, OCI's limit. The place is in it because OCI keeps a token for one instance, and the
    generation because the token of an instance that is gone is refused for a day.
    """
    digest = _digest(body)
    return _digest([fleet, number, generation, place.domain, place.fault_domain, digest])


def resource_token(fleet: str, kind: str, body: Mapping[str, Any], attempt: int = 0) -> str:
    """Return the retry token of a part of the network, or of a compute cluster."""
    return _digest([fleet, kind, attempt, _digest(body)])


def _digest(value: Any) -> str:  # noqa: ANN401 - JSON
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
