"""A run that is stopped ends its masters and their ways to their hosts; never those in use."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ssh_rig import Lab

from gpuprep.run import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.needs("ssh", "ssh-keygen")

PATIENCE = 30  # seconds
RELAY = """
import os, socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while piece := os.read(0, 65536):
        there.sendall(piece)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while piece := there.recv(65536):
    os.write(1, piece)
"""
WAYS = ("none", "a program", "a shell's program", "a jump host")


class Runs:
    """Two runs whose connections are kept in one directory."""

    def __init__(self, lab: Lab, base: Path) -> None:
        self.lab = lab
        (base / "all").mkdir(mode=0o700)
        self.first, self.second = base / "gpuprep-1", base / "gpuprep-2"
        for each in (self.first, self.second):
            each.mkdir(mode=0o700)
            (each / "kept").symlink_to(base / "all")
        self.go = base / "go"
        self._relay = base / "relay.py"
        self._relay.write_text(RELAY)

    def start(self, run: Path, command: str, way: str) -> subprocess.Popen[bytes]:
        """Start a command on the host by ssh, as Ansible does for a run."""
        settings = (
            "ControlMaster=auto", f"ControlPath={run}/kept/m", "ControlPersist=60s", *self._way(way)
        )  # fmt: skip
        words = self.lab.command(*(w for each in settings for w in ("-o", each)), run=command)
        return subprocess.Popen(
            words,
            env={**os.environ, "GPUPREP_RUN_DIR": str(run)},
            stdin=subprocess.DEVNULL,
        )

    @contextmanager
    def working(self, run: Path, way: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command that ends well once there is a file; give it when it has begun."""
        begun = self.go.with_name("begun")
        wait = f"touch {begun}; while [ ! -e {self.go} ]; do sleep 0.1; done"
        with self.start(run, wait, way) as started:
            try:
                until(begun.exists)
                yield started
            finally:
                started.kill()
                self.go.touch()

    def _way(self, way: str) -> Iterator[str]:
        relay = f"{shlex.quote(sys.executable)} {self._relay} %h %p"
        jump = self.lab.command("-W", "%h:%p")[:-1]
        command = {
            "a program": relay,
            "a shell's program": f"sh -c {shlex.quote(f'{relay}; true')}",
            "a jump host": shlex.join(jump),
        }
        if way in command:
            yield f"ProxyCommand={command[way]}"

    def of(self, run: Path) -> list[str]:
        return sorted(process.name for process in processes.belonging_to(run))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("ssh"))
    yield made
    made.close()


@pytest.fixture
def runs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    lab.reset()
    with tempfile.TemporaryDirectory(prefix="rt-") as base:  # a socket's path is short
        made = Runs(lab, Path(base))
        yield made
        for each in (made.second, made.first):
            processes.end_all(each, grace=0.1)


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_in_use_keeps_its_way_to_the_host(runs: Runs, way: str) -> None:
    assert runs.start(runs.first, "true", way).wait(PATIENCE) == 0
    with runs.working(runs.second, way) as user:
        before = runs.of(runs.first)
        assert len(before) == {"none": 1, "a shell's program": 3}.get(way, 2)
        assert processes.end_all(runs.first, grace=0.3) == ()  # none that is to be told of
        assert runs.of(runs.first) == before
        runs.go.touch()
        assert user.wait(PATIENCE) == 0
    assert len(runs.lab.sshd.seen) == (2 if way == "a jump host" else 1)
    assert processes.end_all(runs.first) == ()
    assert runs.of(runs.first) == []  # nobody uses it any more


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_else_uses_is_ended_with_its_way(runs: Runs, way: str) -> None:
    with runs.working(runs.first, way) as user:
        assert processes.end_all(runs.first) == ()
        assert user.wait(PATIENCE) != 0
    assert runs.of(runs.first) == []


def test_what_is_no_way_of_a_connection_in_use_is_ended(runs: Runs) -> None:
    assert runs.start(runs.first, "true", "a program").wait(PATIENCE) == 0
    other = subprocess.Popen(
        ["sleep", "60"],
        env={**os.environ, "GPUPREP_RUN_DIR": str(runs.first)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other, runs.working(runs.second, "a program") as user:
        until(lambda: "sleep" in runs.of(runs.first))
        assert processes.end_all(runs.first, grace=0.3) == ()
        assert other.wait(PATIENCE) < 0
        runs.go.touch()
        assert user.wait(PATIENCE) == 0
