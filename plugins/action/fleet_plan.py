"""Action behind the module documentation of gpuprep.core.fleet_plan."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import Fleet


class ActionModule(ActionBase):
    """Observe all hosts of the play in parallel and plan each; runs once for the play."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return counts by state; the plans are kept for the plays that follow."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        names = list(variables["ansible_play_hosts_all"])
        fleet = Fleet(self, variables)
        fleet.run(names)
        plans = fleet.plans
        full = [n for n in names if n in fleet.wishes and not fleet.wishes[n].short_cut]
        drifted = [
            n for n in names if plans[n].state == "drifted" or (n in full and plans[n].state == "converged")
        ]
        unfit = {n: p for n, p in plans.items() if p.state not in {"drifted", "converged"}}
        for name in drifted:
            roles = {role: plan.to_dict() for role, plan in plans[name].roles.items()}
            _state.write(_state.plan_name(name), roles)
        _state.write(
            "fleet",
            {
                "drifted": drifted,
                "unfit": {n: f"{p.state} [{p.code}]: {p.error}" for n, p in unfit.items()},
                "roles": {
                    n: [r for r, plan in plans[n].roles.items() if plan.steps or n in full]
                    for n in drifted
                },
            },
        )
        if run_dir := variables.get("gpuprep_run_dir"):
            document = {
                "schema": 1,
                "round_trips": fleet.round_trips,
                "hosts": {n: fleet.report(n) for n in names},
            }
            _state.write_report(run_dir, "plan", document)
        counts: dict[str, int] = {}
        for plan in plans.values():
            counts[plan.state] = counts.get(plan.state, 0) + 1
        lines = [f"{name}: {p.state} [{p.code}] {p.error}" for name, p in unfit.items()]
        result.update(changed=False, counts=counts, msg="\n".join(lines) or _summary(counts))
        return result


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
