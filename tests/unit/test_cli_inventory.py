"""``gpuprep inventory``: what was typed, before and after Ansible is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuprep import cli
from gpuprep.errors import ConfigError, InventoryError
from gpuprep.run.ansible_errors import engine_error

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory in which nothing names an inventory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "no inventory: name one with -i"),
        (["-i", "a,", "-l", ""], "limit '' names no host"),
        (["-i", "a,", "-l", " , "], "names no host"),
        (["-i", "a,", "-l", "~["], "no regular expression"),
        (["-i", "a,", "-l", "b"], "no host matches --limit b"),
    ],
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_what_names_no_host_ends_with_64_and_lists_nothing(
    arguments: list[str], hint: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["inventory", "list", "-o", output, *arguments]) == 64
    shown = capsys.readouterr()
    assert hint in shown.err
    assert shown.out == ""


def test_ansibles_own_configuration_may_name_the_inventory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {one: , two: }}\n")
    monkeypatch.setenv("ANSIBLE_INVENTORY", str(tmp_path / "hosts.yml"))
    assert cli.run(["inventory", "list", "-l", "two"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["HOST", "two"]


@pytest.mark.parametrize("gap", ["\n", ""])
def test_the_whole_of_an_inventory_plugins_reason_is_told(gap: str) -> None:
    """The policy that is missing stands at the end of it."""
    said = "\n".join(
        [
            "[WARNING]: Failed to parse inventory with 'auto' plugin: it is incomplete:",
            "GET https://x for compartment y: 404",
            "  Allow group g to inspect",
            f"{gap}Failed to parse inventory with 'auto' plugin.",
            f"{gap}<<< caused by >>>",
            "Origin: <inventory plugin 'auto' with source '/x.oci.yml'>",
            "[ERROR]: Completely failed to parse inventory source /x.oci.yml",
        ]
    )
    error = engine_error(1, said, None)
    assert type(error) is InventoryError
    assert str(error) == (
        "the inventory cannot be read: /x.oci.yml: it is incomplete:\n"
        "GET https://x for compartment y: 404\n  Allow group g to inspect"
    )


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "warning  profile       {file} [DEFAULT]: no such file"),
        (
            {"OCI_ANSIBLE_AUTH_TYPE": "instance_principal"},
            "ok       profile       none needed; {file} [DEFAULT]: no such file",
        ),
        (
            {"OCI_USER_KEY_FILE": "{key}"},
            "ok       profile       none needed; {file} [DEFAULT]: no such file",
        ),
    ],
)
def test_the_doctor_calls_a_missing_profile_fine_only_where_none_is_needed(
    variables: dict[str, str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_sdk() -> None:
        raise ConfigError("enough is known")

    file, key = tmp_path / "none", tmp_path / "key.pem"
    monkeypatch.setenv("OCI_CONFIG_FILE", str(file))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(key=key))
    monkeypatch.setattr("gpuprep.oci.doctor.sdk", no_sdk)
    assert cli.run(["inventory", "doctor"]) == 64
    assert told.format(file=file) in capsys.readouterr().out.splitlines()
