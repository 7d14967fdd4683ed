"""``gpuprep report`` on files, stdin and stdout."""

from __future__ import annotations

import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_cases import fleet

from gpuprep import cli

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


@pytest.mark.parametrize("source", ["file", "stdin"])
@pytest.mark.parametrize("failing", ["fchmod", "replace"])
def test_a_report_that_cannot_be_written_leaves_the_former_one(
    result: Path, source: str, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = result.parent / "page.html"
    former.write_text("former")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*(("os.fchmod", full) if failing == "fchmod" else (Path, failing, full)))
    run = "-" if source == "stdin" else str(result)
    with result.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli.run(["report", run, "--to", str(former)]) == 64
    assert former.read_text() == "former"
    assert sorted(result.parent.iterdir()) == [former, result]


def test_a_report_of_stdin_is_replaced_as_a_whole_with_its_rights(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = result.parent / "page.html"
    page.write_text("former")
    page.chmod(0o640)
    reader = page.open()  # of what was there
    with result.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli.run(["report", "-", "--to", str(page)]) == 0
    assert reader.read() == "former"
    assert page.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o640


def test_links_are_followed_and_pipes_written_to(result: Path) -> None:
    real, link, pipe = (result.parent / name for name in ("real.html", "link.html", "pipe"))
    link.symlink_to(real)
    assert cli.run(["report", str(result), "--to", str(link)]) == 0
    assert link.is_symlink()
    assert real.read_text().startswith("<!doctype")
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        assert cli.run(["report", str(result), "-f", "markdown", "--to", str(pipe)]) == 0
        assert read.result(30).startswith("# gpuprep")


def test_the_result_under_another_name_is_not_overwritten(result: Path) -> None:
    other = result.parent / "other.html"
    other.symlink_to(result)
    assert cli.run(["report", str(result), "--to", str(other)]) == 64
    assert result.read_text() == RESULT


def test_open_shows_the_page(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    assert cli.run(["report", str(result), "--open"]) == 0
    assert shown == [(result.parent / "result.html").as_uri()]
