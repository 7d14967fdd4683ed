#!/usr/bin/python
"""Documentation of the action gpuprep.core.diagnose."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: diagnose
short_description: Collect what is needed to diagnose a host
description:
  - Sends a program to the host and keeps its answer on the controller.
  - For C(gpuprep bundle), which gives the program and takes the answers.
author: The gpuprep project (@gpuprep)
options:
  run_dir:
    description: Directory of the controller that holds the program, C(diagnosis.py), and takes the answer.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Read logs, states and versions
  gpuprep.core.diagnose:
    run_dir: "{{ gpuprep_run_dir }}"
"""

RETURN = r"""
code:
  description: Stable code of why the host gave no answer.
  type: str
  returned: failure
"""
