"""Fixtures: the fleet `tests`, converged once per session; copies of it for every test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import SNAPSHOT, FirstRun, Fresh, Lab, Restore
from xdist.scheduler.loadscope import LoadScopeScheduling

from gpuprep.model import HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]


class ByHosts(LoadScopeScheduling):  # type: ignore[misc]
    """One worker for each file, and one for all files that share the fleet."""

    @staticmethod
    def _split_scope(nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "fleet" if _shares_the_fleet(REPOSITORY / path) else path


@cache
def _shares_the_fleet(path: Path) -> bool:
    return re.search(r"\b(first_run|restore)\b", path.read_text()) is not None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHosts:
    """Return what hands files to workers; with pytest 9.2 ``--dist loadgroup`` has no effect."""
    return ByHosts(config, log)


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
