"""``gpuprep provision``, ``gpuprep.provision()`` and the playbook: the same fleet by each road."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from provision_rig import A10, World
from rich.console import Console
from rich.live import Live

import gpuprep
from gpuprep import cli
from gpuprep.cli import provision as command
from gpuprep.errors import ConfigError
from gpuprep.run.environment import collections_root
from sandbox.oci import keys
from sandbox.oci.server import Emulator
from sandbox.oci.tenancy import REGION, Tenancy, for_launches

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_SSH = {"ssh": False}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    own = keys.create(tmp_path / "oci", Tenancy().ocid, REGION)
    with Emulator(for_launches(), {own.key_id: own.public_key}) as running:
        monkeypatch.setenv("OCI_CONFIG_FILE", str(own.config))
        monkeypatch.setenv("GPUPREP_OCI_ENDPOINT", running.url)
        yield World(tmp_path, own, running)


@pytest.fixture
def file(world: World) -> str:
    return written(world, wait=NO_SSH)


def written(world: World, **given: Any) -> str:
    path = world.folder / "fleet.yml"
    path.write_text(json.dumps(world.fleet(**given)))
    return str(path)


def test_what_is_told_meanwhile_goes_above_a_live_view(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, beneath = io.StringIO(), io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stderr", beneath)
    with Live(console=Console(file=shown, force_terminal=True)):  # it puts itself into stderr
        command.tell("seed-001: asking")
    beneath.flush()
    assert "gpuprep: seed-001: asking" in shown.getvalue()
    assert beneath.buffer.getvalue() == b""


def test_the_command_checks_launches_and_terminates(
    world: World, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["provision", "-f", file, "--check"]) == 0
    shown = capsys.readouterr()
    assert "seed-001  would be launched  AD-1/FD-1" in shown.out
    assert "image: Debian-12-2026.08.14-0" in shown.out
    assert "AD-3: left by limits: gpu-a10-count 1000; FD-1 available" in shown.out
    assert "a stopped host costs no GPU time" in shown.out
    assert world.alive() == []
    assert cli.run(["provision", "-f", file]) == 0
    shown = capsys.readouterr()
    assert "seed-002  launched  AD-1/FD-2  10.0.0.3  RUNNING" in shown.out
    assert "gpuprep: seed-001: asking for VM.GPU.A10.1 in AD-1/FD-1" in shown.err
    assert cli.run(["provision", "-f", file, "-q", "-o", "json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert (document["changed"], document["exit_code"], shown.err) == (False, 0, "")
    assert document["members"]["seed-001"]["state"] == "RUNNING"
    assert cli.run(["provision", "-f", file, "--state", "absent"]) == 0
    assert "seed-001  terminating" in capsys.readouterr().out
    assert world.alive() == []
    assert cli.run(["provision", "-f", file, "--state", "absent"]) == 0
    assert "fleet seed has no hosts" in capsys.readouterr().out


def test_failures_are_told_with_their_remedy(
    world: World, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world.tenancy.capacity[A10] = 0
    assert cli.run(["provision", "-f", file]) == 4
    out = capsys.readouterr().out
    assert "seed-001  failed  [E_OCI_CAPACITY]" in out
    assert "ask Oracle for a capacity reservation" in out


@pytest.mark.parametrize(
    ("given", "code", "hint"),
    [
        ({"shape": "BM.GPU.MI300X.8"}, 64, "[E_AMD_SHAPE]"),
        ({"count": "x"}, 64, "count: 'x' does not fit"),
        ({"compartment": "ocid1.compartment.oc1..none"}, 69, "[E_OCI_POLICY]"),
    ],
)
def test_what_is_refused_ends_with_its_exit_code(
    world: World, given: dict[str, Any], code: int, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["provision", "-f", written(world, **given)]) == code
    shown = capsys.readouterr()
    assert hint in shown.err
    assert shown.out == ""
    assert cli.run(["provision", "-f", "/none.yml"]) == 64


def test_a_cloud_that_does_not_answer_ends_with_69(
    world: World, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpuprep.oci.client._backoff", lambda _: 0)
    world.emulator.stop()
    assert cli.run(["provision", "-f", file]) == 69
    assert "[E_OCI_BUSY]" in capsys.readouterr().err


@pytest.mark.parametrize("agreed", [True, False])
def test_a_person_is_asked_before_several_hosts_are_changed(
    world: World, file: str, monkeypatch: pytest.MonkeyPatch, *, agreed: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(command, "_somebody_answers", lambda: True)

    def confirm(text: str, **_: Any) -> bool:
        asked.append(text)
        return agreed

    monkeypatch.setattr("click.confirm", confirm)
    assert cli.run(["provision", "-f", file]) == (0 if agreed else 7)
    assert asked == ["Change 2 hosts?"]
    assert len(world.alive()) == (2 if agreed else 0)
    cli.run(["provision", "-f", file, "--yes"])
    assert asked == ["Change 2 hosts?"]
    one = written(world, wait=NO_SSH, members=[1])
    cli.run(["provision", "-f", one, "--state", "absent"])
    assert asked[1:] == ["Change 1 hosts?"]


def test_python_takes_a_file_or_a_mapping(world: World, file: str) -> None:
    told: list[str] = []
    result = gpuprep.provision(file, on_progress=told.append)
    assert result.changed
    assert told
    again = gpuprep.provision(world.fleet(wait=NO_SSH), check=True)
    assert not again.changed
    assert again.raise_for_status() is again
    world.tenancy.capacity[A10] = 0
    short = gpuprep.provision(world.fleet(wait=NO_SSH, count=3))
    with pytest.raises(gpuprep.MembersFailedError, match="not there: seed-003") as caught:
        short.raise_for_status()
    assert caught.value.exit_code == 3
    with pytest.raises(ConfigError, match="workers"):
        gpuprep.provision(file, options={"workers": 0})


def test_a_controller_that_is_killed_before_the_answer_is_followed_by_another(
    world: World, file: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuprep", "provision", "-q", "-f", file],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # The request has come, the launch is carried out, and nobody is there for the answer.
    world.emulator.once("POST /instances$", process.kill)
    assert process.wait(60) == -signal.SIGKILL
    assert cli.run(["provision", "-q", "-f", file]) == 0
    assert sorted(one["displayName"] for one in world.alive()) == ["seed-001", "seed-002"]


def test_a_run_that_is_stopped_while_it_waits_for_hosts_ends_its_logins(world: World) -> None:
    """A host that does not answer is tried for minutes; what is launched is found again."""
    ssh = world.folder / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f"#!/bin/sh\necho $$ >> {world.folder}/logins\nexec sleep 300\n")
    ssh.chmod(0o755)
    logins = world.folder / "logins"
    file = written(world)
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuprep", "provision", "-f", file],
        env={**os.environ, "PATH": f"{ssh.parent}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (logins.exists() and len(logins.read_text().split()) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == 7
    assert "gpuprep: stopping; running the same command again goes on from here" in err
    assert not any(Path("/proc", one).exists() for one in logins.read_text().split())
    assert cli.run(["provision", "-q", "-f", written(world, wait=NO_SSH)]) == 0
    assert sorted(one["displayName"] for one in world.alive()) == ["seed-001", "seed-002"]


def play(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "gpuprep.core.provision", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(world.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(collections_root()),
            "OCI_CONFIG_FILE": str(world.credentials.config),
            "GPUPREP_OCI_ENDPOINT": world.emulator.url,
        },
        cwd=world.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_playbook_launches_lists_and_refuses(world: World, file: str) -> None:
    given = ["-e", f"gpuprep_fleet_file={file}"]
    checked = play(world, *given, "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "changed=1" in checked.stdout
    assert world.alive() == []
    done = play(world, *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(world.alive()) == 2
    again = play(world, *given)
    assert "changed=0" in again.stdout
    world.tenancy.capacity[A10] = 0
    file = written(world, wait=NO_SSH, count=3)
    failed = play(world, "-e", f"gpuprep_fleet_file={file}")
    assert failed.returncode == 2
    assert "seed-003: [E_OCI_CAPACITY]" in failed.stdout
