"""Action behind the module documentation of gpuprep.core.fleet_prove."""

from __future__ import annotations

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
        """Return counts by state; the verdicts are kept for the task that follows."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        names = list(variables["ansible_play_batch"])
        fleet = Fleet(self, variables)
        fleet.run(names, self._task.args.get("tier", "quick"))
        verdicts = _state.read("verdict") or {}
        verdicts |= {name: fleet.verdict(name) for name in names}
        _state.write("verdict", verdicts)
        if run_dir := variables.get("gpuprep_run_dir"):
            document = {
                "schema": 1,
                "round_trips": fleet.round_trips,
                "hosts": {n: fleet.report(n) for n in names},
            }
            _state.write_report(run_dir, f"proof-{len(verdicts)}", document)
        unproven = sum(bool(verdicts[name]) for name in names)
        result.update(changed=False, msg=f"{len(names) - unproven} as planned, {unproven} not")
        return result
