"""Lookup behind the plays of gpuprep: what the fleet's plan says."""

from __future__ import annotations

DOCUMENTATION = """
name: fleet
author: The gpuprep project (@gpuprep)
short_description: What the plan of the running playbook says
description:
  - Reads the plan that gpuprep.core.fleet_plan made earlier in the same run.
options:
  _terms:
    description:
      - C(lead) and a host pattern give that pattern, and where there are hosts whose variables cannot be
        read, in front of it one whose can.
      - C(readable) and a host pattern give that pattern without the hosts whose variables cannot be read.
      - C(drifted) gives the hosts to converge, C(untouched) the others, C(hosts) all of them,
        as a host pattern. The last two are nobody where the program that started the run tells of its hosts.
      - C(waves) gives the numbers of hosts that are converged at a time, for C(serial).
      - C(stop) gives why no further wave may begin, an empty text when it may.
      - C(roles) gives the roles that differ on any host, with a host name those that differ there.
      - C(reason) and a host name give why a host is not touched.
      - C(speaker) gives a host that tells of those whose variables cannot be read, nobody when there are
        none; C(unreadable) gives what it tells.
      - C(verdict) and a host name give why a host is not proven, an empty text for one that is.
    required: true
    type: list
    elements: str
"""

EXAMPLES = """
- name: Converge the hosts that differ
  hosts: "{{ query('gpuprep.core.fleet', 'drifted') }}"
  serial: "{{ query('gpuprep.core.fleet', 'waves') }}"
"""

RETURN = """
_raw:
  description: Host names, role names, numbers or a text.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._places import NOBODY, lead, readable

from gpuprep.fleet.patterns import exactly

NO_PLAN: dict[str, Any] = {
    "drifted": [],
    "untouched": [],
    "hosts": [],
    "roles": [],
    "waves": [],
    "speaker": [],
    "unreadable": "",
}


class LookupModule(LookupBase):
    """Answer a question about the fleet's plan."""

    def run(self, terms: list[str], variables: Any = None, **_options: Any) -> list[Any]:
        """Return host names, role names, numbers or a text; see the documentation."""
        answer: list[Any]
        match terms:
            case ["lead" | "readable" as which, pattern]:
                choose = {"lead": lead, "readable": readable}[which]
                answer = choose(pattern, variables, self._loader)
            case ["drifted" | "untouched" | "hosts" | "speaker" as which]:
                answer = [exactly(name) for name in _fleet()[which]] or NOBODY
            case ["waves"]:
                answer = [len(wave) for wave in _fleet()["waves"]]
            case ["stop"]:
                answer = [_state.read(_state.STOP) or ""]
            case ["roles"]:
                answer = list(_fleet()["roles"])
            case ["roles", host]:
                answer = list(_work(host)["roles"])
            case ["reason", host]:
                answer = [_work(host)["unfit"]]
            case ["unreadable"]:
                answer = [_fleet()["unreadable"]]
            case ["verdict", host]:
                answer = [_state.read(_state.verdict_name(host)) or ""]
            case _:
                raise AnsibleLookupError(f"gpuprep.core.fleet: unknown question {terms!r}")
        return answer


def _fleet() -> dict[str, Any]:
    return _state.read("fleet") or NO_PLAN


def _work(host: str) -> dict[str, Any]:
    return _state.read(_state.work_name(host)) or {"roles": [], "unfit": ""}
