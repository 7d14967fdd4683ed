"""One table of codes: the page, the table and what the code reports are the same set."""

import re
from pathlib import Path

import click
import pytest
from repository import ROOT, tracked

from gpuprep import codes
from gpuprep.cli import root
from gpuprep.planner.settings import all_options

CODE = re.compile(r"\b[EW]_[A-Z]+(?:_[A-Z]+)*\b")
QUOTED = re.compile(r"""["'\[]([EW]_[A-Z]+(?:_[A-Z]+)*)["'\]]""")
OTHERS = {"W_OK"}  # of the os module
SOURCES = (
    *("gpuprep/*.py", "gpuprep/*.yml", "plugins/*.py", "roles/*.yml", "playbooks/*.yml"),
    *("gpuprep/*.md", "roles/*.md"),
)


def files() -> list[Path]:
    found = (path for pattern in SOURCES for path in tracked(pattern))
    return [path for path in found if path != codes.TABLE_FILE]


def reported() -> dict[str, Path]:
    return {
        code: path
        for path in files()
        for code in QUOTED.findall(path.read_text(encoding="utf-8"))
        if code not in OTHERS
    }


def test_every_code_that_is_reported_is_in_the_table_and_no_other() -> None:
    assert set(reported()) - set(codes.table()) == set()
    assert set(codes.table()) - set(reported()) == set()


def test_every_code_that_is_spoken_of_is_in_the_table() -> None:
    spoken = {c for path in files() for c in CODE.findall(path.read_text(encoding="utf-8"))}
    # The changelog also names codes that are gone.
    now = [path for path in tracked("*.md") if path.name != "CHANGELOG.md"]
    pages = {c for path in now for c in CODE.findall(path.read_text(encoding="utf-8"))}
    assert spoken | pages <= {*codes.table(), *OTHERS}


def test_the_page_is_the_table() -> None:
    page = (ROOT / "docs/codes.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([EW]_\w+)` \| (\S.*) \| \S.* \|$", page, re.MULTILINE))
    assert rows == {code.name: code.message for code in codes.table().values()}


def test_the_kind_of_a_code_shows_in_its_name() -> None:
    for code in codes.table().values():
        assert code.name.startswith("W_") == (code.kind is codes.CodeKind.WARNING)


@pytest.mark.parametrize("code", codes.table().values(), ids=lambda code: code.name)
def test_messages_name_variables_that_exist(code: codes.Code) -> None:
    named = re.findall(r"\b(?:gpu_driver|cuda_toolkit|cudnn|conda|gpuprep)_\w+", code.message)
    named += re.findall(r"`((?:gpu_driver|cuda_toolkit|cudnn|conda|gpuprep)_\w+)", code.remedy)
    assert set(named) <= set(all_options())


@pytest.mark.parametrize("code", codes.table().values(), ids=lambda code: code.name)
def test_remedies_name_commands_that_exist(code: codes.Code) -> None:
    for named in re.findall(r"`gpuprep ([a-z][^`]*)`", f"{code.message} {code.remedy}"):
        words = named.split()
        command: click.Command | None = root
        while isinstance(command, click.Group):
            assert words, f"`gpuprep {named}` does nothing by itself"
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, f"`gpuprep {named}` is no command"
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options
