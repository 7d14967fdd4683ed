#!/usr/bin/python
"""Documentation of the action gpuprep.core.fleet_provision."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: fleet_provision
short_description: Launch, start, stop or terminate the hosts of a fleet on Oracle Cloud Infrastructure
description:
  - Runs on the controller, once for the play, whatever its hosts are.
  - Members are known by their tags, and a launch has a retry token that follows from what is asked for, so nothing is launched
    twice and no state file is needed.
  - Waits until the hosts run, answer to ssh with the host keys that their consoles told, and cloud-init is done.
  - Instances that do not carry the fleet's tags are never touched. A setting that differs on a living instance is told, never
    replaced.
author: The gpuprep project (@gpuprep)
options:
  file:
    description: Path of a fleet file. Either this or O(fleet) is needed.
    type: path
  fleet:
    description: What a fleet file says, as a mapping.
    type: dict
  state:
    description: What is to become of the members, instead of what the fleet says.
    type: str
    choices: [present, running, stopped, absent]
  options:
    description: How to sign in, with the names of the options of the inventory plugin P(gpuprep.core.oci#inventory).
    type: dict
attributes:
  check_mode:
    support: full
    description: Says what would be launched where; asks OCI only.
  diff_mode:
    support: none
    description: There are no texts to compare.
"""

EXAMPLES = r"""
- name: Launch the fleet
  gpuprep.core.fleet_provision:
    file: fleet.yml
"""

RETURN = r"""
members:
  description: What became of each member, by name, with OCID, state, place and address.
  type: dict
  returned: unless the fleet is refused
details:
  description: Image, subnet and places, where they were looked up.
  type: dict
  returned: unless the fleet is refused
exit_code:
  description: What the command line would exit with.
  type: int
  returned: always
"""
