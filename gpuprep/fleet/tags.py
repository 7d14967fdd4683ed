"""Tags of a run: which part of a plan it carries out, as Ansible chooses tasks. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from gpuprep.components import ROLES
from gpuprep.errors import ConfigError
from gpuprep.model import Phase
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuprep.planner import HostPlan

_EVERY: Final = frozenset({"all"})
_TAGGED: Final = frozenset({"all", "tagged"})  # Ansible's words for what has any tag
_WORK: Final = (Phase.INSTALL, Phase.CONFIGURE)  # what changes a host


def tags_of(role: str, phase: Phase) -> frozenset[str]:
    """Return the tags of a role's tasks of one phase."""
    return frozenset({phase.value, f"{role}_{phase.value}"})


def known() -> tuple[str, ...]:
    """Return all tags that tasks of the roles have."""
    own = (tag for role in ROLES for phase in Phase for tag in tags_of(role, phase) - {*Phase})
    return (*(phase.value for phase in Phase), *own)


def check(tags: Iterable[str]) -> None:
    """Refuse tags that no task has: Ansible would run nothing and call that success.

    Raises:
        ConfigError: with the tags that there are.

    """
    for tag in tags:
        if tag not in {*known(), *_TAGGED}:
            near = difflib.get_close_matches(tag, known(), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known())}"
            raise ConfigError(f"no task has the tag {tag!r}: {hint}")


class Tags(Value, frozen=True):
    """What was given as ``--tags`` and ``--skip-tags``."""

    run: frozenset[str] = _EVERY
    skip: frozenset[str] = frozenset()

    @classmethod
    def of(cls, variables: Mapping[str, Any]) -> Tags:
        """Return the tags of the running playbook, from the variables that Ansible sets."""
        run, skip = (
            frozenset(filter(None, variables.get(f"ansible_{name}_tags") or ()))
            for name in ("run", "skip")
        )
        return cls(run or _EVERY, skip)

    def choose(self, role: str, phase: Phase) -> bool:
        """Return whether Ansible runs a role's tasks of a phase."""
        tags = tags_of(role, phase)
        chosen = bool(self.run & (tags | _TAGGED))
        return chosen and not self.skip & (tags | _TAGGED)

    def proves(self) -> bool:
        """Return whether any role is to be verified, so that the whole ladder is climbed."""
        return any(self.choose(role, Phase.VERIFY) for role in ROLES)

    def counts(self, role: str, phase: Phase) -> bool:
        """Return whether the run answers for differences of a phase.

        It does for those that it carries out; one that only verifies answers for all.
        """
        if self._only_looks():
            return self.choose(role, Phase.VERIFY)
        return self.choose(role, phase)

    def left_out(self, plan: HostPlan) -> tuple[str, ...]:
        """Return the ids of the steps of a plan that the run leaves to another one."""
        if self == Tags():
            return ()
        return tuple(
            step.id
            for role, part in plan.roles.items()
            for step in part.steps
            if not self.counts(role, part.phase_of(step))
        )

    def roles(self, plan: HostPlan, *, in_full: bool = False) -> tuple[str, ...]:
        """Return the roles of a plan to run, in order.

        Args:
            plan: of a host.
            in_full: also those without a difference.

        """
        out = set(self.left_out(plan))
        return tuple(
            role
            for role, part in plan.roles.items()
            if any(step.id not in out for step in part.steps)
            or (in_full and any(self.choose(role, phase) for phase in Phase))
        )

    def _only_looks(self) -> bool:
        return not any(self.choose(role, phase) for role in ROLES for phase in _WORK)
