"""The archive of a host: complete, private, without secrets."""

from __future__ import annotations

import json
import stat
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.errors import ConfigError
from gpuprep.on_host.probe import diagnose
from gpuprep.run.bundle import Diagnosis, pack

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
    path = pack(Diagnosis("gpu-1", ANSWER), tmp_path, {"schema": 1}, WHEN)
    assert path.name == "gpuprep-gpu-1-20261121T020000Z.tar.gz"
    found = members(path)
    assert "installed" in found["commands/00-dkms-status.txt"]
    assert "[cut off]" in found["commands/01-nvidia-smi-q.txt"]
    assert "Xid" in found["kernel-log.txt"]
    assert json.loads(found["report.json"]) == {"schema": 1}


def test_archive_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = pack(Diagnosis("gpu-1", ANSWER), tmp_path, None, WHEN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_masked_by_name_and_in_urls(tmp_path: Path) -> None:
    found = members(pack(Diagnosis("gpu-1", ANSWER), tmp_path, None, WHEN))
    assert MARKER not in "".join(found.values())
    assert "mirror/ubuntu" in found["files/etc/apt/sources.list.d/mirror.list"]
    assert "quiet" in found["files/proc/cmdline"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b/c", "..", "-x"])
def test_names_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = pack(Diagnosis(name, ANSWER), tmp_path, None, WHEN)
    assert path.parent == tmp_path
    with tarfile.open(path) as archive:
        for member in archive:
            place = (tmp_path / member.name).resolve()
            assert place.is_relative_to(tmp_path), member.name
            assert place != tmp_path
            assert member.isfile() or member.isdir(), member.name


def test_host_that_could_not_be_asked_has_an_archive_that_says_so(tmp_path: Path) -> None:
    found = members(pack(Diagnosis("gpu-1", {}, "no route to host"), tmp_path, None, WHEN))
    assert "no route to host" in found["README.txt"]


def test_archive_never_replaces_another(tmp_path: Path) -> None:
    pack(Diagnosis("gpu-1", ANSWER), tmp_path, None, WHEN)
    with pytest.raises(ConfigError, match="exists"):
        pack(Diagnosis("gpu-1", ANSWER), tmp_path, None, WHEN)


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
