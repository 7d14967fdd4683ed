"""Lookup behind the plays of gpuprep: what the fleet's plan says."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = """
name: fleet
author: The gpuprep project
short_description: What the plan of the running playbook says
description:
  - Reads the plan that gpuprep.core.fleet_plan made earlier in the same run.
options:
  _terms:
    description:
      - C(drifted) gives the hosts to converge, C(unfit) those that are not touched, as a host pattern.
      - C(reason) and a host name give why a host is not touched.
      - C(roles) and a host name give the roles that differ there.
    required: true
    type: list
    elements: str
"""

EXAMPLES = """
- name: Converge the hosts that differ
  hosts: "{{ query('gpuprep.core.fleet', 'drifted') }}"
"""

RETURN = """
_raw:
  description: Host names, role names or a reason.
  type: list
  elements: str
"""

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state

NOBODY = ["all:!all"]  # an empty pattern would mean everybody


class LookupModule(LookupBase):
    """Answer a question about the fleet's plan."""

    def run(self, terms: list[str], variables: Any = None, **_options: Any) -> list[str]:
        """Return host names, role names or a reason; see the documentation."""
        del variables
        fleet = _state.read("fleet") or {"drifted": [], "unfit": {}, "roles": {}, "unproven": {}}
        question, *rest = terms
        if question == "drifted":
            return list(fleet["drifted"]) or NOBODY
        if question == "unfit":
            return (not fleet.get("told") and list(fleet["unfit"])) or NOBODY
        if question in {"reason", "roles", "verdict"} and rest:
            if question == "verdict":
                return [(_state.read("verdict") or {}).get(rest[0], "")]
            answer = fleet["unfit" if question == "reason" else "roles"].get(rest[0], [])
            return [answer] if isinstance(answer, str) else list(answer)
        raise AnsibleLookupError(f"gpuprep.core.fleet: unknown question {terms!r}")
