"""The real reading of settings, and nothing after it: what arrived is written down."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils._real_road import Fleet, read_values

from gpuprep.fleet.policy import VARIABLES, policy_of


class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        fleet = Fleet(self, variables, "plan")
        names = fleet.choose(list(variables["ansible_play_hosts_all"]))
        values = {name: read_values(*fleet._variables(name)) for name in names}
        common = {
            name: {key: found[key] for key in VARIABLES if key in found}
            for name, found in values.items()
        }
        policy = policy_of(common)
        arrived = {"hosts": values, "policy": asdict(policy)}
        (Path(os.environ["FLEET_RIG"]) / "arrived.json").write_text(json.dumps(arrived))
        if policy.run_dir:
            hosts = {name: {"state": "converged"} for name in names}
            document = {"schema": 1, "hosts": hosts}
            (Path(policy.run_dir) / "plan.json").write_text(json.dumps(document))
        return {**result, "changed": False}
