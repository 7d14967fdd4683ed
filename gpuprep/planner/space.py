"""Free space: what a plan needs of it, and whether each file system has as much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuprep.catalog.rules import host_rules
from gpuprep.components import BY_ROLE
from gpuprep.components.base import TEMPORARY
from gpuprep.model import StepKind
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuprep.components.base import Situation
    from gpuprep.model import Message, Step
    from gpuprep.observe.observation import Space

_INSTALLING: Final = {StepKind.PACKAGE, StepKind.INSTALLATION}


class Need(Value, frozen=True):
    """Free space that a component needs below a path."""

    component: str
    path: str
    megabytes: int


def needs(steps: Mapping[str, Sequence[Step]], situation: Situation) -> tuple[Need, ...]:
    """Return the free space that the steps of a plan need.

    Args:
        steps: those of each role; a role without steps needs nothing.
        situation: what they were planned from.

    """
    found = []
    for role, own in steps.items():
        component = BY_ROLE[role]
        installing = [step for step in own if step.kind in _INSTALLING]
        # What an update takes is not known; room for temporary files it needs too.
        is_new = any(step.before is None for step in installing)
        for path, megabytes in component.space_mb.items() if installing else ():
            if is_new or path == TEMPORARY:
                found.append(Need(component.title, path, megabytes))
        more = component.more_space_mb(situation, {step.kind for step in own})
        found += [Need(component.title, path, megabytes) for path, megabytes in more.items()]
    return tuple(found)


def shortage(wanted: Iterable[Need], space: Mapping[str, Space]) -> Message | None:
    """Return the refusal of a plan that a file system has no room for; None when all have.

    All of it counts at once: every package is downloaded before the first is installed, and may be
    kept after the last.

    Args:
        wanted: what the plan needs.
        space: what is free; a path that is not known is not judged.

    """
    by_device: dict[int, list[Need]] = {}
    for need in wanted:
        if need.path in space:
            by_device.setdefault(space[need.path].device, []).append(need)
    for there in by_device.values():
        paths = list(dict.fromkeys(need.path for need in there))
        free = min(space[path].free_mb for path in paths)
        total = sum(need.megabytes for need in there)
        if free < total:
            return host_rules().refusal(
                "E_DISK",
                paths=" and ".join(filter(None, (", ".join(paths[:-1]), paths[-1]))),
                has="share a file system that has" if paths[1:] else "has",
                free=free,
                need=total,
                shares=_shares(there),
            )
    return None


def _shares(wanted: Iterable[Need]) -> str:
    """Return what each component needs, in words."""
    shares: dict[str, int] = {}
    for need in wanted:
        shares[need.component] = shares.get(need.component, 0) + need.megabytes
    return ", ".join(f"{megabytes} for {component}" for component, megabytes in shares.items())
