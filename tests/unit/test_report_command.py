"""``gpuprep report`` on files, stdin and stdout."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from report_cases import fleet

from gpuprep import cli

if TYPE_CHECKING:
    from pathlib import Path

RESULT = json.dumps(fleet(3))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text(RESULT)
    return path


@pytest.mark.parametrize(
    ("arguments", "name", "begins"),
    [
        ([], "result.html", "<!doctype html>"),
        (["-f", "markdown"], "result.md", "# gpuprep verify"),
        (["--format", "junit"], "result.xml", "<?xml"),
        (["--to", "OUT.md"], "OUT.md", "# gpuprep verify"),
        (["--to", "OUT.xml"], "OUT.xml", "<?xml"),
    ],
)
def test_report_is_written_where_and_as_told(
    result: Path,
    arguments: list[str],
    name: str,
    begins: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [str(result.parent / a) if a.startswith("OUT") else a for a in arguments]
    assert cli.run(["report", str(result), *told]) == 0
    written = result.parent / name
    assert written.read_text().startswith(begins)
    assert capsys.readouterr().out.strip() == str(written)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
@pytest.mark.parametrize("earlier", [None, 0o666])
def test_who_may_not_read_the_result_may_not_read_its_report(
    result: Path, mode: int, earlier: int | None
) -> None:
    result.chmod(mode)
    written = result.with_suffix(".html")
    if earlier is not None:
        written.touch()
        written.chmod(earlier)
    assert cli.run(["report", str(result)]) == 0
    assert stat.S_IMODE(written.stat().st_mode) == mode
    assert sorted(result.parent.iterdir()) == [written, result]


def test_report_reads_stdin_and_writes_stdout() -> None:
    done = CliRunner().invoke(
        cli.root, ["report", "-", "-f", "markdown"], input=RESULT, standalone_mode=False
    )
    assert done.output.startswith("# gpuprep verify")


@pytest.mark.parametrize(
    ("text", "says"),
    [("[]", "no result"), ("{", "no JSON"), ("{}", "not a result of gpuprep")],
)
def test_something_else_is_refused_in_words(
    tmp_path: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert cli.run(["report", str(path)]) == 64
    assert says in capsys.readouterr().err


def test_missing_file_and_overwriting_the_result_are_refused(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["report", str(result.parent / "none.json")]) == 64
    assert cli.run(["report", str(result), "-f", "json"]) == 64
    assert "the result itself" in capsys.readouterr().err
    assert result.read_text() == RESULT


def test_open_shows_the_page(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    assert cli.run(["report", str(result), "--open"]) == 0
    assert shown == [(result.parent / "result.html").as_uri()]
