"""The real fleet, which writes down how it reaches each host and asks it for a word."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts, _real_road
from ansible_collections.gpuprep.core.plugins.plugin_utils._real_road import *  # noqa: F403

from gpuprep.model import PlanState
from gpuprep.planner import HostPlan

RIG = Path(os.environ["FLEET_RIG"])
CONTEXT = (
    "remote_addr", "remote_user", "password", "port", "private_key_file", "timeout", "become_pass",
    "become_user", "become_exe", "become_flags", "become_method", "executable", "shell",
    "connection_user", "pipelining",
)  # fmt: skip


def reached(target: _hosts.Target) -> dict[str, Any]:
    """Return all that decides how a host is reached."""
    connection, become = target.connection, target.connection.become
    return {
        "connection": connection._load_name,
        "options": connection._options,
        "become": become and {"method": become._load_name, **become._options},
        "context": {key: getattr(connection._play_context, key, None) for key in CONTEXT},
        "interpreter": target.interpreter,
    }


class Fleet(_real_road.Fleet):
    def _plan(self, name: str) -> HostPlan:
        target = self._targets[name]
        told = json.dumps(reached(target), default=str, sort_keys=True)
        (RIG / f"reached-{name}").write_text(told)
        said = _hosts.run_script(target, f"print({name!r})", 30)
        (RIG / f"said-{name}").write_text(said)
        return HostPlan(PlanState.CONVERGED)
