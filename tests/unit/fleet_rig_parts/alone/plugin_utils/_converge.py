"""The real errand to a host that repeats whatever it was given."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.gpuprep.core.plugins.plugin_utils._real_converge import *  # noqa: F403

from gpuprep.observe.converge import Answer

RIG = Path(os.environ["FLEET_RIG"])


def ask(_action: Any, variables: Any, operations: Any, **values: Any) -> Answer:
    host = variables["inventory_hostname"]
    with (RIG / "log").open("a") as log:
        log.write(f"converge {host} {values['stage']}\n")
    (RIG / f"asked-{host}-{values['stage']}").write_text(json.dumps(operations, default=str))
    told = f"with {variables.get('rig_says', '')}"
    if variables.get("rig_breaks"):
        raise AnsibleActionFail(f"[E_ANSWER] {told}")
    return Answer(changed=True, operations=({"op": "files", "changed": True, "detail": told},))
