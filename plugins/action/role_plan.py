"""Action behind the module documentation of gpuprep.core.role_plan."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._hosts import interpreter
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import (
    OBSERVE_SECONDS,
    failed_plan,
    observe_host,
    read_settings,
    resolver_for,
)

from gpuprep.catalog import load
from gpuprep.components import BY_ROLE
from gpuprep.planner import HostPlan, plan_host

# Kinds of steps that a task's condition asks for.
KINDS = (
    "package",
    "hold",
    "module",
    "unit",
    "initramfs",
    "load",
    "reboot",
    "alternative",
    "installation",
    "environment",
)
# Their tasks find out by themselves that there is nothing to do; they run without the short cut.
SAFE_TO_REPEAT = ("package", "hold", "unit", "environment")


class ActionModule(ActionBase):
    """Give a role its part of the host's plan; plans for the role alone when there is none."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("role", "closing"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return ``target``, ``do``, ``steps``, ``refresh`` and ``run`` for the role's tasks."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        role = self._task.args["role"]
        closing = bool(self._task.args.get("closing", False))
        host = variables["inventory_hostname"]
        roles = _state.read(_state.plan_name(host))
        fleet_run = roles is not None
        if closing and fleet_run:
            return {**result, "changed": False, "skipped": True}  # the fleet's proof looks again
        short_cut = True
        if fleet_run and role in roles:
            part = roles[role]
            short_cut = bool(part["steps"])
        else:
            settings = read_settings(variables, self._templar, self._loader)
            if not BY_ROLE[role].wanted(settings.values):
                return {**result, "changed": False, "run": False, "msg": "not wanted here"}
            short_cut = settings.short_cut
            part = self._own_plan(role, settings, variables)
        if closing:
            left = [s for s in part["steps"] if s["kind"] not in {"reboot", "load"}]
            if left:
                raise AnsibleActionFail(
                    "after the role ran, the host still differs: "
                    + "; ".join(f"{s['id']} ({s['reason']})" for s in left)
                )
            return {**result, "changed": False, "msg": "the host is as planned"}
        run = bool(part["steps"]) or not short_cut
        do = {kind: kind in part["kinds"] for kind in KINDS}
        if not short_cut:
            do |= dict.fromkeys(SAFE_TO_REPEAT, True)
        result.update(part, run=run and not self._play_context.check_mode, do=do)
        if self._play_context.check_mode:
            result["changed"] = bool(part["steps"])
            result["diff"] = [_as_diff(step) for step in part["steps"]]
        return result

    def _own_plan(self, role: str, settings: Any, variables: dict[str, Any]) -> dict[str, Any]:
        """Observe this host over its own connection and plan for one role."""
        target = _hosts.Target(
            variables["inventory_hostname"], self._connection, interpreter(variables)
        )
        try:
            seen = observe_host(target, settings, OBSERVE_SECONDS)
            resolver = resolver_for(settings, self._loader)
            plan = plan_host(seen, settings, load(), resolver, role)
        except (_hosts.HostUnreachableError, _hosts.HostUnusableError) as error:
            plan = failed_plan(error)
        if not plan.roles:
            raise AnsibleActionFail(f"[{plan.code}] {plan.error}")
        return _as_dict(plan, role)


def _as_dict(plan: HostPlan, role: str) -> dict[str, Any]:
    part: dict[str, Any] = plan.roles[role].to_dict()
    return part


def _as_diff(step: dict[str, Any]) -> dict[str, str]:
    """Form of a step that ``--diff`` prints."""
    header = f"{step['id']}: {step['action']} ({step['reason']})"
    return {
        "before_header": header,
        "after_header": header,
        "before": f"{step['before'] or ''}\n",
        "after": f"{step['after'] or step['target']}\n",
    }
