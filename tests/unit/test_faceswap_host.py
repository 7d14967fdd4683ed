"""What runs on hosts for jobs, beside the runner: placing files, looking, handing out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import c2pa_chain
import pytest
from faceswap_rig import material

from gpuprep.model.jobs import JobState, in_words, progress_of
from gpuprep.on_host.converge import folders
from gpuprep.on_host.converge.base import OperationError
from gpuprep.on_host.faceswap import place
from gpuprep.on_host.observe import jobs as observed
from gpuprep.workloads.faceswap import program, signing
from gpuprep.workloads.faceswap.jobs import C2pa

if TYPE_CHECKING:
    from pathlib import Path

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files get owners")


def bundle(folder: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(folder / place.BUNDLE, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/shadow"
            archive.addfile(info, io.BytesIO(data))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return what is /opt/gpuprep/faceswap on a host; its folders are made when needed."""
    monkeypatch.setattr(place, "BASE", str(tmp_path / "opt"))
    opened = os.open
    (tmp_path / "opt/inputs").mkdir(parents=True)
    monkeypatch.setattr(
        folders, "open_directory", lambda path: opened(path, os.O_RDONLY | os.O_DIRECTORY)
    )
    return tmp_path / "opt"


def test_inputs_are_kept_under_their_digests(base: Path, tmp_path: Path) -> None:
    bundle(tmp_path, (sha(b"one"), b"one"), (sha(b"two"), b"two"))
    place.take_in(str(tmp_path), [sha(b"one"), sha(b"two")])
    assert {path.name for path in (base / "inputs").iterdir()} == {sha(b"one"), sha(b"two")}
    assert (base / "inputs" / sha(b"one")).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "case", ["altered", "not asked for", "a path", "a link", "missing", "cut off", "no archive"]
)
def test_what_is_not_what_was_sent_is_not_kept(base: Path, tmp_path: Path, case: str) -> None:
    wanted = sha(b"one")
    if case == "altered":
        bundle(tmp_path, (wanted, b"two"))
    elif case == "not asked for":
        bundle(tmp_path, (wanted, b"one"), (sha(b"two"), b"two"))
    elif case == "a path":
        bundle(tmp_path, ("../../x", b"one"))
    elif case == "a link":
        bundle(tmp_path, (wanted, b""), kind=tarfile.SYMTYPE)
    elif case == "missing":
        bundle(tmp_path)
    elif case == "cut off":
        bundle(tmp_path, (wanted, b"one" * 9999))
        archive = tmp_path / place.BUNDLE
        archive.write_bytes(archive.read_bytes()[:700])
    else:
        (tmp_path / place.BUNDLE).write_bytes(b"x" * 2000)
    with pytest.raises(OperationError):
        place.take_in(str(tmp_path), [wanted])
    kept = {path.name for path in (base / "inputs").iterdir() if not path.name.startswith(".")}
    assert kept <= {sha(b"one")}
    for path in (base / "inputs").iterdir():
        assert path.name.startswith(".") or sha(path.read_bytes()) == path.name


def test_a_folder_behind_a_link_is_not_used(base: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    bundle(tmp_path / "real", (sha(b"one"), b"one"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        place.take_in(str(tmp_path / "link"), [sha(b"one")])
    assert list((base / "inputs").iterdir()) == []


@pytest.mark.parametrize("module", [place.users_json, observed.users_status])
def test_a_file_of_somebody_elses_is_not_read_for_a_user(tmp_path: Path, module: Any) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"state": "root only"}')
    (tmp_path / "link.json").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe.json")
    mine = os.getuid()
    assert module(str(secret), mine)["state"] == "root only"
    assert not module(str(secret), mine + 1)
    assert not module(str(tmp_path / "link.json"), mine)
    assert not module(str(tmp_path / "pipe.json"), mine)
    assert not module(str(tmp_path / "gone.json"), mine)
    secret.write_text("[" * 100_000)
    assert not module(str(secret), mine)


def test_a_status_gives_plain_values_of_known_keys_only(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    deep: dict[str, Any] = {}
    for _ in range(80):
        deep = {"x": deep}
    said = {"state": "x" * 999, "message": deep, "losses": [[[1]], 2], "gpu": {"utilization": [7]}}
    path.write_text(json.dumps({**said, "secret": "no"}))
    found = observed.users_status(str(path), os.getuid())
    assert "secret" not in found
    assert len(found["state"]) == observed.MOST_TEXT
    assert found["message"] is None
    assert found["losses"] == [2]
    assert found["gpu"] == {"utilization": [7]}


def test_nothing_is_asked_where_there_are_no_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed, "BASE", str(tmp_path))
    monkeypatch.setattr(observed, "properties", lambda *_: pytest.fail("a command was run"))
    assert observed.jobs() == {}


RUNNING = {"ActiveState": "active", "Result": "success"}


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (None, JobState.PENDING),
        ({"unit": 3, "status": [1]}, JobState.PENDING),
        ({"unit": RUNNING, "status": {"state": "running"}}, JobState.RUNNING),
        ({"unit": {"ActiveState": "inactive"}, "status": {"state": "running"}}, JobState.FAILED),
        ({"unit": {"ActiveState": "failed", "Result": "exit-code"}}, JobState.FAILED),
        ({"unit": {"ActiveState": "inactive"}, "status": {"state": "done"}}, JobState.DONE),
        ({"unit": RUNNING, "status": {"state": "failed"}}, JobState.RUNNING),
        ({"unit": {"ActiveState": "inactive"}, "status": {"state": "stopped"}}, JobState.STOPPED),
    ],
)
def test_where_a_job_is_follows_from_its_unit_and_its_status(seen: object, state: JobState) -> None:
    assert progress_of("demo", seen).state is state


