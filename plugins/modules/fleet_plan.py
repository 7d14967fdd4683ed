#!/usr/bin/python
"""Documentation of the action gpuprep.core.fleet_plan."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: fleet_plan
short_description: Observe all hosts of a play and plan what differs
description:
  - Runs once for the whole play. Makes one read-only round trip to each host, all in parallel, through the
    connection and become plugins that Ansible itself would use.
  - Resolves the stack that fits each host and compares it with what is there. Changes nothing.
  - The plans serve the lookup P(gpuprep.core.fleet#lookup) and the roles in later plays of the same run.
author: The gpuprep project (@gpuprep)
options:
  verb:
    description:
      - What the plan is for. C(plan) and C(apply) say what differs.
      - C(status) and C(verify) say whether hosts work, also those that gpuprep never prepared, and count those that do
        not among the hosts that the run fails for. C(verify) climbs the verification ladder as far as
        C(gpuprep_verify_tier) says.
    type: str
    choices: [plan, apply, status, verify]
    default: plan
attributes:
  check_mode:
    support: full
    description: The action changes nothing.
  diff_mode:
    support: none
    description: The roles show the differences.
"""

EXAMPLES = r"""
- name: Observe and plan
  hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: Observe all hosts and plan what differs
      gpuprep.core.fleet_plan:
"""

RETURN = r"""
counts:
  description: Number of hosts by state.
  type: dict
  returned: always
  sample: {converged: 98, drifted: 2}
"""
