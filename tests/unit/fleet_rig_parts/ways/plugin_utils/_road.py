"""Hosts that differ until their role has run, and that tell which master they are reached by."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _masters, _real_road
from ansible_collections.gpuprep.core.plugins.plugin_utils._real_road import *  # noqa: F403

from gpuprep.model import Phase, PlanState, Step, StepKind
from gpuprep.planner import HostPlan

RIG = Path(os.environ["FLEET_RIG"])


class Part:
    def __init__(self, *steps: Step) -> None:
        self.steps = steps

    def phase_of(self, _step: Step) -> Phase:
        return Phase.INSTALL

    def to_dict(self) -> dict[str, Any]:
        return {"steps": [], "operations": {}, "reboot_required": False, "version": "1"}


def write_down(who: str, target: _hosts.Target) -> None:
    """Tell the socket by which a host is reached, and all that its name is made of."""
    connection = target.connection
    path = Path(connection.get_option("control_path") or "none")
    parts = {name: repr(_masters.option(connection, name)) for name in _masters.TELLING}
    line = json.dumps({"who": who, "host": target.name, "socket": path.name, "parts": parts})
    with (RIG / "ways").open("a") as log:
        log.write(f"{line}\n")


class Fleet(_real_road.Fleet):
    def _plan(self, name: str) -> HostPlan:
        write_down("fleet", self._targets[name])
        if (RIG / f"done-{name}-conda").exists():
            return HostPlan(PlanState.CONVERGED)
        step = Step("conda", "conda", StepKind.CONDARC, "x", "change", "differs")
        return HostPlan(PlanState.DRIFTED, roles={"conda": Part(step)})  # type: ignore[dict-item]
