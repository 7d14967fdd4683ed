#!/usr/bin/python
"""Documentation of the action gpuprep.core.converge."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: converge
short_description: Carry out one stage of a role's plan on a host
description:
  - Sends the operations that P(gpuprep.core.role_plan#module) planned for a role and a stage to the host, in one round trip
    over its own connection and become method, together with the program that carries them out.
    Nothing is installed for that; Python 3.6 without any module of others is enough on the host.
  - Operations run in order and stop at the first failure, which says why, and how to repair it.
  - Package transactions and installers run in a transient systemd unit of their own where systemd runs, so that a lost connection does not end them.
    A later run finds the unit, waits for it and goes on from its result.
  - Does not contact the host when the plan has nothing for the stage.
author: The gpuprep project (@gpuprep)
options:
  role:
    description: The role whose plan is carried out.
    type: str
    required: true
  stage:
    description: Part of the plan.
    type: str
    required: true
    choices: [files, packages, install, configure]
  plan:
    description: The plan, as P(gpuprep.core.role_plan#module) returns it. By default the variable C(__<role>_plan), in which roles register it.
    type: dict
attributes:
  check_mode:
    support: partial
    description:
      - With C(--diff), the host is asked what its files would become; else it is not contacted, and
        P(gpuprep.core.role_plan#module) tells the steps.
  diff_mode:
    support: full
    description: Shows each file's change.
"""

EXAMPLES = r"""
- name: Plan conda on this host
  gpuprep.core.role_plan:
    role: conda
  register: __conda_plan

- name: Install conda
  gpuprep.core.converge:
    role: conda
    stage: install
"""

RETURN = r"""
operations:
  description: What was done, one entry per operation with C(op), C(changed), C(detail), C(items) and C(seconds).
  type: list
  elements: dict
  returned: when there was something to do
msg:
  description: The same as text; the reason when an operation failed.
  type: str
  returned: when there was something to do
code:
  description: Stable code of the failure.
  type: str
  returned: failure
"""
