"""From a desired fleet and the instances that are there to what is to be done. Pure.

Nothing is ever replaced: a setting that differs on a living instance is told, and that is all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gpuprep import codes
from gpuprep.oci.provision.desired import FleetState
from gpuprep.oci.provision.identity import (
    FLEET_TAG,
    MEMBER_TAG,
    differing_settings,
    member_name,
    number_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuprep.model import Message, Refusal
    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.records import Instance

GONE: Final = frozenset({"TERMINATING", "TERMINATED"})
_OFF: Final = frozenset({"STOPPED", "STOPPING"})


class Action(StrEnum):
    """What is to be done about a member."""

    KEEP = "keep"
    LAUNCH = "launch"
    START = "start"
    STOP = "stop"
    TERMINATE = "terminate"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """What is to be done about one member.

    Attributes:
        number: 1 to 999.
        name: ``train-001``.
        action: what is to be done.
        instance: the one that is there; None = there is none.
        generation: how many instances it had that are gone.
        differing: settings that differ from those it was launched with.
        refusal: why nothing is done.

    """

    number: int
    name: str
    action: Action
    instance: Instance | None = None
    generation: int = 0
    differing: tuple[str, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a fleet, member by member."""

    members: tuple[MemberPlan, ...]
    warnings: tuple[Message, ...] = ()

    def having(self, action: Action) -> tuple[MemberPlan, ...]:
        """Return the members that something is to be done about."""
        return tuple(one for one in self.members if one.action is action)


def plan(desired: Desired, instances: Iterable[Instance]) -> Plan:
    """Plan a fleet.

    Args:
        desired: the fleet as it should be.
        instances: all of its compartment, whoever made them and in whatever state.

    """
    living: dict[int, list[Instance]] = defaultdict(list)
    gone: dict[int, int] = defaultdict(int)
    odd: list[Instance] = []
    for one in instances:
        number = number_of(one.freeform_tags, desired.fleet)
        if number is None:
            if one.freeform_tags.get(FLEET_TAG) == desired.fleet and one.state not in GONE:
                odd.append(one)
        elif one.state in GONE:
            gone[number] += 1
        else:
            living[number].append(one)
    warnings = [
        codes.warning("W_OCI_TAG", instance=one.name, tag=MEMBER_TAG, fleet=desired.fleet)
        for one in odd
    ]
    if desired.state in {FleetState.ABSENT, FleetState.STOPPED}:
        return Plan(tuple(_put_away(desired, living)), tuple(warnings))
    members = [
        _wanted(desired, number, living.get(number, ()), gone[number]) for number in desired.numbers
    ]
    surplus = sorted(number for number in living if number > desired.count)
    if desired.prune:
        for number in surplus:
            members += [_doing(Action.TERMINATE, desired, number, one) for one in living[number]]
    elif surplus and not desired.members:
        names = ", ".join(member_name(desired.fleet, one) for one in surplus)
        warnings.append(codes.warning("W_OCI_SURPLUS", names=names, count=desired.count))
    warnings += [
        codes.warning("W_OCI_DIFFERS", member=one.name, settings=", ".join(one.differing))
        for one in members
        if one.differing
    ]
    return Plan(tuple(members), tuple(warnings))


def winner(holders: Sequence[Instance]) -> Instance:
    """Return which of several instances of one member stays: the one that was there first.

    Every controller finds the same one, so two that launched at once do not both give way.
    """
    return min(holders, key=lambda one: (one.time_created or "", one.id))


def holders(desired: Desired, instances: Iterable[Instance]) -> dict[int, list[Instance]]:
    """Return the living instances of a fleet by member."""
    found: dict[int, list[Instance]] = defaultdict(list)
    for one in instances:
        number = number_of(one.freeform_tags, desired.fleet)
        if number is not None and one.state not in GONE:
            found[number].append(one)
    return found


def generations(desired: Desired, instances: Iterable[Instance]) -> dict[int, int]:
    """Return how many instances of each member are gone."""
    found: dict[int, int] = defaultdict(int)
    for one in instances:
        number = number_of(one.freeform_tags, desired.fleet)
        if number is not None and one.state in GONE:
            found[number] += 1
    return found


def _wanted(
    desired: Desired, number: int, there: Sequence[Instance], generation: int
) -> MemberPlan:
    name = member_name(desired.fleet, number)
    if len(there) > 1:
        ids = ", ".join(sorted(one.id for one in there))
        refusal = codes.refusal("E_OCI_TWINS", member=name, ids=ids)
        return MemberPlan(number, name, Action.REFUSE, None, generation, (), refusal)
    if not there:
        return MemberPlan(number, name, Action.LAUNCH, None, generation)
    (one,) = there
    start = desired.state is FleetState.RUNNING and one.state in _OFF
    action = Action.START if start else Action.KEEP
    differing = differing_settings(desired, one.freeform_tags)
    if one.shape != desired.shape and "shape" not in differing:
        differing = ("shape", *differing)
    return MemberPlan(number, name, action, one, generation, differing)


def _put_away(desired: Desired, living: Mapping[int, Sequence[Instance]]) -> list[MemberPlan]:
    chosen = set(desired.members)
    found = []
    for number in sorted(living):
        if chosen and number not in chosen:
            continue
        for one in living[number]:
            if desired.state is FleetState.ABSENT:
                action = Action.TERMINATE
            else:
                action = Action.KEEP if one.state in _OFF else Action.STOP
            found.append(_doing(action, desired, number, one))
    return found


def _doing(action: Action, desired: Desired, number: int, one: Instance) -> MemberPlan:
    return MemberPlan(number, member_name(desired.fleet, number), action, one)
