"""Action behind the module documentation of gpuprep.core.fleet_prove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import Fleet


class ActionModule(ActionBase):
    """Observe the hosts of the play again; runs once for the play."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("tier",))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a summary; the verdicts are kept for the task that follows."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        names = list(variables["ansible_play_batch"])
        fleet = Fleet(self, variables, "apply")
        fleet.read(names)
        fleet.observe(names, self._task.args.get("tier", "quick"))
        reports = {name: fleet.report(name) for name in names}
        for name, report in reports.items():
            _state.write(_state.verdict_name(name), report.verdict)
        if run_dir := fleet.policy().run_dir:
            number = 1 + sum(1 for _ in Path(run_dir).glob("proof-*.json"))
            document = {"schema": 1, "hosts": {n: r.to_dict() for n, r in reports.items()}}
            _state.write_report(run_dir, f"proof-{number}", document)
        unproven = sum(bool(report.verdict) for report in reports.values())
        result.update(changed=False, msg=f"{len(names) - unproven} as planned, {unproven} not")
        return result
