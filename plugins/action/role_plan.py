"""Action behind the module documentation of gpuprep.core.role_plan."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._converge import refuse_twins
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import (
    failed_plan,
    observe_host,
    read_settings,
    resolver_for,
)
from ansible_collections.gpuprep.core.plugins.plugin_utils._secrets import redactor_for

from gpuprep.catalog import load
from gpuprep.components import BY_ROLE
from gpuprep.errors import ConfigError
from gpuprep.fleet.policy import observe_seconds
from gpuprep.fleet.tags import Tags
from gpuprep.model import Phase
from gpuprep.planner import plan_host
from gpuprep.run.redact import mask_urls

if TYPE_CHECKING:
    from gpuprep.observe import HostObservation

# Left open by a role: the reboot is a handler's, and the module is loaded by it.
LEFT_TO_REBOOT = {"reboot", "load"}
NOTHING = {"operations": {}, "steps": [], "reboot_required": False, "installed": ""}


class ActionModule(ActionBase):
    """Give a role its part of the host's plan; plans for the role alone when there is none."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("role", "closing"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return ``operations`` by stage, ``steps``, ``run``, and what the role exports."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        role = self._task.args["role"]
        self._hide = redactor_for(self, variables)
        if boolean(self._task.args.get("closing", False)):
            return {**result, "changed": False, **self._closing(role, variables)}
        part = self._part(role, variables)
        check = self._play_context.check_mode
        part |= {"run": bool(part["operations"]) and not check}
        # The role's tasks take it from there: what a task returns may be shown.
        _state.write(_state.part_name(role, variables["inventory_hostname"]), part)
        part = self._hide.data(part)
        result.update(part, changed=False)
        if check:
            result["changed"] = bool(part["steps"])
            told = _paths(part["operations"])  # by the tasks that follow, with their content
            result["diff"] = [_as_diff(s) for s in part["steps"] if s["target"] not in told]
        return result

    def _part(self, role: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the role's part of the plan: the fleet's, else its own."""
        roles = _state.read(_state.plan_name(variables["inventory_hostname"]))
        if roles is not None and role in roles:
            part = dict(roles[role])
            return part | {"installed": part["version"]}
        return self._own_plan(role, variables)

    def _closing(self, role: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return what the role exports once it has run.

        Raises:
            AnsibleActionFail: the host is not as planned.

        """
        opening = variables.get(f"__{role}_plan")
        fleet_run = _state.read(_state.plan_name(variables["inventory_hostname"])) is not None
        if isinstance(opening, dict) and (fleet_run or not opening.get("run")):
            part, text = opening, "nothing was to be done"
            if fleet_run:
                text = "the host is observed again when all roles are done"
        else:
            part, text = self._own_plan(role, variables), "the host is as planned"
            tags = Tags.of(variables)
            left = [
                step
                for step in part["steps"]
                if step["kind"] not in LEFT_TO_REBOOT and tags.counts(role, Phase(step["phase"]))
            ]
            if left:
                differences = "; ".join(f"{step['id']} ({step['reason']})" for step in left)
                raise AnsibleActionFail(
                    self._hide.text(f"after the role ran, the host still differs: {differences}")
                )
        exported = {key: part.get(key, NOTHING[key]) for key in ("reboot_required", "installed")}
        return {"msg": text, **exported}

    def _own_plan(self, role: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Observe this host over its own connection and plan for one role."""
        try:
            settings = read_settings(variables, self._templar, self._loader)
        except ConfigError as error:
            raise AnsibleActionFail(self._hide.text(f"[E_CONFIG] {error}")) from error
        if not BY_ROLE[role].wanted(settings.values):
            return NOTHING | {"msg": "not wanted here"}
        machine = ""
        target, seconds = _hosts.own_target(self, variables), observe_seconds(settings.values)
        try:
            observation = _hosts.twice(target, lambda: observe_host(target, settings, seconds))
            machine = self._machine(observation)
            resolver = resolver_for(settings, self._loader)
            plan = plan_host(observation, settings, load(), resolver, role)
        except (_hosts.HostUnreachableError, _hosts.HostUnusableError) as error:
            plan = failed_plan(error)
        if role not in plan.roles:
            raise AnsibleActionFail(self._hide.text(f"[{plan.code}] {plan.error}"))
        if machine:
            refuse_twins(machine, variables["inventory_hostname"])
        installed = plan.versions.get(BY_ROLE[role].name, "")
        return plan.roles[role].to_dict() | {"installed": installed, "machine": machine}

    @staticmethod
    def _machine(observation: HostObservation) -> str:
        """Return a short name of the machine that answered, empty when it does not tell."""
        identity = observation.identity
        return hashlib.sha256(repr(identity).encode()).hexdigest() if identity else ""


def _paths(operations: dict[str, Any]) -> set[str]:
    """Return the paths of the files that operations write."""
    every = (one for stage in operations.values() for one in stage if one["op"] == "files")
    return {file["path"] for one in every for file in one["files"]}


def _as_diff(step: dict[str, Any]) -> dict[str, str]:
    """Form of a step that ``--diff`` prints."""
    header = f"{step['id']}: {step['action']} ({step['reason']})"
    return {
        "before_header": header,
        "after_header": header,
        "before": mask_urls(f"{step['before'] or ''}\n"),
        "after": mask_urls(f"{step['after'] or step['target']}\n"),
    }
