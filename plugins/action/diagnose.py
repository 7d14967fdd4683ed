"""Action behind the module documentation of gpuprep.core.diagnose."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._converge import SHORT_SECONDS

PROGRAM = "diagnosis.py"


class ActionModule(ActionBase):
    """Let a host carry out the program that collects, and keep its answer."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("run_dir",))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return an unchanged result; the answer is in the run's directory only."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        folder = Path(self._task.args["run_dir"])
        target = _hosts.own_target(self, variables)
        # What the login shell prints is no part of the answer.
        mark = f"gpuprep-{secrets.token_hex(8)}"
        program = (folder / PROGRAM).read_text(encoding="utf-8")
        script = f"print({mark!r})\n{program}\nprint({mark!r})\n"
        try:
            said = _hosts.twice(
                target, lambda: _hosts.run_script(target, script, SHORT_SECONDS, "diagnose")
            )
        except _hosts.HostUnreachableError as error:
            return {**result, "unreachable": True, "msg": str(error)}
        except _hosts.HostUnusableError as error:
            return {**result, "failed": True, "code": error.code, "msg": str(error)}
        marked = said.split(mark)
        said = marked[1] if len(marked) > 1 else said
        name = f"diagnosis-{_state.digest_of(target.name)}"
        _state.write_report(str(folder), name, {"host": target.name, "said": said})
        return {**result, "changed": False}
