"""The archive of a host: complete, private, without secrets."""

from __future__ import annotations

import errno
import json
import re
import stat
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest

from gpuprep import cli
from gpuprep.errors import ConfigError, ExitCode
from gpuprep.on_host.probe import diagnose
from gpuprep.run.bundle import Diagnosis, pack, read_answer

if TYPE_CHECKING:
    from pathlib import Path

WHEN = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
MARKER = "s3cret-marker"
ANSWER: dict[str, Any] = {
    "commands": [
        {"argv": ["dkms", "status"], "rc": 0, "output": "nvidia/580.95.05: installed\n"},
        {"argv": ["nvidia-smi", "-q"], "rc": None, "timed_out": True, "output": ""},
    ],
    "files": {
        "/etc/apt/sources.list.d/mirror.list": f"deb https://user:{MARKER}@mirror/ubuntu ./\n",
        "/proc/cmdline": f"root=/dev/sda1 api_token={MARKER} quiet\n",
        "/etc/../../escape": "x",
    },
    "kernel_log": ["NVRM: Xid (PCI:0000:2d:00): 79"],
    "device_nodes": ["/dev/nvidia0 20666"],
}


def members(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            member.name.split("/", 1)[1]: archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in archive
        }


def test_archive_holds_what_the_host_said(tmp_path: Path) -> None:
    path = pack(read_answer("gpu-1", ANSWER), tmp_path, {"schema": 1}, WHEN)
    assert path.name == "gpuprep-gpu-1-20261121T020000Z.tar.gz"
    found = members(path)
    assert "installed" in found["commands/00-dkms-status.txt"]
    assert "[cut off]" in found["commands/01-nvidia-smi-q.txt"]
    assert "Xid" in found["kernel-log.txt"]
    assert json.loads(found["report.json"]) == {"schema": 1}


def test_archive_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = pack(read_answer("gpu-1", ANSWER), tmp_path, None, WHEN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_masked_by_name_and_in_urls(tmp_path: Path) -> None:
    found = members(pack(read_answer("gpu-1", ANSWER), tmp_path, None, WHEN))
    assert MARKER not in "".join(found.values())
    assert "mirror/ubuntu" in found["files/etc/apt/sources.list.d/mirror.list"]
    assert "quiet" in found["files/proc/cmdline"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b/c", "..", "-x"])
def test_names_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = pack(read_answer(name, ANSWER), tmp_path, None, WHEN)
    assert path.parent == tmp_path
    with tarfile.open(path) as archive:
        for member in archive:
            place = (tmp_path / member.name).resolve()
            assert place.is_relative_to(tmp_path), member.name
            assert place != tmp_path
            assert member.isfile() or member.isdir(), member.name


def test_host_that_could_not_be_asked_has_an_archive_that_says_so(tmp_path: Path) -> None:
    found = members(pack(Diagnosis("gpu-1", error="no route to host"), tmp_path, None, WHEN))
    assert "no route to host" in found["README.txt"]


def test_archive_never_replaces_another(tmp_path: Path) -> None:
    pack(read_answer("gpu-1", ANSWER), tmp_path, None, WHEN)
    with pytest.raises(ConfigError, match="exists"):
        pack(read_answer("gpu-1", ANSWER), tmp_path, None, WHEN)


WHOLE: dict[str, Any] = {"commands": [], "files": {}, "kernel_log": [], "device_nodes": []}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "cannot be read"),
        ("[" * 200_000, "cannot be read"),
        ("[1, 2]", "no object but a list"),
        ("null", "no object but nothing"),
        ("{}", "commands: expected a list, found nothing"),
        ({**WHOLE, "commands": 5}, "commands: expected a list, found a int"),
        ({**WHOLE, "commands": [None]}, "number 0: expected a dict, found nothing"),
        ({**WHOLE, "commands": [{"argv": 3, "output": "x"}]}, "no program is named"),
        ({**WHOLE, "commands": [{"argv": ["x"], "output": 3}]}, r"\(x\): output: expected a str"),
        ({**WHOLE, "commands": [{"argv": ["x"]}] * 1001}, "only the first 1000 of 1001"),
        ({**WHOLE, "files": ["x"]}, "files: expected a dict, found a list"),
        ({**WHOLE, "files": {"/x": None}}, "files: /x: expected a str, found nothing"),
        ({**WHOLE, "kernel_log": "x"}, "kernel_log: expected a list"),
        ({**WHOLE, "device_nodes": [{}]}, "device_nodes: a line: expected a str"),
    ],
)
def test_an_odd_answer_is_named_and_the_rest_of_it_kept(
    said: Any, words: str, tmp_path: Path
) -> None:
    kept = {"files": {"/kept": "kept"}} if isinstance(said, dict) and said["files"] == {} else {}
    diagnosis = read_answer("gpu-1", {**said, **kept} if kept else said)
    assert re.search(words, diagnosis.problem or "")
    found = members(pack(diagnosis, tmp_path, None, WHEN))
    assert diagnosis.problem is not None
    assert diagnosis.problem.partition("; ")[0] in found["README.txt"]
    if kept:
        assert found["files/kept"] == "kept"


