"""On the host: packages as locked, a checkout of one commit, a user; what is refused and kept."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from converge_rig import CONTEXT, LOOKING, Commands, served

from gpuprep.on_host.converge import base, python, workload
from gpuprep.on_host.converge.base import OperationError
from gpuprep.on_host.observe import conda as observed
from gpuprep.on_host.observe import workload as observed_workload
from sandbox import python_index

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it works for root only")
WHO = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, **WHO, "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> tuple[str, list[str]]:
    """A repository with two commits, and their ids; the first has no branch."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commits = []
    for text in ("one\n", "two\n"):
        (folder / "tool").write_text(text)
        (folder / "tool").chmod(0o755)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", text)
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder.as_uri(), commits


def check_out(place: Path, repository: str, commit: str, context: Any = CONTEXT) -> dict[str, Any]:
    operation = {"path": str(place / "source"), "repository": repository, "commit": commit}
    answer: dict[str, Any] = workload.checkout(operation, context)
    return answer


def test_a_commit_is_checked_out_once(tmp_path: Path, repository: tuple[str, list[str]]) -> None:
    place, (address, (first, second)) = tmp_path / "opt", repository
    place.mkdir()
    assert check_out(place, address, second, LOOKING)["changed"]
    assert not list(place.iterdir())
    assert check_out(place, address, second)["changed"]
    tool = place / "source/tool"
    assert (tool.read_text(), tool.stat().st_mode & 0o777) == ("two\n", 0o755)
    assert not check_out(place, address, second)["changed"]
    assert check_out(place, address, first)["changed"]
    assert tool.read_text() == "one\n"
    assert sorted(path.name for path in place.iterdir()) == ["source"]
    seen = observed_workload.checkout(str(place / "source"))
    assert seen == {"commit": first, "intact": True}


@pytest.mark.parametrize(
    "harm",
    [
        lambda source: (source / "tool").write_text("evil\n"),
        lambda source: (source / "more").write_text(""),
        lambda source: (source / "tool").unlink(),
        lambda source: (source / "tool").chmod(0o777),
        lambda source: os.chown(source / "tool", 1234, 1234),
        lambda source: (source / ".git/.gpuprep").unlink(),
    ],
    ids=["content", "new", "gone", "mode", "owner", "note"],
)
def test_what_was_done_to_a_checkout_is_seen_and_taken_back(
    tmp_path: Path, repository: tuple[str, list[str]], harm: Any
) -> None:
    place, (address, (_, second)) = tmp_path / "opt", repository
    place.mkdir()
    check_out(place, address, second)
    harm(place / "source")
    seen = observed_workload.checkout(str(place / "source"))
    assert seen is None or not seen["intact"]
    assert check_out(place, address, second)["changed"]
    assert (place / "source/tool").read_text() == "two\n"
    assert observed_workload.checkout(str(place / "source")) == {"commit": second, "intact": True}


def test_what_python_compiles_beside_the_source_is_no_difference(
    tmp_path: Path, repository: tuple[str, list[str]]
) -> None:
    place, (address, (_, second)) = tmp_path / "opt", repository
    place.mkdir()
    check_out(place, address, second)
    cache = place / "source/__pycache__"
    cache.mkdir()
    (cache / "tool.cpython-311.pyc").write_bytes(b"")
    assert not check_out(place, address, second)["changed"]


@pytest.mark.parametrize("commit", ["0" * 40, "f" * 40])
def test_a_commit_that_is_not_there_leaves_what_was(
    tmp_path: Path, repository: tuple[str, list[str]], commit: str
) -> None:
    place, (address, (_, second)) = tmp_path / "opt", repository
    place.mkdir()
    check_out(place, address, second)
    with pytest.raises(OperationError, match=commit) as raised:
        check_out(place, address, commit)
    assert raised.value.code == "E_FS_COMMIT"
    assert (place / "source/tool").read_text() == "two\n"
    assert sorted(path.name for path in place.iterdir()) == ["source"]


