#!/usr/bin/python
"""Documentation of the action gpuprep.core.reboot."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: reboot
short_description: Reboot a host and wait until it has booted anew
description:
  - Works with plain commands over the host's own connection, so that a host needs no newer Python than gpuprep does.
  - Never reboots on a C(local) connection.
  - Where SELinux enforces a policy, the host is observed before. It is not rebooted, and the task fails with
    C(E_INITRAMFS_DENIED), when since the boot something was denied to a program that makes the initial RAM disk.
author: The gpuprep project (@gpuprep)
options:
  timeout:
    description: Seconds to wait for the host.
    type: int
    default: 900
  boot_time_command:
    description: Command whose output changes with a reboot.
    type: str
    default: cat /proc/sys/kernel/random/boot_id
  msg:
    description: Told to users that are logged in, where the system's reboot command takes a message.
    type: str
    default: gpuprep reboots this host
attributes:
  check_mode:
    support: full
    description: Nothing is rebooted.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Reboot into the installed driver
  gpuprep.core.reboot:
    timeout: 1200
"""

RETURN = r"""
rebooted:
  description: Whether the host was rebooted.
  type: bool
  returned: success
elapsed:
  description: Seconds until it answered again.
  type: int
  returned: when it was rebooted
"""
