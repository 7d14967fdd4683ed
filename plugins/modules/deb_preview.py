#!/usr/bin/python
"""What an apt transaction would do, before it does it."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: deb_preview
short_description: Make sure that an apt transaction can be done and touches no kernel
description:
  - Waits for the package manager's locks and names their holder when they are not released.
  - Refreshes the package index only when asked to, or when a wanted package or version is not in it.
  - Simulates the transaction and fails when it cannot be done, or when it would install, upgrade or remove a kernel.
author: The gpuprep project
options:
  packages:
    description: Packages as C(apt-get install) takes them; a trailing C(-) removes.
    type: list
    elements: str
    required: true
  refresh:
    description: Refresh the package index in any case.
    type: bool
    default: false
  lock_timeout:
    description: Seconds to wait for the locks.
    type: int
    default: 600
attributes:
  check_mode:
    support: none
    description: The index cannot be refreshed without changing the host.
  diff_mode:
    support: none
    description: The transaction itself shows its changes.
"""

EXAMPLES = r"""
- name: Look at the transaction
  gpuprep.core.deb_preview:
    packages: [nvidia-open-580, libcuda1=580.95.05-*]
"""

RETURN = r"""
refreshed:
  description: Whether the package index was read again.
  type: bool
  returned: always
installs:
  description: Packages that would be installed or changed, with their new version.
  type: dict
  returned: always
removes:
  description: Packages that would be removed.
  type: list
  elements: str
  returned: always
"""

import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpuprep.core.plugins.module_utils._apt_locks import holder

KERNEL = re.compile(r"^linux-(image|modules|generic|oracle|virtual|aws|azure|gcp)(-|$)")
MISSING = re.compile(
    r"E: (Unable to locate package|Version '.*' for '.*' was not found|Package '.*' has no)"
)
ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def wait_for_locks(module):
    """Wait until nobody works on packages, or fail and name who does."""
    deadline = time.time() + module.params["lock_timeout"]
    while True:
        found = holder()
        if found is None:
            return
        if time.time() >= deadline:
            module.fail_json(
                msg="the package manager is still locked after %d s: %s is held by %s (pid %s)."
                " Nothing was changed; let it end, or raise gpuprep_lock_timeout."
                % (module.params["lock_timeout"], found["path"], found["command"], found["pid"])
            )
        time.sleep(1)


def refresh(module):
    """Read the package index again; a failed source is a failure here, unlike for apt-get."""
    code, out, err = module.run_command(
        ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"],
        environ_update=ENVIRONMENT,
    )
    if code != 0:
        lines = [line for line in (out + err).splitlines() if line.startswith(("E:", "Err:", "W:"))]
        module.fail_json(
            msg="the package index cannot be refreshed: " + "; ".join(lines[-6:]), rc=code
        )


def simulate(module):
    """Simulated transaction: exit code and output."""
    command = [
        "apt-get",
        "install",
        "-s",
        "-q",
        "--no-install-recommends",
        "--allow-downgrades",
        "--allow-change-held-packages",
        "--",
    ]
    code, out, err = module.run_command(
        command + module.params["packages"], environ_update=ENVIRONMENT
    )
    return code, out, err


def main():
    """Preview the transaction."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "refresh": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=False,
    )
    wait_for_locks(module)
    refreshed = module.params["refresh"]
    if refreshed:
        refresh(module)
    code, out, err = simulate(module)
    if code != 0 and not refreshed and MISSING.search(err):
        refresh(module)
        refreshed = True
        code, out, err = simulate(module)
    if code != 0:
        lines = [line for line in (out + "\n" + err).splitlines() if line.strip()]
        reasons = [line for line in lines if line.startswith(("E:", " ", "Depends"))] or lines
        module.fail_json(
            msg="apt cannot do the transaction, nothing was changed: " + " ".join(reasons[-12:]),
            packages=module.params["packages"],
            rc=code,
        )
    installs = dict(re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", out, re.M))
    removes = re.findall(r"^(?:Remv|Purg) (\S+)", out, re.M)
    kernels = sorted(name for name in set(installs) | set(removes) if KERNEL.match(name))
    if kernels:
        module.fail_json(
            msg="the transaction would change the kernel (%s), which gpuprep never does unasked."
            " Nothing was changed; update the kernel and reboot first, then run again."
            % ", ".join(kernels)
        )
    module.exit_json(changed=False, refreshed=refreshed, installs=installs, removes=removes)


if __name__ == "__main__":
    main()
