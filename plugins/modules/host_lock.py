#!/usr/bin/python
"""A lease on a host, so that two runs do not work on it at once."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: host_lock
short_description: A lease on a host against two runs at once
description:
  - Takes or gives back a lease in C(/run/gpuprep), which a reboot clears.
  - A lease of a run that has ended without giving it back is taken over by the next run from the same controller, or when it expires.
author: The gpuprep project
options:
  state:
    description: Take the lease, or give it back.
    type: str
    choices: [present, absent]
    default: present
  run:
    description: Identity of the run. Set by the action.
    type: str
  holder:
    description: Who runs it, in words. Set by the action.
    type: str
  take_over:
    description: Identity of a run whose lease is taken over. Set by the action.
    type: str
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
  gpuprep.core.host_lock:
"""

RETURN = r"""
held_by:
  description: Who holds the lease, when it is not this run.
  type: dict
  returned: when the lease could not be taken
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule

DIRECTORY = "/run/gpuprep"
PATH = DIRECTORY + "/lease.json"


def current():
    """The lease that is there, None when there is none or it cannot be read."""
    try:
        with open(PATH) as handle:
            return json.load(handle)
    except (IOError, OSError, ValueError):
        return None


def take(lease):
    """Write the lease if nobody has one; whether that worked."""
    temporary = "%s.%d" % (PATH, os.getpid())
    with open(temporary, "w") as handle:
        json.dump(lease, handle)
    try:
        os.link(temporary, PATH)  # atomic, and fails when the lease exists
    except OSError:
        return False
    else:
        return True
    finally:
        os.unlink(temporary)


def main():
    """Take or give back the lease."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "run": {"type": "str"},
            "holder": {"type": "str"},
            "take_over": {"type": "str"},
            "seconds": {"type": "int", "default": 14400},
        },
        supports_check_mode=True,
    )
    setting = module.params
    if module.check_mode:
        module.exit_json(changed=False)
    there = current()
    mine = there is not None and there["run"] == setting["run"]
    if setting["state"] == "absent":
        if mine:
            os.unlink(PATH)
        module.exit_json(changed=False)
    if mine:
        module.exit_json(changed=False)
    if not os.path.isdir(DIRECTORY):
        os.makedirs(DIRECTORY, 0o755)
    stale = there and (there["expires"] < time.time() or there["run"] == setting["take_over"])
    if stale or (there is None and os.path.exists(PATH)):
        os.unlink(PATH)
    lease = {
        "run": setting["run"],
        "holder": setting["holder"],
        "expires": time.time() + setting["seconds"],
    }
    if not take(lease):
        module.exit_json(changed=False, held_by=current() or {})
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
