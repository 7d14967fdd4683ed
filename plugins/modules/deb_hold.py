#!/usr/bin/python
"""Hold all installed packages that match patterns."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: deb_hold
short_description: Hold every installed Debian package whose name matches
description:
  - Marks all matching installed packages as held in one call, so that no upgrade can move one of them alone.
author: The gpuprep project
options:
  patterns:
    description: Shell patterns of names; a leading C(!) excludes.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: Reports what would be held.
  diff_mode:
    support: none
    description: The result lists the packages.
"""

EXAMPLES = r"""
- name: Hold the driver as a whole
  gpuprep.core.deb_hold:
    patterns: ["libnvidia-*", "nvidia-*", "!nvidia-container-*"]
"""

RETURN = r"""
held:
  description: Packages that were (or would be) newly held.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpuprep.core.plugins.module_utils._packages import matches, rows


def main():
    """Hold what is not held."""
    module = AnsibleModule(
        argument_spec={"patterns": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    names = sorted(
        {
            name
            for name, setting, state in rows(
                module, "Package", "db:Status-Want", "db:Status-Status"
            )
            if state == "installed"
            and setting != "hold"
            and matches(name, module.params["patterns"])
        }
    )
    if names and not module.check_mode:
        module.run_command(["apt-mark", "hold"] + names, check_rc=True)
    module.exit_json(changed=bool(names), held=names)


if __name__ == "__main__":
    main()
