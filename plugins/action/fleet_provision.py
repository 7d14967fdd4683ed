"""Action behind the module documentation of gpuprep.core.fleet_provision."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.gpuprep.core.plugins.plugin_utils import _package

_package.ensure_package()

from gpuprep import api
from gpuprep.errors import ExitCode, GpuprepError


class ActionModule(ActionBase):
    """Bring a fleet to where it should be; runs on the controller, once for the play."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("file", "fleet", "state", "options"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what became of the members."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        if bool(given.get("file")) == bool(given.get("fleet")):
            raise AnsibleActionFail("give either file or fleet")
        fleet = given.get("fleet") or self._loader.path_dwim(str(given["file"]))
        try:
            done = api.provision(
                fleet,
                check=self._task.check_mode,
                state=given.get("state"),
                options=given.get("options"),
                on_progress=Display().vv,
            )
        except GpuprepError as error:
            result.update(failed=True, msg=str(error), exit_code=int(error.exit_code))
            return result
        data = done.to_dict()
        failed = done.exit_code is not ExitCode.OK
        reasons = [
            f"{one.name}: [{one.code}] {one.error}" for one in done.members.values() if not one.ok
        ]
        data["warnings"] = [one.message for one in done.warnings]
        result.update(data, failed=failed)
        result["msg"] = "; ".join(reasons) or f"{len(done.members)} hosts are as they should be"
        return result
