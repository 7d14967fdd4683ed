"""A lease that only writes down that it was taken and given back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        state = self._task.args.get("state", "present")
        name = variables["inventory_hostname"]
        with (Path(os.environ["FLEET_RIG"]) / "log").open("a") as log:
            log.write(f"lease {state} {name}\n")
        if state == "present" and variables.get("rig_locked"):
            return {**result, "failed": True, "code": "E_LOCKED", "msg": "[E_LOCKED] another run"}
        return {**result, "changed": False}
