"""Action behind the module documentation of gpuprep.core.fleet_plan."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import Fleet

from gpuprep.report.text import checks_in_words, fleet_in_words


class ActionModule(ActionBase):
    """Observe all hosts of the play in parallel and plan each; runs once for the play."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("tier", "sample", "judge"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return counts by state; the plans are kept for the plays that follow."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        names = list(variables["ansible_play_hosts_all"])
        sample = int(self._task.args.get("sample") or 0)
        if 0 < sample < len(names):
            chosen = set(random.SystemRandom().sample(names, sample))
            names = [name for name in names if name in chosen]
        fleet = Fleet(self, variables)
        fleet.run(names, self._task.args.get("tier", "quick"))
        judge = boolean(self._task.args.get("judge", False))
        plans = fleet.plans
        full = [n for n in names if n in fleet.settings and not fleet.settings[n].short_cut]
        drifted = [
            n
            for n in names
            if plans[n].state == "drifted" or (n in full and plans[n].state == "converged")
        ]
        unfit = {n: f"{p.state} [{p.code}]: {p.error}" for n, p in plans.items() if not p.ok}
        if judge:
            unfit |= {n: text for n in names if plans[n].ok and (text := fleet.verdict(n))}
        for name in drifted:  # the roles carry out this plan, and make none of their own
            plan = {role: part.to_dict() for role, part in plans[name].roles.items()}
            _state.write(_state.plan_name(name), plan)
        run_dir = variables.get("gpuprep_run_dir")
        _state.write(
            "fleet",
            {
                "drifted": drifted,
                "unfit": unfit,
                "roles": {
                    n: [r for r, plan in plans[n].roles.items() if plan.steps or n in full]
                    for n in drifted
                },
                # The API tells its caller by itself; a host-task more would only cost time.
                "told": bool(run_dir),
            },
        )
        if run_dir:
            document = {
                "schema": 1,
                "round_trips": fleet.round_trips,
                "hosts": {n: fleet.report(n, judge=judge) for n in names},
            }
            _state.write_report(run_dir, "plan", document)
        else:
            self._tell(fleet, names, judge=judge)
        counts: dict[str, int] = {}
        for plan in plans.values():
            counts[plan.state] = counts.get(plan.state, 0) + 1
        lines = [f"{name}: {text}" for name, text in unfit.items()]
        result.update(changed=False, counts=counts, msg="\n".join(lines) or _summary(counts))
        return result

    def _tell(self, fleet: Fleet, names: list[str], *, judge: bool) -> None:
        """Show in Ansible's own output what the program's other users see in gpuprep's."""
        lines = fleet_in_words({name: fleet.plans[name] for name in names})
        if judge:
            lines = chain.from_iterable(
                checks_in_words(name, fleet.report(name, judge=True)) for name in names
            )
        for line in lines:
            self._display.display(line)


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
