#!/usr/bin/python
"""Why a package transaction failed, in words."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: package_diagnosis
short_description: Say why a package transaction failed and how to fix it
description:
  - Read-only. Looks at DKMS build logs, dpkg's database and locks after a failed transaction.
  - Quotes the first compiler error of a module that did not build and gives the commands that repair dpkg.
author: The gpuprep project
options:
  since:
    description: Only build logs not older than this many seconds are quoted.
    type: int
    default: 7200
attributes:
  check_mode:
    support: full
    description: The module only reads.
  diff_mode:
    support: none
    description: Nothing is changed.
"""

EXAMPLES = r"""
- name: Find out why the transaction failed
  gpuprep.core.package_diagnosis:
"""

RETURN = r"""
summary:
  description: What was found, in sentences; empty when nothing explains the failure.
  type: str
  returned: always
compiler_error:
  description: First error line of the newest failed module build.
  type: str
  returned: always
broken:
  description: Packages that dpkg has not completely installed, with their state.
  type: dict
  returned: always
remedy:
  description: Commands that bring dpkg back to a whole state.
  type: list
  elements: str
  returned: always
"""

import glob
import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpuprep.core.plugins.module_utils._apt_locks import holder
from ansible_collections.gpuprep.core.plugins.module_utils._packages import rows

ERROR = re.compile(r"(\berror:|fatal error|^ERROR|undefined!|No rule to make target)", re.I)


def first_compiler_error(since):
    """Path of the newest DKMS log with an error, and its first error line."""
    logs = [p for p in glob.glob("/var/lib/dkms/*/*/build/make.log") if os.path.isfile(p)]
    logs += glob.glob("/var/lib/dkms/*/*/*/*/log/make.log")
    for path in sorted(logs, key=os.path.getmtime, reverse=True):
        if os.path.getmtime(path) < time.time() - since:
            continue
        with open(path, "rb") as handle:
            for raw in handle:
                line = raw.decode("utf-8", "replace").strip()
                if ERROR.search(line):
                    return path, line
    return None, None


def broken_packages(module):
    """Packages in a state between absent and installed."""
    whole = ("installed", "not-installed", "config-files")
    return {
        row[0]: row[1] for row in rows(module, "Package", "db:Status-Status") if row[1] not in whole
    }


def main():
    """Look at what a failed transaction left behind."""
    module = AnsibleModule(
        argument_spec={"since": {"type": "int", "default": 7200}}, supports_check_mode=True
    )
    log, error = first_compiler_error(module.params["since"])
    broken = broken_packages(module)
    lock = holder()
    parts, remedy = [], []
    if error:
        parts.append("The kernel module did not compile; first error: %s (%s)." % (error, log))
    if broken:
        names = ", ".join("%s (%s)" % item for item in sorted(broken.items()))
        parts.append("dpkg has not finished with: %s." % names)
        remedy = ["dpkg --configure -a", "apt-get -f install"]
        if error:
            parts.append(
                "The driver does not build for this kernel: choose another branch or kernel,"
            )
            remedy = ["apt-get remove --purge " + " ".join(sorted(broken)), "dpkg --audit"]
            parts.append("then remove the half-installed packages.")
        parts.append("Commands: %s" % " && ".join(remedy))
    if lock:
        parts.append("%s is held by %s (pid %s)." % (lock["path"], lock["command"], lock["pid"]))
    module.exit_json(
        changed=False,
        summary=" ".join(parts),
        compiler_error=error or "",
        broken=broken,
        remedy=remedy,
    )


if __name__ == "__main__":
    main()
