"""Empty names, mostly of shell variables that are not set, which Ansible takes for ``.``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

import gpuprep
from gpuprep import cli
from gpuprep.errors import ConfigError, ExitCode
from gpuprep.run import environment as engine
from gpuprep.run.paths import existing, readable_file

if TYPE_CHECKING:
    from collections.abc import Iterator

STUB = Path(__file__).parent / "runner_stub"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that Ansible can take for an inventory."""
    (tmp_path / "hosts").write_text("gpu-1\ngpu-2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    monkeypatch.setattr(engine, "collections_root", lambda: STUB)
    return tmp_path


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_a: object, **_k: object) -> None:
        pytest.fail("something ran")

    monkeypatch.setattr("gpuprep.run.runner.run_playbook", fail)
    monkeypatch.setattr("subprocess.run", fail)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("verb", ["plan", "apply", "verify", "status"])
@pytest.mark.parametrize("inventory", ["", " ", [""], ["hosts", ""]])
def test_an_empty_inventory_is_not_the_working_directory(verb: str, inventory: Any) -> None:
    with pytest.raises(ConfigError, match="an inventory is given by an empty name"):
        getattr(gpuprep, verb)(inventory)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("verb", ["plan", "apply", "verify", "status", "lock", "inventory list"])
@pytest.mark.parametrize("typed", [["-i", ""], ["--inventory="], ["-i", "hosts", "-i", ""]])
def test_an_empty_option_is_refused(
    verb: str, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*verb.split(), *typed]) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "empty value" in shown.err


@pytest.mark.usefixtures("nothing_runs")
def test_ansible_is_asked_for_no_inventory_without_a_name() -> None:
    from gpuprep.cli.inventory import _ask_ansible  # noqa: PLC0415

    with pytest.raises(ConfigError, match="an inventory is given by an empty name"):
        _ask_ansible([""], None, gpuprep.Access())


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("named", ["", " ", "hosts,", ",", "hosts,,x"])
def test_nor_is_an_empty_one_of_ansibles_own_configuration(
    named: str, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """Ansible takes the working directory for it, whatever its file names."""
    with monkeypatch.context() as patch:
        patch.setenv("ANSIBLE_INVENTORY", named)
        with pytest.raises(ConfigError, match="ANSIBLE_INVENTORY: an inventory with an empty"):
            gpuprep.plan()
        assert cli.run(["inventory", "list"]) == ExitCode.USAGE
    (directory / "ansible.cfg").write_text(f"[defaults]\ninventory = {named}\n")
    with pytest.raises(ConfigError, match=r"no inventory|ansible\.cfg: an inventory with an empty"):
        gpuprep.plan()


def test_an_empty_text_leads_to_no_path() -> None:
    assert existing("") is readable_file("") is None
    assert existing(".") == Path()


def options() -> Iterator[tuple[list[str], str]]:
    """Every option of every command that takes a value that click does not restrict."""
    context = click.Context(cli.root)
    for name in cli.root.list_commands(context):
        yield from _options(cli.root.get_command(context, name), [name])


def _options(command: click.Command | None, path: list[str]) -> Iterator[tuple[list[str], str]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _options(below, [*path, name])
    elif command is not None:
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not (parameter.is_flag or parameter.count):
                yield path, parameter.opts[-1]


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(("command", "option"), [*options()], ids=str)
def test_no_option_takes_an_empty_value(
    command: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither as a word of its own nor behind the sign: ``--to "$UNSET"``, ``--to="$UNSET"``."""
    for typed in ([option, ""], [f"{option}="]):
        assert cli.run([*command, *typed]) == ExitCode.USAGE
        assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("nothing_runs")
def test_the_options_that_name_files_say_it_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for typed in (
        ["plan", "-i", "hosts", "--user", ""],
        ["plan", "-i", "hosts", "--private-key", ""],
        ["plan", "-i", "hosts", "--vault-password-file="],
        ["apply", "-i", "hosts", "--report", ""],
        ["apply", "-i", "hosts", "--locked", "--lock-file", ""],
        ["apply", "-i", "hosts", "-e", ""],
        ["report", "result.json", "--to", ""],
        ["bundle", "gpu-1", "--to", ""],
        ["inventory", "doctor", ""],
    ):
        assert cli.run(typed) == ExitCode.USAGE
        assert f"{typed[-1] or typed[-2]}".rstrip("=") in capsys.readouterr().err
