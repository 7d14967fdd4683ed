"""What the roles of one run are handed of a host's plan, and what they do for one another. Pure.

Each role carries out its own part. In a run of several, the first that installs packages takes
along those of the later ones, so that the package manager works once, and has conda's installer
fetched and unpacked meanwhile. The later roles then find it done; whatever was not done, they do.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from gpuprep.model import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuprep.fleet.tags import Tags
    from gpuprep.planner import HostPlan

_PACKAGES: Final = "packages"  # the stage, and the operation of a transaction
_INSTALL: Final = "install"
_AHEAD: Final = "ahead"


def parts(plan: HostPlan, roles: Sequence[str], tags: Tags) -> dict[str, dict[str, Any]]:
    """Return the part of each role of a plan, as its tasks carry it out.

    Args:
        plan: of a host that differs.
        roles: roles of it that run, in order.
        tags: what the run carries out: what it leaves out is not done by another role either.

    """
    found = {role: part.to_dict() for role, part in plan.roles.items()}
    installing = [role for role in roles if tags.choose(role, Phase.INSTALL)]
    first = next((role for role in installing if _transaction(found[role])), None)
    if first is None:
        return found
    later = installing[installing.index(first) + 1 :]
    transaction = _transaction(found[first])
    together = [
        package
        for role in later
        if (other := _transaction(found[role])) and _joins(other)
        for package in other["install"]
    ]
    if transaction is not None and together:
        for one in (transaction, *_copies(found[first])):
            one["together"] = together
    for role in later:
        installers = found[role]["operations"].get(_INSTALL)
        if installers and _PACKAGES not in found[role]["operations"]:
            _do_ahead(found[first], found[role], installers)
    return found


def _transaction(part: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the main transaction of a role's part, None without one; pins come in another."""
    operations = part["operations"].get(_PACKAGES, ())
    return next((one for one in operations if one["op"] == _PACKAGES and "owner" in one), None)


def _copies(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the main transaction as the one of the pins has it, for hosts where they go as one."""
    operations = part["operations"].get(_PACKAGES, ())
    return [one["rest"] for one in operations if one.get("rest")]


def _joins(transaction: Mapping[str, Any]) -> bool:
    """Return whether a transaction only adds packages: no other can remove or lock for it."""
    return not transaction["remove"] and not transaction["locked"]


def _do_ahead(first: dict[str, Any], part: Mapping[str, Any], operations: list[Any]) -> None:
    """Let a role's request be carried out beside the packages of the first.

    The same words in both make the host know its answer again; a number of its own keeps the answer
    from any other run.
    """
    operations[0] = {**operations[0], "number": secrets.token_hex(8)}
    request = {
        "role": part["role"],
        "stage": _INSTALL,
        "family": part["family"],
        "operations": operations,
    }
    first["operations"][_PACKAGES].insert(0, {"op": _AHEAD, "request": request})
