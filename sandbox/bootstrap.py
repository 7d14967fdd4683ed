"""Make this machine able to run the sandbox: packages, one kernel setting, podman's settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox import podman
from sandbox.paths import SandboxError, locked

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGES: Final = (
    "podman",
    "runc",
    "netavark",
    "aardvark-dns",
    "mmdebstrap",
    "apt-utils",
    "dpkg-dev",
    "gcc",
    "gnupg",
    "iptables",
    "iproute2",
    "e2fsprogs",
    "libc6-dev",
    "openssh-client",
)
# Of no use to the sandbox: a browser for the report's page, and what tests call to judge.
FOR_TESTS: Final = ("chromium", "kmod", "patch", "systemd")
# systemd in every host takes some; with the default of 128 about 20 hosts boot, the rest hang.
INOTIFY_INSTANCES: Final = 8192
_INOTIFY: Final = Path("/proc/sys/fs/inotify/max_user_instances")


def missing(packages: Iterable[str]) -> tuple[str, ...]:
    """Those of ``packages`` that dpkg does not have installed."""
    wanted = tuple(packages)
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,  # it fails when one is unknown and lists the others all the same
    )
    installed = {
        line.split()[0] for line in listed.stdout.splitlines() if line.endswith(" installed")
    }
    return tuple(name for name in wanted if name not in installed)


def install(packages: Iterable[str]) -> None:
    """Install those of ``packages`` that are missing, with this machine's own apt.

    Raises:
        SandboxError: apt-get failed; its last lines are quoted.

    """
    absent = missing(packages)
    if not absent:
        return
    print(f"installing {' '.join(absent)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "--quiet", "update"],
        ["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", *absent],
    ):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
            raise SandboxError(f"{' '.join(command)}: exit {done.returncode}:\n{tail}")


def ensure(*more: str) -> None:
    """Bring this machine to the state the sandbox needs; quick when it already is.

    Args:
        more: packages to install beside those of the sandbox.

    Raises:
        SandboxError: not root, no apt, or a package cannot be installed.

    """
    if os.geteuid() != 0:
        raise SandboxError("the sandbox starts system containers: run it as root")
    if not Path("/usr/bin/dpkg-query").exists():
        raise SandboxError("the sandbox needs a Debian machine: dpkg is not here")
    with locked("bootstrap"):
        install((*PACKAGES, *more))
        if int(_INOTIFY.read_text()) < INOTIFY_INSTANCES:
            _INOTIFY.write_text(str(INOTIFY_INSTANCES))
        podman.configure()