def test_hooks_and_configuration_of_users_do_nothing(
    tmp_path: Path, repository: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, (address, (_, second)) = tmp_path / "opt", repository
    place.mkdir()
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    (tmp_path / "config").write_text(f"[core]\n\thooksPath = {hooks}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    check_out(place, address, second)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "elsewhere").exists()


# --- Python packages -----------------------------------------------------------------------------


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment with one package of conda's, and one of somebody's."""
    env = tmp_path / "envs/faceswap"
    (env / "bin").mkdir(parents=True)
    (env / "conda-meta").mkdir()
    (env / "bin/python").write_text("")
    (env / "bin/python").chmod(0o755)
    add(env, "pip", "26.3", "conda")
    return env


def add(env: Path, name: str, version: str, installer: str = "pip") -> None:
    about = env / f"lib/python3.11/site-packages/{name}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("")
    (about / "INSTALLER").write_text(f"{installer}\n")


def lock(env: Path, digest: str = "d") -> dict[str, Any]:
    return {"env": str(env), "lock": "x", "digest": digest, "names": ["foo-bar"], "index": ""}


def test_packages_are_installed_noted_and_left_alone(
    env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(_argv: list[str]) -> str:
        add(env, "Foo_Bar", "1.0")
        return ""

    pip = f"{env}/bin/python -I -m pip --no-input --disable-pip-version-check --no-color"
    commands = Commands({f"{pip} install": install})
    monkeypatch.setattr(python, "command", commands)
    assert python.python_lock(lock(env), LOOKING)["changed"]
    assert commands.lines == []
    assert python.python_lock(lock(env), CONTEXT)["changed"]
    (line,) = commands.lines
    assert "--require-hashes --no-deps --only-binary=:all:" in line
    note = json.loads((env / "conda-meta/gpuprep-python").read_text())
    assert note == {"digest": "d", "packages": {"pip": "26.3", "foo-bar": "1.0"}}
    assert observed.python_packages(str(env)) == note["packages"]
    assert not python.python_lock(lock(env), CONTEXT)["changed"]
    assert python.python_lock(lock(env, "e"), LOOKING)["changed"]  # another lock
    add(env, "more", "1")
    monkeypatch.setattr(python, "command", again := Commands())
    assert python.python_lock(lock(env), CONTEXT)["changed"]
    assert again.lines[-1] == f"{pip} uninstall --yes more"


def test_a_wrong_hash_names_the_file_and_notes_nothing(
    env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, login = "1" * 64, "http://user:secret@mirror/foo_bar-1.0-py3-none-any.whl"
    said = (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
        f"    foo-bar==1.0 from {login} (from -r lock.txt (line 1)):\n"
        f"        Expected sha256 {'2' * 64}\n        Expected     or {'3' * 64}\n"
        f"             Got        {wrong}\n"
    )
    outcome = base.Outcome(1, "", said)
    monkeypatch.setattr(python, "command", Commands({str(env): outcome}))
    with pytest.raises(OperationError, match=r"foo_bar-1\.0-py3-none-any\.whl") as raised:
        python.python_lock(lock(env), CONTEXT)
    assert raised.value.code == "E_PYTHON_LOCK"
    assert wrong in raised.value.message
    assert "secret" not in raised.value.message
    assert not (env / "conda-meta/gpuprep-python").exists()
    assert sorted(path.name for path in env.parent.iterdir()) == ["faceswap"]


def test_what_conda_brought_is_no_stranger_whoever_installed_it(env: Path) -> None:
    add(env, "certifi", "2026.1", "pip")  # as its recipe left it
    (env / "conda-meta/certifi-2026.1-pyhd_0.json").write_text("{}")
    add(env, "foo_bar", "1")
    add(env, "more", "1")
    assert python.strangers(str(env), {"foo-bar"}) == ["more"]


def test_an_index_over_plain_http_is_taken_for_what_it_is() -> None:
    assert python._index("") == []
    assert python._index("https://mirror/simple") == ["--index-url", "https://mirror/simple"]
    assert python._index("http://10.0.0.1:8080/s")[2:] == ["--trusted-host", "10.0.0.1"]


def test_a_real_pip_installs_mends_and_refuses(tmp_path: Path) -> None:
    env = tmp_path / "envs/e"
    subprocess.run([sys.executable, "-m", "venv", "--copies", str(env)], check=True)
    (env / "conda-meta").mkdir()
    for about in env.glob("lib/python3*/site-packages/*.dist-info"):
        (about / "INSTALLER").write_text("conda\n")
    python_index.build(tmp_path / "www")
    text = python_index.lock("torch", "tqdm")

    with served(tmp_path / "www") as address:
        index = f"{address}/{python_index.INDEX}"

        def locked(text: str) -> dict[str, Any]:
            names = [line.partition("==")[0] for line in text.splitlines() if "==" in line]
            operation = {"env": str(env), "lock": text, "digest": text, "names": names}
            answer: dict[str, Any] = python.python_lock({**operation, "index": index}, CONTEXT)
            return answer

        def pip(*arguments: str) -> None:
            command = [str(env / "bin/python"), "-m", "pip", "-q", *arguments]
            subprocess.run(command, check=True, capture_output=True)

        assert locked(text)["changed"]
        good = python.installed(str(env))
        assert (good["torch"], good["tqdm"]) == ("2.12.1", "4.67.1")
        assert not locked(text)["changed"]

        pip("uninstall", "-y", "torch")
        pip("install", "--index-url", index, "tqdm==4.66.0", "colorama")
        assert locked(text)["changed"]
        assert python.installed(str(env)) == good

        wrong = python_index.lock("torch", "tqdm", "colorama")
        digest = wrong.rpartition(":")[2].strip()
        with pytest.raises(OperationError, match=r"colorama-0\.4\.6") as raised:
            locked(wrong.replace(digest, "0" * 64))
        assert raised.value.code == "E_PYTHON_LOCK"
        assert digest in raised.value.message
        assert python.installed(str(env)) == good
        assert not locked(text)["changed"]
        with pytest.raises(OperationError, match="no-such") as raised:
            locked(f"no-such==1 --hash=sha256:{'0' * 64}\n")
        assert raised.value.code == "E_PYTHON_PACKAGES"


# --- the user ------------------------------------------------------------------------------------


def test_somebodys_user_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    person = pwd.struct_passwd(("faceswap", "x", 1000, 1000, "", "/home/faceswap", "/bin/bash"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: person)
    operation = {"name": "faceswap", "home": "/var/lib/gpuprep/faceswap", "folders": ["jobs"]}
    with pytest.raises(OperationError, match="/home/faceswap") as raised:
        workload.account(operation, CONTEXT)
    assert raised.value.code == "E_FS_USER"


def test_folders_are_the_users_own_and_no_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "lib/faceswap"
    user = pwd.struct_passwd(("faceswap", "x", 4321, 4321, "", str(home), "/usr/sbin/nologin"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: user)
    operation = {"name": "faceswap", "home": str(home), "folders": ["jobs"]}
    assert workload.account(operation, LOOKING)["items"] == [str(home), str(home / "jobs")]
    assert not home.exists()
    assert workload.account(operation, CONTEXT)["changed"]
    for path in (home, home / "jobs"):
        info = path.stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (4321, 4321, 0o750)
    assert not workload.account(operation, CONTEXT)["changed"]
    (home / "jobs").rmdir()
    (home / "jobs").symlink_to(tmp_path)
    before = tmp_path.stat()
    with pytest.raises(OperationError, match="is no directory"):
        workload.account(operation, CONTEXT)
    assert tmp_path.stat().st_uid == before.st_uid


def test_what_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    user = pwd.getpwnam("nobody")
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: user)
    operation = {
        "user": "nobody",
        "python": "/usr/bin/env",
        "program": "",
        "directory": "/",
        "environment": {},
    }
    operation["python"] = str(tmp_path / "python")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-", tmp_path.name)):
            folder.chmod(0o755)
    (tmp_path / "python").write_text('#!/bin/sh\nid -un; echo "D=$DISPLAY"; exit ${CODE:-0}\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("DISPLAY", ":0")
    assert "nobody D=" in workload.start_test(operation, CONTEXT)["detail"]
    assert workload.start_test(operation, LOOKING) == base.done("tried that it starts")
    operation["environment"] = {"CODE": "3"}
    with pytest.raises(OperationError, match="nobody") as raised:
        workload.start_test(operation, CONTEXT)
    assert raised.value.code == "E_FS_START"
