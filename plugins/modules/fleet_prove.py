#!/usr/bin/python
"""Documentation of the action gpuprep.core.fleet_prove."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: fleet_prove
short_description: Observe hosts again and prove that they are as planned
description:
  - Runs once for all hosts of the play that have not failed. Makes one read-only round trip to each host.
  - A host is proven when its plan is empty and no rung of the verification ladder failed. A run with tags answers
    for the steps that they choose.
  - The verdicts serve the lookup P(gpuprep.core.fleet#lookup).
author: The gpuprep project (@gpuprep)
options:
  tier:
    description: How far the ladder is climbed. Where the tags of the run leave C(verify) out, it is C(quick).
    type: str
    choices: [quick, full, burn-in]
    default: quick
attributes:
  check_mode:
    support: full
    description: The action changes nothing.
  diff_mode:
    support: none
    description: The action changes nothing.
"""

EXAMPLES = r"""
- name: Prove the hosts
  gpuprep.core.fleet_prove:
    tier: full
"""

RETURN = r"""
counts:
  description: Number of hosts by state.
  type: dict
  returned: always
"""
