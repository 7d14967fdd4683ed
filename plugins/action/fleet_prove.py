"""Action behind the module documentation of gpuprep.core.fleet_prove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import Fleet

from gpuprep.fleet.policy import stop_reason
from gpuprep.model import Tier


class ActionModule(ActionBase):
    """Observe the hosts of the play again; runs once for the play."""

    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("tier",))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a summary; the verdicts are kept for the task that follows."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        names = list(variables["ansible_play_batch"])
        fleet = Fleet(self, variables, "apply")
        fleet.read(names)
        tier = Tier(self._task.args.get("tier", Tier.QUICK))
        fleet.observe(names, tier if fleet.tags.proves() else Tier.QUICK)
        reports = {name: fleet.report(name) for name in names}
        for name, report in reports.items():
            _state.write(_state.verdict_name(name), fleet.hide.text(report.verdict))
        proven = [name for name, report in reports.items() if not report.verdict]
        stop = _stop(proven, names)
        _state.write(_state.STOP, stop)
        if run_dir := fleet.policy().run_dir:
            number = 1 + len(list(Path(run_dir).glob("proof-*.json")))
            told = {name: fleet.hide.document(report.to_dict()) for name, report in reports.items()}
            document = {"schema": 1, "hosts": told, "stop": stop, "by_ssh": fleet.by_ssh}
            _state.write_report(run_dir, f"proof-{number}", document)
        summary = f"{len(proven)} as planned, {len(names) - len(proven)} not"
        result.update(changed=False, msg="; ".join(part for part in (summary, stop) if part))
        return result


def _stop(proven: list[str], names: list[str]) -> str:
    """Return why no wave may begin after the one that these hosts are of."""
    fleet = _state.read("fleet")
    later = fleet["waves"][:-1] if fleet else ()  # after the last wave there is nothing to stop
    wave = next((wave for wave in later if names[0] in wave), None)
    if wave is None:
        return ""
    return stop_reason(fleet["max_fail_percentage"], wave, set(wave) - set(proven))
