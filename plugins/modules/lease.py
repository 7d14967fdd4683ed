#!/usr/bin/python
"""Documentation of the action gpuprep.core.lease."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: lease
short_description: A lease on a host against two runs at once
description:
  - Takes or gives back a lease in C(/run/gpuprep), which a reboot clears.
  - A lease of a run that has ended without giving it back is taken over by the next run from the same controller, or when it expires.
author: The gpuprep project (@gpuprep)
options:
  state:
    description: Take the lease, or give it back.
    type: str
    choices: [present, absent]
    default: present
  seconds:
    description: Lifetime of the lease.
    type: int
    default: 14400
attributes:
  check_mode:
    support: full
    description: Nothing is locked when nothing is to be changed.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Keep other runs off this host
  gpuprep.core.lease:
"""

RETURN = r"""
code:
  description: C(E_LOCKED) when another run works on the host.
  type: str
  returned: failure
"""