def test_control_characters_of_a_host_stay_out_of_its_archive(tmp_path: Path) -> None:
    hostile = "a\x1b]0;title\x07\x1b[2J\ud800\x85"
    said = {**WHOLE, "files": {f"/{hostile}": hostile}, "kernel_log": [hostile]}
    said["commands"] = [{"argv": [hostile], "output": hostile, "rc": 0}]
    diagnosis = read_answer("gpu-1", said)
    assert diagnosis.problem is None
    for name, text in members(pack(diagnosis, tmp_path, None, WHEN)).items():
        assert "\x1b" not in name + text
        assert "\x85" not in name + text


def test_half_an_archive_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(ConfigError, match="No space left"):
        pack(read_answer("gpu-1", ANSWER), tmp_path, None, WHEN)
    assert list(tmp_path.iterdir()) == []


# --- on the host --------------------------------------------------------------------------------
def test_collecting_leaves_out_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "dpkg.log"
    log.write_text("x" * diagnose.LOG_BYTES + "the end\n")
    monkeypatch.setattr(diagnose, "COMMANDS", ("uname -a", "no-such-program --at-all"))
    monkeypatch.setattr(diagnose, "FILES", (str(tmp_path / "none"), "/proc/version"))
    monkeypatch.setattr(diagnose, "LOGS", (str(log),))
    answer = diagnose.collect()
    assert [command["argv"] for command in answer["commands"]] == [["uname", "-a"]]
    assert set(answer["files"]) == {str(log), "/proc/version"}
    assert answer["files"][str(log)].endswith("the end\n")
    assert len(answer["files"][str(log)]) == diagnose.LOG_BYTES
    assert "Linux" in answer["files"]["/proc/version"]


# --- the fleet ------------------------------------------------------------------------------------
def test_an_odd_host_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hosts are local; the program that collects answers as it likes."""
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs")
    said = {"well": json.dumps(WHOLE), "list": "[1,2]", "mute": "", "deep": "[" * 200_000}
    said["long"] = "x" * (9 << 20)
    hosts: dict[str, dict[str, object]] = {}
    for name, text in said.items():
        (tmp_path / f"{name}.txt").write_text(text)
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ncat >/dev/null\ncat {program}.txt\n")
        program.chmod(0o755)
        hosts[name] = {
            **fleet_rig.LOCAL,
            "ansible_become": False,
            "ansible_python_interpreter": str(program),
        }
    hosts["unread"] = {}
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/unread.yml").write_text("x: {")
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    to = tmp_path / "to"
    to.mkdir()
    arguments = ["bundle", "-i", str(inventory), "--to", str(to), "-e", f"rig={rig.folder}", *hosts]
    assert cli.run(arguments) == ExitCode.SOME_HOSTS_FAILED
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == len(hosts)
    assert {
        line.split(": ")[1] for line in told.err.splitlines() if line.startswith("gpuprep: ")
    } == {
        "list",
        "mute",
        "deep",
        "long",
        "unread",
    }
    assert "unread: its variables cannot be read" in told.err
    assert "longer than 8 MiB" in told.err
    assert len(list(to.iterdir())) == len(hosts)
