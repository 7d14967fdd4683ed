"""The real fleet, with hosts that differ as ``rig_roles`` says until these roles have run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _real_road
from ansible_collections.gpuprep.core.plugins.plugin_utils._real_road import *  # noqa: F403

from gpuprep.model import Phase, PlanState, Step, StepKind
from gpuprep.planner import HostPlan

RIG = Path(os.environ["FLEET_RIG"])


@dataclass(frozen=True)
class Part:
    steps: tuple[Step, ...]

    def phase_of(self, step: Step) -> Phase:
        return Phase.CONFIGURE if step.kind == StepKind.UNIT else Phase.INSTALL

    def to_dict(self) -> dict[str, Any]:
        return {
            "steps": [asdict(step) for step in self.steps],
            "operations": {},
            "reboot_required": any(step.kind == StepKind.REBOOT for step in self.steps),
            "version": "1",
        }


def _step(role: str, kind: str, step: str = "") -> Step:
    return Step(step or role, role, StepKind(kind), "x", "change", "differs")


class Fleet(_real_road.Fleet):
    def _plan(self, name: str) -> HostPlan:
        variables, templar = self._variables(name)
        with (RIG / "log").open("a") as log:
            log.write(f"observe {name}\n")
        fault = templar.template(variables.get("rig_fault", ""))
        if fault:
            raise ZeroDivisionError(fault)
        if gone := variables.get("rig_unreachable"):
            raise _hosts.HostUnreachableError(gone)
        wanted = variables.get("rig_roles", ["conda"])
        own = variables.get("rig_name", name)  # where its own is no name of a file
        done = [role for role in wanted if (RIG / f"done-{own}-{role}").exists()]
        kind = variables.get("rig_step", StepKind.CONDARC)
        steps = {role: [] if role in done else [_step(role, kind)] for role in wanted}
        for role in wanted if variables.get("rig_configure") else ():
            if not (RIG / f"configured-{own}-{role}").exists():
                steps[role].append(_step(role, StepKind.UNIT, f"{role}.unit"))
        roles = {role: Part(tuple(found)) for role, found in steps.items()}
        drifted = any(part.steps for part in roles.values())
        state = PlanState.DRIFTED if drifted else PlanState.CONVERGED
        return HostPlan(state, roles=roles)  # type: ignore[arg-type]

    def _identity(self, name: str) -> tuple[str, ...] | None:
        if name not in self._targets:
            return None  # as a host that was not reached
        machine = self._variables(name)[0].get("rig_machine")
        return machine and (machine,)