def test_progress_in_words() -> None:
    status = {
        "state": "running", "step": "train", "iteration": 120, "target": 1000, "rate": 1.234,
        "losses": [0.1, 0.2], "gpu": {"utilization": [97]},
    }  # fmt: skip
    one = progress_of("demo", {"unit": RUNNING, "status": status})
    assert in_words(one) == (
        "running train, iteration 120 of 1000, 1.23 it/s, loss 0.1000/0.2000, GPU 97 %"
    )
    odd = {"state": "running", "iteration": True, "rate": "fast", "losses": [1], "frames": "x",
           "gpu": [], "message": "a\nb\x1b[2K"}  # fmt: skip
    told = in_words(progress_of("demo", {"unit": RUNNING, "status": odd}))
    assert "\n" not in told
    assert "\x1b" not in told


@ROOT_ONLY
def test_what_is_sent_to_a_host_runs_there_by_itself() -> None:
    text, marker = program.script({"verb": "look", "jobs": [], "inputs": [], "files": []})
    ran = subprocess.run(
        [sys.executable, "-S", "-E", "-"], input=text, capture_output=True, text=True, check=False
    )
    seen = program.read(ran.stdout, marker)
    assert seen["memory_mb"] > 0, ran.stderr
    assert seen["jobs"] == {}


def test_the_answer_of_a_host_is_read_whatever_else_it_says() -> None:
    assert program.read('hello\nM\n{"jobs": {}}\nbye', "M") == {"jobs": {}}
    for text in ("", "M\n", "M\n{", "M\n[1]", "{}"):
        with pytest.raises(program.AnswerError) as error:
            program.read(text, "M")
        assert error.value.code == "E_ANSWER"
    with pytest.raises(program.AnswerError) as error:
        program.read('M\n{"failed": {"code": "E_FILE", "message": "no"}}', "M")
    assert (error.value.code, str(error.value)) == ("E_FILE", "no")


# --- signing ------------------------------------------------------------------------------------

SIDECAR = {
    "tool": "gpuprep 1.0",
    "video": {"name": "demo.mp4"},
    "faceswap": {"commit": "c" * 40},
}


def test_a_signed_video_is_valid_and_an_altered_one_is_not(tmp_path: Path) -> None:
    material(tmp_path)
    chain = c2pa_chain.make(tmp_path)
    signing.sign(tmp_path / "a.mp4", tmp_path / "signed.mp4", chain, SIDECAR)
    assert signing.verify(tmp_path / "signed.mp4") == "Valid"
    data = bytearray((tmp_path / "signed.mp4").read_bytes())
    data[-500] ^= 255
    (tmp_path / "signed.mp4").write_bytes(data)
    assert signing.verify(tmp_path / "signed.mp4") == "Invalid"
    with pytest.raises(signing.SigningError, match="cannot be read"):
        signing.verify(tmp_path / "b.mp4")


@pytest.mark.parametrize("case", ["other key", "no certificate", "no key"])
def test_what_cannot_sign_is_told(tmp_path: Path, case: str) -> None:
    material(tmp_path)
    chain = c2pa_chain.make(tmp_path)
    if case == "other key":
        (tmp_path / "other").mkdir()
        chain = C2pa(chain.certificate, c2pa_chain.make(tmp_path / "other").key)
    elif case == "no certificate":
        chain.certificate.write_text("nothing")
    else:
        chain.key.write_text("nothing")
    with pytest.raises(signing.SigningError):
        signing.sign(tmp_path / "a.mp4", tmp_path / "signed.mp4", chain, SIDECAR)
