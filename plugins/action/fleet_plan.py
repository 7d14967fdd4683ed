"""Action behind the module documentation of gpuprep.core.fleet_plan."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import Fleet

from gpuprep.components import ROLES
from gpuprep.errors import ConfigError
from gpuprep.fleet.handover import parts
from gpuprep.fleet.verdicts import VERBS, judges, pending_changes, work_on
from gpuprep.fleet.waves import waves
from gpuprep.model import Tier
from gpuprep.report.text import checks_in_words, fleet_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.fleet.policy import Policy
    from gpuprep.fleet.report import HostReport
    from gpuprep.fleet.verdicts import Verb, Work


NAMED = "__gpuprep_named"  # set by the API: hosts that the caller named one by one


class ActionModule(ActionBase):
    """Observe all hosts of the play in parallel and plan each; runs once for the play."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("verb",))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return counts by state; the plans are kept for the plays that follow."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        verb: Verb = self._task.args.get("verb", VERBS[0])
        fleet = Fleet(self, variables, verb)
        unmatched = fleet.unmatched()
        try:
            _check_named(variables.get(NAMED) or (), unmatched)
            names = fleet.choose(list(variables["ansible_play_hosts_all"]))
            fleet.read(names)
            policy = fleet.policy()
        except ConfigError as error:
            return {**result, "failed": True, "code": "E_CONFIG", "msg": str(error)}
        if verb == "verify" and 0 < policy.verify_sample < len(names):
            chosen = set(random.SystemRandom().sample(names, policy.verify_sample))
            names = [name for name in names if name in chosen]
        fleet.observe(names, policy.verify_tier if verb == "verify" else Tier.QUICK)
        reports = {name: fleet.report(name) for name in names}
        work = {name: _work(fleet, name, reports[name], verb) for name in names}
        # No roles follow other verbs: their plans need not be written down operation by operation.
        left = work if verb == "apply" else {n: replace(w, roles=()) for n, w in work.items()}
        self._hand_over(fleet, left, policy)
        if policy.run_dir:
            hosts = {
                name: fleet.hide.document(report.to_dict()) for name, report in reports.items()
            }
            document = {"schema": 1, "hosts": hosts, "unmatched": unmatched}
            document["by_ssh"] = fleet.by_ssh
            _state.write_report(policy.run_dir, "plan", document)
        else:
            self._tell(fleet, reports, verb)
        unfit = [f"{name}: {todo.unfit}" for name, todo in work.items() if todo.unfit]
        counts = Counter(plan.state for plan in fleet.plans.values())
        told = fleet.hide.text("\n".join(unfit)) or _summary(counts)
        result.update(changed=False, counts=dict(counts), msg=told)
        return result

    def _hand_over(self, fleet: Fleet, work: dict[str, Work], policy: Policy) -> None:
        """Keep what the plays that follow need: of a host, in files of its own."""
        for name, todo in work.items():
            if todo.roles or todo.unfit:
                _state.write(_state.work_name(name), {"roles": todo.roles, "unfit": todo.unfit})
            if todo.roles:  # they carry out this plan and make none of their own
                plan = parts(fleet.plans[name], todo.roles, fleet.tags)
                _state.write(_state.plan_name(name), plan)
        drifted = [name for name, todo in work.items() if todo.roles]
        readable = [name for name in work if name not in fleet.unreadable]
        untouched = [name for name in readable if not work[name].roles]
        needed = {role for todo in work.values() for role in todo.roles}
        document = {
            "drifted": drifted,
            "roles": [role for role in ROLES if role in needed],
            # The API tells its caller by itself; a host-task more would only cost time.
            "untouched": [] if policy.run_dir else untouched,
            "hosts": [] if policy.run_dir else readable,
            "speaker": [] if policy.run_dir or not fleet.unreadable else readable[:1],
            "unreadable": "\n".join(f"{name}: {work[name].unfit}" for name in fleet.unreadable),
            "waves": waves(drifted, policy.batch),
            "max_fail_percentage": policy.max_fail_percentage,
        }
        _state.write("fleet", document)

    def _tell(self, fleet: Fleet, reports: dict[str, HostReport], verb: Verb) -> None:
        """Show in Ansible's own output what the program's other users see in gpuprep's."""
        lines = fleet_in_words({name: fleet.plans[name] for name in reports})
        if judges(verb):
            told = ((name, report.to_dict()) for name, report in reports.items())
            lines = chain.from_iterable(checks_in_words(*each) for each in told)
        for line in lines:
            self._display.display(fleet.hide.text(line))


def _check_named(named: Iterable[str], unmatched: Iterable[str]) -> None:
    """Refuse names of hosts that are not there.

    Raises:
        ConfigError: with the names.

    """
    unknown = ", ".join(sorted(set(named).intersection(unmatched)))
    if unknown:
        raise ConfigError(f"no host or group of the inventory is called {unknown}")


def _work(fleet: Fleet, name: str, report: HostReport, verb: Verb) -> Work:
    settings = fleet.settings.get(name)
    pending = verb == "plan" and settings and settings.values["gpuprep_fail_on_changes"]
    in_full = settings is not None and not settings.short_cut
    plan = fleet.plans[name]
    work = work_on(plan, report, verb, in_full=in_full, tags=fleet.tags)
    unfit = work.unfit or (pending_changes(plan) if pending else "")
    return replace(work, unfit=fleet.hide.text(unfit))


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
