"""A lease that only tells by which master a task of its host's own reaches it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import write_down


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        write_down("task", _hosts.own_target(self, variables))
        return {**result, "changed": False}
