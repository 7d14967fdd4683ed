"""Fixtures: the fleet `tests`, converged once per session; copies of it for every test."""

from __future__ import annotations

import os
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import SNAPSHOT, FirstRun, Fresh, Lab, Restore

from gpuprep.model import HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together, for parallel workers, what shares hosts: the fleet, or a module's own."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        group = "fleet" if "first_run" in names else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return gpuprep's wheel, built by way of the source distribution, as a release is made."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return the sandbox, ready to start hosts."""
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def first_run(lab: Lab) -> FirstRun:
    """Take the whole fleet from bare to converged once, check mode first; keep snapshots."""
    specs = lab.specs()
    lab.start(*specs)
    names = tuple(spec.name for spec in specs)
    bare = {name: lab.state(name, inf) for name in names}
    checked = lab.check(*names)
    untouched = {name: lab.state(name, inf) for name in names}
    applied = lab.apply(*names)
    good = tuple(n for n, host in applied.hosts.items() if host.state is HostStatus.PREPARED)
    for name in good:
        hosts.snapshot(name, f"{SNAPSHOT}-{name}")
    return FirstRun(names, bare, checked, untouched, applied, good)


@pytest.fixture(scope="session")
def restore(first_run: FirstRun) -> Restore:
    """Bring a host back to what it was right after the first run."""

    def back(name: str) -> str:
        assert name in first_run.good, first_run.applied.hosts[name]
        hosts.restore(name, f"{SNAPSHOT}-{name}")
        hosts.wait_ready(name)
        return name

    return back


@pytest.fixture
def fresh(lab: Lab) -> Iterator[Fresh]:
    """Start bare hosts that live as long as the test."""
    started: list[str] = []

    def new(**entry: Any) -> str:
        # Another run of the tests may use the same sandbox.
        name = f"x-{os.getpid()}-{len(started)}"
        started.append(name)
        lab.start(HostSpec.from_dict(name, entry))
        return name

    yield new
    hosts.stop_all(started)
