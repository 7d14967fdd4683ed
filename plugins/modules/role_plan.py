#!/usr/bin/python
"""Documentation of the action gpuprep.core.role_plan."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: role_plan
short_description: Give a role its part of a host's plan
description:
  - Uses the plan of P(gpuprep.core.fleet_plan#module) when it was made in this run, else observes the host and plans for the role alone.
  - In check mode it reports the steps as changes, with their reasons as diff; the role then ends.
author: The gpuprep project (@gpuprep)
options:
  role:
    description: The role that asks.
    type: str
    required: true
  closing:
    description: Observe again after the role's work and fail when something still differs.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Reports the steps.
  diff_mode:
    support: full
    description: Shows each step with its reason.
"""

EXAMPLES = r"""
- name: Plan conda on this host
  gpuprep.core.role_plan:
    role: conda
  register: __conda_plan
"""

RETURN = r"""
run:
  description: Whether the role's tasks have to run.
  type: bool
  returned: unless closing
operations:
  description: For each stage, the operations that P(gpuprep.core.converge#module) carries out.
  type: dict
  returned: unless closing
steps:
  description: The differences, each with its reason.
  type: list
  elements: dict
  returned: unless closing
reboot_required:
  description: Whether the installed driver runs only after a reboot.
  type: bool
  returned: always
installed:
  description: Version of the role's component, empty when there is none.
  type: str
  returned: always
"""
