"""Writes plan.json or proof.json as the real actions do, from the variables of the hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        name = self._task.args["document"]
        hostvars = task_vars["hostvars"]
        if task_vars.get("stub_broken"):
            raise AnsibleActionFail(task_vars["stub_broken"])
        hosts = {
            host: hostvars[host][f"stub_{name}"]
            for host in task_vars["ansible_play_batch"]  # without those that failed
            if f"stub_{name}" in hostvars[host]
        }
        run_dir = Path(task_vars["gpuprep_run_dir"])
        (run_dir / f"{name}.json").write_text(json.dumps({"schema": 1, "hosts": hosts}))
        if name == "plan" and (state := os.environ.get("GPUPREP_STATE_DIR")):
            drifted = [host for host, plan in hosts.items() if plan.get("state") == "drifted"]
            Path(state).mkdir(mode=0o700, exist_ok=True)
            Path(state, "fleet.json").write_text(json.dumps({"drifted": drifted}))
        for host in hosts:
            with (run_dir / f"commands-{host}").open("a") as file:
                file.write("observation\n")
        return {**result, "changed": False}
