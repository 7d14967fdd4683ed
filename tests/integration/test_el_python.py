"""A host whose only Python is 3.6, as on Enterprise Linux 8: observed over ssh and left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.el.systems import SYSTEMS

if TYPE_CHECKING:
    from lab import Fresh, Lab

pytestmark = pytest.mark.sandbox

OL8 = SYSTEMS["ol-8"]
# What a login leaves behind: ssh's and sudo's own, and journals.
OF_LOGINS = ("/var/lib/sudo", "/var/lib/systemd", "/home")


def test_it_is_observed_and_planned_and_nothing_on_it_changes(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ol-8", gpus=["10de:1db1"], shape="VM.GPU3.1")
    found = lab.sh(name, "ls /usr/bin/python3.* /usr/local/bin/python3* 2> /dev/null || :")
    assert found == ""
    told = lab.sh(name, "python3 --version; readlink /usr/bin/python3").split()
    assert told == ["Python", "3.6.8", "/usr/libexec/platform-python"]
    before = lab.state(name)
    planned = lab.plan(name).hosts[name]
    assert planned.facts, planned.error
    assert (planned.facts.os, planned.facts.kernel) == ("ol-8", OL8.kernels[0].uname)
    assert lab.commands(name) == 1
    assert lab.state(name).differences(before, without=OF_LOGINS) == set()


def test_every_package_and_lock_is_part_of_a_hosts_state(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ol-8")
    before = lab.state(name)
    assert before.packages["kernel-uek-core"].startswith(OL8.kernels[0].release)
    lab.sh(name, "dnf -qy install python3-dnf-plugin-versionlock libmnl-devel --enablerepo='*'")
    lab.sh(name, "dnf -q versionlock add --raw 'nvidia-driver-3:580.*'")
    changed = lab.state(name).differences(before)
    assert {"package python3-dnf-plugin-versionlock", "package libmnl-devel", "package lock"} <= (
        changed
    )
    assert "package bash" not in changed
