"""conda on the host: the installer that was checked is the one that runs; environments as noted."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from converge_rig import CONTEXT, LOOKING, Commands, names, served

from gpuprep.on_host.converge import base, conda
from gpuprep.on_host.converge.base import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it works for root only")

INSTALLER = b"""\
echo "$0" "$@" "$TMPDIR" > "$3/../ran"
stat -c '%a %U' "$(dirname "$0")" >> "$3/../ran"
"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/i.sh").write_bytes(INSTALLER)
    with served(tmp_path / "web") as address:
        yield f"{address}/i.sh"


def install(prefix: Path, url: str, content: bytes = INSTALLER, **more: Any) -> dict[str, Any]:
    operation = {
        "prefix": str(prefix), "url": url, "sha256": hashlib.sha256(content).hexdigest(),
        "version": "1.0", "is_new": True, **more,
    }  # fmt: skip
    answer: dict[str, Any] = conda.conda_install(operation, CONTEXT)
    return answer


def test_the_installer_runs_from_a_directory_of_roots(tmp_path: Path, web: str) -> None:
    prefix = tmp_path / "opt" / "conda"
    prefix.mkdir(parents=True)
    assert install(prefix, web)["changed"]
    call, place = (tmp_path / "opt/ran").read_text().splitlines()
    assert call.split()[1:4] == ["-b", "-p", str(prefix)]
    assert place == "700 root"
    assert names(tmp_path / "opt") == ["conda", "ran"]  # nothing is left
    install(prefix, web, is_new=False)
    assert (tmp_path / "opt/ran").read_text().split()[4] == "-u"


def test_another_installer_is_not_run(tmp_path: Path, web: str) -> None:
    (tmp_path / "opt").mkdir()
    with pytest.raises(OperationError, match="it was not run") as raised:
        install(tmp_path / "opt/conda", web, b"other")
    assert raised.value.code == "E_CHECKSUM"
    assert names(tmp_path / "opt") == []


def test_a_prefix_among_others_files_is_refused_or_safe(tmp_path: Path, web: str) -> None:
    shared = tmp_path / "scratch"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "conda").mkdir()
    assert install(shared / "conda", web)["changed"]  # a sticky directory protects root's own
    os.chown(shared / "conda", 65534, 65534)
    with pytest.raises(OperationError, match="belongs to another user"):
        install(shared / "conda", web)
    shared.chmod(0o777)
    os.chown(shared / "conda", 0, 0)
    with pytest.raises(OperationError, match="written by everybody"):
        install(shared / "conda", web)


def test_a_failing_installer_says_why(tmp_path: Path, web: str) -> None:
    (tmp_path / "web/i.sh").write_bytes(b"echo no space >&2; exit 3")
    (tmp_path / "opt").mkdir()
    with pytest.raises(OperationError, match="installer failed: no space"):
        install(tmp_path / "opt/conda", web, b"echo no space >&2; exit 3")


# --- environments ---------------------------------------------------------------------------------


def environments(prefix: Path, context: Any = CONTEXT, **more: Any) -> dict[str, Any]:
    setting = {
        "name": "e",
        "kind": "packages",
        "content": "numpy\n",
        "digest": "d1",
        "cuda": "13.0",
    }
    operation = {"prefix": str(prefix), "environments": [{**setting, **more}]}
    answer: dict[str, Any] = conda.conda_environments(operation, context)
    return answer


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "conda"
    (folder / "envs").mkdir(parents=True)

    def solve(argv: list[str]) -> str:
        meta = folder / "envs/e/conda-meta"
        meta.mkdir(parents=True, exist_ok=True)
        (meta / "history").touch()
        (meta / "numpy-2.0-py_0.json").write_text("{}")
        (folder / "specification").write_text(open(argv[-1]).read())  # noqa: PTH123, SIM115
        return ""

    commands = Commands({f"{folder}/bin/conda": solve})
    monkeypatch.setattr(conda, "command", commands)
    return folder


def test_an_environment_is_made_once_and_noted(prefix: Path) -> None:
    assert environments(prefix)["items"] == ["e"]
    assert (prefix / "specification").read_text() == 'dependencies:\n  - "numpy"\n'
    note = json.loads((prefix / "envs/e/conda-meta/gpuprep").read_text())
    assert note == {"cuda": "13.0", "digest": "d1", "packages": {"numpy": "2.0-py_0"}}
    assert not environments(prefix)["changed"]
    assert environments(prefix, LOOKING, digest="d2")["changed"]
    assert environments(prefix, digest="d2")["changed"]
    (prefix / "envs/e/conda-meta/numpy-2.0-py_0.json").unlink()
    assert environments(prefix, digest="d2")["changed"]
    assert names(prefix) == ["envs", "specification"]


@pytest.mark.parametrize("note", ["", "[]", "null", '{"digest": "d1"}'])
def test_a_broken_note_makes_the_environment_again(prefix: Path, note: str) -> None:
    environments(prefix)
    (prefix / "envs/e/conda-meta/gpuprep").write_text(note)
    assert environments(prefix)["changed"]


def test_condas_words_are_told(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conda, "command", lambda *_, **__: base.Outcome(1, "", "no such package"))
    with pytest.raises(OperationError, match="cannot make environment e: no such package"):
        environments(prefix)


