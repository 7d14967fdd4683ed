"""``gpuprep inventory``: what was typed, before and after Ansible is asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpuprep import cli
from gpuprep.errors import ConfigError, InventoryError
from gpuprep.run.ansible_errors import engine_error


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


def encrypted(folder: Path) -> str:
    """Write an inventory whose hosts have variables that a password opens."""
    (folder / "key").write_text("MARKER-right\n")
    (folder / "hosts.yml").write_text("all: {children: {gpus: {hosts: {one: , two: }}}}\n")
    (folder / "group_vars").mkdir()
    path = folder / "group_vars/gpus.yml"
    path.write_text("ansible_host: 10.0.0.9\n")
    command = [sys.executable, "-m", "ansible", "vault", "encrypt", str(path)]
    command += ["--vault-password-file", str(folder / "key")]
    subprocess.run(command, check=True, capture_output=True)
    return str(folder / "hosts.yml")


def test_encrypted_variables_are_opened_as_in_other_verbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = ["inventory", "list", "-i", encrypted(tmp_path)]
    assert cli.run(listing) == 64
    assert "give --vault-password-file or --ask-vault-pass" in capsys.readouterr().err
    key = str(tmp_path / "key")
    for given in (["--vault-password-file", key], ["--vault-id", f"default@{key}"]):
        assert cli.run([*listing, *given]) == 0
        assert capsys.readouterr().out.count("10.0.0.9") == 2
    typed: list[str] = []

    def prompt(text: str, **_: object) -> str:
        typed.append(text)
        return "MARKER-right" if "default" in text else "MARKER-other"

    monkeypatch.setattr("click.prompt", prompt)
    assert cli.run([*listing, "-J", "--vault-id", "other@prompt"]) == 0
    assert capsys.readouterr().out.count("10.0.0.9") == 2
    assert typed == ["Vault password (default)", "Vault password (other)"]
    assert cli.run([*listing, "--vault-id", "other@prompt"]) == 64
    assert "MARKER" not in capsys.readouterr().err
    monkeypatch.setenv("ANSIBLE_ASK_VAULT_PASS", "True")
    assert cli.run(listing) == 64
    assert "give --ask-vault-pass, or take the setting out" in capsys.readouterr().err
    assert cli.run([*listing, "--vault-password-file", key]) == 0


def test_the_doctor_opens_encrypted_variables_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = encrypted(tmp_path)
    monkeypatch.setattr("gpuprep.oci.doctor.examine", lambda *_: [])
    monkeypatch.setattr("gpuprep.oci.doctor.read_file", lambda _: {})
    monkeypatch.setattr("gpuprep.oci.options.has_expressions", lambda _: True)
    assert cli.run(["inventory", "doctor", file]) == 64
    assert "encrypted data cannot be read" in capsys.readouterr().err
    key = str(tmp_path / "key")
    assert cli.run(["inventory", "doctor", file, "--vault-password-file", key]) == 0
    assert "none fails for any host" in capsys.readouterr().out


def test_a_listing_that_is_stopped_ends_what_it_started(tmp_path: Path) -> None:
    """The script is a child of Ansible's, which has no time to end it."""
    script = tmp_path / "hosts"
    script.write_text("#!/bin/sh\necho $$ > begun.part; mv begun.part begun; exec sleep 300\n")
    script.chmod(0o755)
    command = [sys.executable, "-m", "gpuprep", "inventory", "list", "-i", str(script)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    begun = tmp_path / "begun"
    deadline = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert "gpuprep: stopping; " in err
    left = Path("/proc", begun.read_text().strip(), "cmdline")  # empty: nobody asked how it ended
    assert not (left.exists() and left.read_bytes())
