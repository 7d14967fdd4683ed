"""What the tests of Ubuntu's hosts share: eyes for its packages and modules, and its archive."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lab import failed_checks

from gpuprep.model import HostStatus
from sandbox import hosts, servers

if TYPE_CHECKING:
    from lab import Lab

    from gpuprep.model import HostResult


def packages(lab: Lab, name: str) -> dict[str, str]:
    """Return the driver's packages that are installed, with their version."""
    form = "${db:Status-Abbrev} ${Package} ${Version}\\n"
    rows = [line.split() for line in lab.run(name, "dpkg-query", "-W", "-f", form).splitlines()]
    return {row[1]: row[2] for row in rows if "nvidia" in row[1] and row[0][1:] == "i"}


def held(lab: Lab, name: str) -> set[str]:
    """Return the packages that are held."""
    return set(lab.run(name, "apt-mark", "showhold").split())


def modules(lab: Lab, name: str) -> list[str]:
    """Return the files of the driver's main module, for all kernels."""
    return lab.sh(name, "find /lib/modules -name 'nvidia.ko*' | sort").split()


def archive(lab: Lab, name: str, system: str, state: str) -> None:
    """Lead a host to its archive as it is after updates."""
    for path, text in servers.distributions([system], archive=state)[system].items():
        hosts.write_file(name, path, text)
    lab.sh(name, "apt-get -qq update")


def reboot(lab: Lab, name: str) -> None:
    """Let a host restart, and wait until it is back."""
    start = "awk '{print $22}' /proc/1/stat"
    before = lab.sh(name, start)
    hosts.run(name, ["systemctl", "reboot"])
    deadline = time.monotonic() + 120
    while hosts.run(name, ["sh", "-c", start]).stdout in {before, ""}:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    hosts.wait_ready(name)


def prepared(host: HostResult) -> bool:
    """Assert that a host is prepared and failed no check."""
    assert host.error is None
    assert (host.state, failed_checks(host)) == (HostStatus.PREPARED, [])
    return True