def test_each_kind_has_its_call(tmp_path: Path) -> None:
    env = str(tmp_path / "e")
    assert conda.argv_of("explicit", env, "f")[:2] == ["create", "-y"]
    assert conda.argv_of("yaml", env, "f")[:3] == ["env", "create", "-y"]
    (tmp_path / "e/conda-meta").mkdir(parents=True)
    (tmp_path / "e/conda-meta/history").touch()
    assert conda.argv_of("yaml", env, "f")[:3] == ["env", "update", "--prune"]


# --- what others left or set ----------------------------------------------------------------------

SPY = """\
#!/bin/sh
env > "{log}"
test -e "$HOME/.condarc" && echo seen >> "{log}"
mkdir -p "{env}/conda-meta" && touch "{env}/conda-meta/history"
exit {code}
"""


def spied(prefix: Path, code: int = 0, extra: str = "") -> Path:
    """Put a conda at a prefix that writes down its surroundings."""
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    (prefix / "envs").mkdir(exist_ok=True)
    log = prefix / "log"
    program = prefix / "bin/conda"
    program.write_text(extra + SPY.format(log=log, env=prefix / "envs/e", code=code))
    program.chmod(0o755)
    return log


def test_no_configuration_of_a_user_reaches_conda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".config/conda").mkdir(parents=True)
    (home / ".condarc").write_text("channels: [defaults]\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    foreign = (
        "CONDARC", "CONDA_CHANNELS", "CONDA_PREFIX", "_CONDA_EXE", "MAMBARC", "MAMBA_ROOT_PREFIX",
        "PYTHONPATH", "PYTHONHOME", "CONDA_PKGS_DIRS", "CONDA_OVERRIDE_GLIBC",
    )  # fmt: skip
    for name in foreign:
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    log = spied(tmp_path / "c")
    environments(tmp_path / "c")
    seen = dict(line.split("=", 1) for line in log.read_text().splitlines() if "=" in line)
    assert "seen" not in log.read_text().splitlines()
    assert str(home) not in log.read_text()
    assert seen["CONDA_OVERRIDE_CUDA"] == "13.0"
    assert seen["https_proxy"] == "http://proxy:3128"
    assert seen["TMPDIR"].startswith(str(tmp_path / "c/.gpuprep-"))


@pytest.mark.parametrize("what", ["half made", "no history", "file", "empty", "dangling link"])
def test_what_is_no_environment_is_kept_beside_it(prefix: Path, what: str) -> None:
    env = prefix / "envs/e"
    if what in {"half made", "no history", "empty"}:
        env.mkdir()
    if what == "half made":
        (env / "lib").mkdir()
    if what == "no history":
        (env / "conda-meta").mkdir()
        (env / "conda-meta/gpuprep").write_text('{"digest": "d1", "packages": {}}')
    if what == "file":
        env.write_text("mine")
    if what == "dangling link":
        env.symlink_to("/nowhere/e")
    (prefix / "envs/e.broken").write_text("older")
    answer = environments(prefix)
    assert answer["items"] == ["e"]
    assert "kept what was no environment as" in answer["detail"]
    assert names(prefix / "envs") == ["e", "e.2.broken", "e.broken"]
    assert not environments(prefix)["changed"]


def test_an_environment_for_another_cuda_is_made_anew(prefix: Path) -> None:
    environments(prefix)
    mine = prefix / "envs/e/mine"
    mine.touch()
    assert environments(prefix, LOOKING, cuda="13.2")["changed"]
    assert not environments(prefix, cuda=None)["changed"]  # nobody knows better
    assert environments(prefix, cuda="13.2")["changed"]
    assert (mine.exists(), names(prefix / "envs")) == (False, ["e"])
    note = json.loads((prefix / "envs/e/conda-meta/gpuprep").read_text())
    assert note["cuda"] == "13.2"


def test_an_environment_that_cannot_be_made_anew_stays(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments(prefix)
    (prefix / "envs/e/mine").touch()
    monkeypatch.setattr(conda, "command", lambda *_, **__: base.Outcome(1, "", "no network"))
    with pytest.raises(OperationError, match="no network"):
        environments(prefix, cuda="13.2")
    assert (prefix / "envs/e/mine").exists()
    assert names(prefix / "envs") == ["e"]


def test_root_does_not_work_in_an_environment_of_somebody_else(prefix: Path) -> None:
    environments(prefix)
    os.chown(prefix / "envs/e", 65534, 65534)
    with pytest.raises(OperationError, match="belongs to another user"):
        environments(prefix, digest="d2")
    assert not environments(prefix)["changed"]  # it is as noted, so nobody works there


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("#!/bin/sh\nkill -9 $$\n", r"\(killed by SIGKILL\)"),
        ("#!/bin/sh\nsh -c 'kill -15 $$'; exit $?\n", r"(Terminated )?\(killed by SIGTERM\)"),
        ("#!/bin/sh\nexit 3\n", r"it said nothing \(exit 3\)"),
    ],
)
def test_what_ended_conda_is_told(tmp_path: Path, extra: str, told: str) -> None:
    spied(tmp_path / "c", extra=extra)
    with pytest.raises(OperationError, match=f"cannot make environment e: {told}"):
        environments(tmp_path / "c")
