"""Testinfra's side of all scenarios: hosts past ssh, checks by the ids that reports use.

Molecule runs pytest in a scenario's folder; the hosts are containers of the sandbox.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import testinfra
import yaml
from installed import Packages

from gpuprep.ladder.checks import BY_ID
from sandbox import hosts, podman

if TYPE_CHECKING:
    from testinfra.host import Host


def pytest_configure(config: pytest.Config) -> None:
    """Let podman, called by testinfra, see the sandbox's hosts."""
    config.addinivalue_line("markers", "proves(id): the check of the ladder that a test proves")
    os.environ.update(podman.environment())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on each host of the scenario."""
    if "host" in metafunc.fixturenames:
        document = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text())
        names = [platform["name"] for platform in document["platforms"]]
        metafunc.parametrize("host", names, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that claims to prove a check the ladder does not have."""
    for item in items:
        for mark in item.iter_markers("proves"):
            if mark.args[0] not in BY_ID:
                raise pytest.UsageError(f"{item.nodeid}: no check {mark.args[0]!r}")


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Host:
    """Return a host of the scenario, reached through podman: ten times faster than Ansible."""
    return testinfra.get_host(f"podman://{hosts.find(request.param).container}")


@pytest.fixture
def packages(host: Host) -> Packages:
    """Return the packages of a host, whatever its package manager."""
    if host.exists("dpkg-query"):
        lines = host.check_output("dpkg-query -W -f '${Package} ${Version}\\n'").splitlines()
        held = host.check_output("apt-mark showhold").split()
        return Packages(dict(line.split() for line in lines), frozenset(held), rpm=False)
    form = "%{NAME} %|EPOCH?{%{EPOCH}}:{0}|:%{VERSION}-%{RELEASE} %{ARCH}\\n"
    rows = [line.split() for line in host.check_output(f"rpm -qa --qf '{form}'").splitlines()]
    locks = host.run("cat /etc/dnf/plugins/versionlock.list").stdout.splitlines()
    locked = {
        name
        for name, version, arch in rows
        # dnf reads a line with the release and without, with the architecture and without.
        for end in ("", f".{arch}")
        for one in (f"{name}-{version}{end}", f"{name}-{version.rpartition('-')[0]}")
        if any(fnmatchcase(one, line) for line in locks)
    }
    return Packages({name: version for name, version, _ in rows}, frozenset(locked), rpm=True)
