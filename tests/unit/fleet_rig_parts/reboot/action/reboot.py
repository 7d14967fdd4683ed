"""A reboot that only writes down that it was made, after which the host is as planned."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

RIG = Path(os.environ["FLEET_RIG"])


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        name = (task_vars or {})["inventory_hostname"]
        with (RIG / "log").open("a") as log:
            log.write(f"reboot {name}\n")
        (RIG / f"done-{name}-gpu_driver").touch()
        return {**super().run(tmp, task_vars), "changed": True, "rebooted": True}
