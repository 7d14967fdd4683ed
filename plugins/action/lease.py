"""Action behind the module documentation of gpuprep.core.lease."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._converge import SHORT_SECONDS, ask

LIFETIME = 4 * 3600  # seconds
SAME = ("machine", "boot", "processes", "host")


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _identity() -> dict[str, Any]:
    """Return the identity of this run: its machine, what processes it sees, and its own."""
    pid = os.getppid()
    try:
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        processes = ""
    return {
        "machine": _text("/etc/machine-id"),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "processes": processes,
        "host": socket.gethostname(),
        "pid": pid,
        "started": _state.started(pid),
    }


def has_ended(run: str) -> bool:
    """Return whether the run that a lease names is known to be over.

    Only a run whose processes this controller sees can be known: names, and even identities of
    machines, are shared by containers and copies.
    """
    own = _identity()
    try:
        other = json.loads(run)
        if not isinstance(other, dict) or any(other[key] != own[key] for key in SAME):
            return False
        return bool(_state.started(int(other["pid"])) != other["started"])
    except (ValueError, KeyError, TypeError):
        return False


class ActionModule(ActionBase):
    """Take or give back the lease of a host."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("state", "seconds"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return an unchanged result; fails with code E_LOCKED when another run is at work."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        if self._play_context.check_mode:
            return {**result, "changed": False, "msg": "Nothing is to be changed"}
        identity = _identity()
        operation = {
            "op": "lease",
            "state": self._task.args.get("state", "present"),
            "run": json.dumps(identity, sort_keys=True),
            "holder": f"{getpass.getuser()}@{identity['host']} (pid {identity['pid']})",
            "take_over": None,
            "seconds": int(self._task.args.get("seconds", LIFETIME)),
        }
        try:
            held = self._ask(variables, operation)
            if held and has_ended(str(held.get("run"))):
                held = self._ask(variables, operation | {"take_over": held["run"]})
        except _hosts.HostUnreachableError as error:
            return {**result, "unreachable": True, "msg": str(error)}
        if held:
            until = time.strftime("%H:%M UTC", time.gmtime(float(held.get("expires", 0))))
            return {
                **result,
                "failed": True,
                "code": "E_LOCKED",
                "msg": f"[E_LOCKED] another run works on this host: {held.get('holder')}; nothing was"
                f" changed. Wait for it, or run again after {until}",
            }
        return {**result, "changed": False}

    def _ask(self, variables: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
        """Return the lease of another run that is in the way; empty when there is none."""
        answer = ask(self, variables, [operation], seconds=SHORT_SECONDS, stage="lease")
        if answer.failed:
            raise AnsibleActionFail(f"[{answer.failed.get('code')}] {answer.failed.get('message')}")
        return dict(answer.operations[0].get("held_by") or {})
