"""Action behind the module documentation of gpuprep.core.converge."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts
from ansible_collections.gpuprep.core.plugins.plugin_utils._converge import LOCK_SECONDS, ask

from gpuprep.observe.converge import Answer, failure_text

SHOWN = {"files"}  # operations that a host tells of in check mode, with --diff


class ActionModule(ActionBase):
    """Let a host carry out one stage of a role's plan."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("role", "stage", "plan"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was done, operation by operation; skipped when there is nothing to do."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        stage = self._task.args["stage"]
        plan = self._plan(variables)
        operations = (plan.get("operations") or {}).get(stage) or []
        if not plan.get("run", True):  # check mode: what files become, only the host can tell
            shown = self._play_context.check_mode and self._task.diff
            operations = [one for one in operations if shown and one["op"] in SHOWN]
        if not operations:
            return {**result, "changed": False, "skipped": True, "skip_reason": "Nothing to do"}
        try:
            answer = ask(
                self,
                variables,
                operations,
                role=self._task.args["role"],
                stage=stage,
                family=str(plan["family"]),
                lock_timeout=plan.get("lock_timeout", LOCK_SECONDS),
                check=self._play_context.check_mode,
            )
        except _hosts.HostUnreachableError as error:
            return {**result, "unreachable": True, "msg": str(error)}
        self._show(variables["inventory_hostname"], answer)
        return {**result, **as_result(answer)}

    def _plan(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the role's part of the plan, from the task or as the role registered it."""
        role = self._task.args["role"]
        plan = self._task.args.get("plan") or variables.get(f"__{role}_plan")
        if not isinstance(plan, dict):
            raise AnsibleActionFail(
                f"there is no plan of {role}: run gpuprep.core.role_plan first and register"
                f" __{role}_plan, or give the plan"
            )
        return plan

    def _show(self, host: str, answer: Answer) -> None:
        """Tell in Ansible's own output what was done; it prints only failures by itself."""
        if answer.earlier:
            self._display.display(f"{host}: {answer.earlier}")
        for done in answer.operations:
            if done["changed"]:
                self._display.display(f"{host}: {done['detail']}")


def as_result(answer: Answer) -> dict[str, Any]:
    """Return an answer as a task's result."""
    result: dict[str, Any] = {
        "changed": answer.changed,
        "operations": [
            {key: value for key, value in done.items() if key != "diff"}
            for done in answer.operations
        ],
        "msg": answer.message,
    }
    if answer.diff:
        result["diff"] = list(answer.diff)
    if answer.failed:
        result |= {
            "failed": True,
            "code": answer.failed.get("code"),
            "msg": failure_text(answer.failed),
        }
    return result
