"""Fixtures: the fleet `tests`, converged once per session; copies of it for every test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import EL_FLEET, SNAPSHOT, UBUNTU_FLEET, FirstRun, Fresh, Lab, Restore, TakenRun
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
        return _shared_fleet(REPOSITORY / path) or path


@cache
def _shared_fleet(path: Path) -> str:
    """Return the fleet whose converged hosts the file's tests share."""
    fixtures = {"fleet": r"\b(first_run|restore)\b", EL_FLEET: r"\bel_(run|restore)\b"}
    fixtures[UBUNTU_FLEET] = r"\bub_(run|restore)\b"
    text = path.read_text()
    return next((name for name, used in fixtures.items() if re.search(used, text)), "")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHosts:
    """Return what hands files to workers; with pytest 9.2 ``--dist loadgroup`` has no effect."""
    return ByHosts(config, log)


@pytest.fixture(autouse=True)
def no_open_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test begin without connections that another one has left open."""
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield


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
    return take(lab, *lab.specs())


def take(lab: Lab, *specs: HostSpec) -> FirstRun:
    """Take hosts from bare to converged, check mode first; keep snapshots."""
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
    return lambda name: bring_back(first_run, name)


def bring_back(run: FirstRun, name: str) -> str:
    """Replace a host by its snapshot of right after the first run."""
    assert name in run.good, run.applied.hosts[name]
    hosts.restore(name, f"{SNAPSHOT}-{name}")
    hosts.wait_ready(name)
    return name


@pytest.fixture(scope="session")
def el_run(lab: Lab) -> Iterator[TakenRun]:
    """Take a host of Enterprise Linux from bare to converged when a test first asks for it."""
    taken: dict[str, FirstRun] = {}

    def run(name: str) -> FirstRun:
        if name not in taken:
            taken[name] = take(lab, *lab.specs(name, of=EL_FLEET))
        return taken[name]

    yield run
    hosts.stop_all(taken)


@pytest.fixture(scope="session")
def el_restore(el_run: TakenRun) -> Restore:
    """Bring a host of Enterprise Linux back to what it was right after its first run."""
    return lambda name: bring_back(el_run(name), name)


@pytest.fixture(scope="session")
def ub_run(lab: Lab) -> Iterator[TakenRun]:
    """Take a host of Ubuntu from bare to converged when a test first asks for it."""
    taken: dict[str, FirstRun] = {}

    def run(name: str) -> FirstRun:
        if name not in taken:
            taken[name] = take(lab, *lab.specs(name, of=UBUNTU_FLEET))
        return taken[name]

    yield run
    hosts.stop_all(taken)


@pytest.fixture(scope="session")
def ub_restore(ub_run: TakenRun) -> Restore:
    """Bring a host of Ubuntu back to what it was right after its first run."""

    def back(name: str) -> str:
        bring_back(ub_run(name), name)
        # What udev starts once the driver's module is loaded, which no container loads.
        unit = "nvidia-persistenced"
        script = f"test $(systemctl is-enabled {unit}) != static || systemctl start {unit}"
        assert hosts.run(name, ["sh", "-c", script]).returncode == 0
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
