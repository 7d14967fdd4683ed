"""Action behind the module documentation of gpuprep.core.converge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._converge import (
    LOCK_SECONDS,
    ask,
    refuse_twins,
)
from ansible_collections.gpuprep.core.plugins.plugin_utils._secrets import redactor_for

from gpuprep.observe.converge import failure_text

if TYPE_CHECKING:
    from gpuprep.observe.converge import Answer
    from gpuprep.run.redact import Redactor

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
        host = variables["inventory_hostname"]
        hide = redactor_for(self, variables)
        if plan.get("machine"):  # its twin may have been planned after this host
            refuse_twins(plan["machine"], host)
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
            return {**result, "unreachable": True, "msg": hide.text(str(error))}
        except AnsibleActionFail as error:
            raise AnsibleActionFail(hide.text(str(error))) from None
        self._show(host, answer, hide)
        return {**result, **hide.data(as_result(answer))}

    def _plan(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the role's part of the plan, from the task or as the role registered it."""
        role = self._task.args["role"]
        noted = _state.read(_state.part_name(role, variables["inventory_hostname"]))
        plan = self._task.args.get("plan") or noted or variables.get(f"__{role}_plan")
        if not isinstance(plan, dict):
            raise AnsibleActionFail(
                f"there is no plan of {role}: run gpuprep.core.role_plan first and register"
                f" __{role}_plan, or give the plan"
            )
        return plan

    def _show(self, host: str, answer: Answer, hide: Redactor) -> None:
        """Tell in Ansible's own output what was done; it prints only failures by itself."""
        if answer.earlier:
            self._display.display(hide.text(f"{host}: {answer.earlier}"))
        for done in answer.operations:
            if done["changed"]:
                self._display.display(hide.text(f"{host}: {done['detail']}"))


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
