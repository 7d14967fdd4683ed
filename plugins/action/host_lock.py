"""Action of gpuprep.core.host_lock: decides whether a lease that is there is still alive."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

MODULE = "gpuprep.core.host_lock"


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _identity() -> dict[str, Any]:
    """Identity of this run: the controller's boot and the ansible-playbook process."""
    pid = os.getppid()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"boot": boot, "host": socket.gethostname(), "pid": pid, "started": _started(pid)}


def _has_ended(run: str) -> bool:
    """Whether the run that a lease names was one of this controller and is over."""
    own = _identity()
    try:
        other = json.loads(run)
        if other["host"] != own["host"]:
            return False
        return bool(other["boot"] != own["boot"] or _started(other["pid"]) != other["started"])
    except (ValueError, KeyError, TypeError):
        return False


class ActionModule(ActionBase):
    """Take or give back the lease of a host."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result; fails with code E_LOCKED when another run is at work."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._play_context.check_mode:
            return {**result, "changed": False}  # a module would leave its directory on the host
        arguments = dict(self._task.args)
        identity = _identity()
        arguments["run"] = json.dumps(identity, sort_keys=True)
        arguments["holder"] = f"{getpass.getuser()}@{identity['host']} (pid {identity['pid']})"
        answer = self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
        held = answer.get("held_by")
        if held and _has_ended(held.get("run", "")):
            arguments["take_over"] = held["run"]
            answer = self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
            held = answer.get("held_by")
        if held is not None:
            until = time.strftime("%H:%M UTC", time.gmtime(held.get("expires", 0)))
            return {
                **result,
                "failed": True,
                "code": "E_LOCKED",
                "msg": f"[E_LOCKED] another run works on this host: {held.get('holder')}; nothing was"
                f" changed. Wait for it, or run again after {until}",
            }
        return {**result, **answer}
