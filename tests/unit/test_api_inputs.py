"""What the API makes of its inputs, without running anything."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuprep
from gpuprep.cli.params import which_hosts
from gpuprep.errors import ConfigError, EngineError, InventoryError
from gpuprep.fleet.failures import failure_message
from gpuprep.run import directory as rundir
from gpuprep.run import environment as engine
from gpuprep.run import inventories, processes
from gpuprep.run.ansible_errors import engine_error, error_text
from gpuprep.run.execution import OWN_WORDS
from gpuprep.run.options import limit_arguments
from gpuprep.run.redact import (
    _SWITCHES,
    MASK,
    Redactor,
    is_secret_name,
    secrets_in,
    secrets_in_file,
    secrets_in_text,
)

# --- inventories --------------------------------------------------------------------------------


def test_paths_become_absolute_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).touch()
    found = inventories.inventory_arguments(["b.yml", tmp_path / "a.yml"], tmp_path)
    assert found == (str(tmp_path / "b.yml"), str(tmp_path / "a.yml"))


def test_a_comma_makes_a_list_of_hosts(tmp_path: Path) -> None:
    assert inventories.inventory_arguments("gpu1,gpu2", tmp_path) == ("gpu1,gpu2",)


def test_localhost_is_this_machine_with_sudo_only_if_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for uid, become in ((0, False), (1000, True)):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        (path,) = inventories.inventory_arguments("localhost", tmp_path)
        host = json.loads(Path(path).read_text())["all"]["hosts"]["localhost"]
        assert (host["ansible_connection"], host["ansible_become"]) == ("local", become)


def test_a_structure_is_written_for_this_user_alone(tmp_path: Path) -> None:
    structure = {"gpus": {"hosts": {"a": {"ansible_password": "x"}}}}
    (path,) = inventories.inventory_arguments(structure, tmp_path)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert json.loads(Path(path).read_text()) == structure


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({}, "is empty"),
        ({"all": ["a"]}, "expected a mapping .* found list"),
        ({"hosts": {"a": {}}}, "unknown key 'a'"),
        ({"all": {"hosts": {"a": {"key": object()}}}}, "plain data"),
    ],
)
def test_a_structure_that_is_no_inventory(
    structure: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        inventories.inventory_arguments(structure, tmp_path)


def test_a_misspelt_file_is_told_from_a_host(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match='needs a comma \\("gpu1,"\\)'):
        inventories.inventory_arguments("gpu1", tmp_path)
    with pytest.raises(ConfigError, match="name at least one"):
        inventories.inventory_arguments([], tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gpuprep.verify("a,", tier="fast"), "tier 'fast': choose one of quick"),
        (lambda: gpuprep.verify("a,", sample=0), "at least 1 host"),
        (lambda: gpuprep.plan("a,", variables="x=1"), "expected a mapping or a list, found text"),
        (lambda: gpuprep.plan("a,", variables=["/nowhere.yml"]), "variables file /nowhere.yml"),
        (
            lambda: gpuprep.plan("a,", access=gpuprep.Access(vault_password_files=("/nowhere",))),
            "vault password file /nowhere: no such file",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_anything_runs(
    call: Any,
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


# --- environment --------------------------------------------------------------------------------


def test_the_users_collections_come_after_ours(tmp_path: Path) -> None:
    ours = str(engine.collections_root())
    given_by_environment = {"ANSIBLE_COLLECTIONS_PATH": f"/x:{ours}:/y"}
    assert engine.collections_path(given_by_environment, tmp_path) == f"{ours}:/x:/y"
    config = tmp_path / "project" / "ansible.cfg"
    config.parent.mkdir()
    config.write_text("[defaults]\ncollections_path = more:/abs ; as everybody\n")
    expected = f"{ours}:{config.parent}/more:/abs"
    assert engine.collections_path({"ANSIBLE_CONFIG": str(config)}, tmp_path) == expected
    assert engine.collections_path({}, config.parent) == expected


def test_an_ansible_cfg_that_everybody_can_write_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = x\n")
    assert engine.has_inventory({}, tmp_path)
    tmp_path.chmod(0o777)
    assert engine.find_configuration({}, tmp_path) != tmp_path / "ansible.cfg"


def test_what_matters_for_safety_is_fixed_whatever_the_user_has_set(tmp_path: Path) -> None:
    theirs = {"ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_SSH_CONTROL_PATH_DIR": "/own"}
    found = engine.engine_environment(theirs, tmp_path, tmp_path / "run")
    assert found["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    assert "ANSIBLE_SSH_CONTROL_PATH_DIR" not in found
    assert found["ANSIBLE_LOCAL_TEMP"] == str(tmp_path / "run/tmp")


def test_ansible_reads_the_same_configuration_as_we_do(tmp_path: Path) -> None:
    """Ansible itself is asked, with the environment of a run, what it took from where."""
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nhost_key_checking = False\ntimeout = 77\ngathering = smart\n"
        "[inventory]\nany_unparsed_is_failed = False\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment |= engine.engine_environment({}, tmp_path, tmp_path / "run")
    command = [sys.executable, "-P", "-m", "ansible", "config", "dump", "--format", "json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, check=True, text=True
    )
    settings = {
        entry["name"]: entry["value"] for entry in json.loads(done.stdout) if "name" in entry
    }
    assert settings["HOST_KEY_CHECKING"] is True
    assert settings["DEFAULT_GATHERING"] == "explicit"
    assert settings["INVENTORY_ANY_UNPARSED_IS_FAILED"] is True
    assert settings["INVENTORY_UNPARSED_IS_FAILED"] is True
    assert settings["ANSIBLE_PIPELINING"] is True
    assert settings["DEFAULT_TIMEOUT"] == 77
    assert settings["COLLECTIONS_PATHS"][0] == str(engine.collections_root())


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "ansible_become_password",
        "ansible_become_pass",
        "ansible_ssh_pass",
        "API_TOKEN",
        "oci_secret",
        "AWS_SECRET_ACCESS_KEY",
        "private_key",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["conda_prefix", "ansible_ssh_private_key_file", "compass", "bypass_checks", "TOKENIZERS_X"],
)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_found_deep_down_and_in_urls() -> None:
    data = {"a": [{"db_password": "deep"}], "tokens": {"x": "all-below"}, "url": "https://u:pw@h/x"}
    assert set(secrets_in(data)) == {"deep", "all-below", "pw"}


def test_secrets_are_found_in_files_of_any_format() -> None:
    text = (
        'h1 ansible_host=10.0.0.1 ansible_password="ini one"\n'
        "api_token: yaml-two  # comment\n"
        '{"db_secret": "json-three"}\n'
        "vaulted_password: !vault |\n"
        "templated_password: {{ lookup('x') }}\n"
        "mirror: https://user:url-four@mirror/repo\n"
    )
    assert set(secrets_in_text(text)) == {"ini one", "yaml-two", "json-three", "url-four"}


def test_short_values_and_switches_are_not_masked_everywhere() -> None:
    assert Redactor(["a", "abcd", "false"]).text("a abcd false") == f"a {MASK} false"


def test_a_password_that_is_a_word_of_the_model_breaks_no_document() -> None:
    """Whoever chose ``driver`` as a password must still get a result."""
    words = OWN_WORDS
    assert {"driver", "package", "drifted", "converged", "failed", "nvidia", "planned"} <= words
    assert Redactor(["driver", "proper-one"], spared=words).text("driver proper-one") == (
        f"driver {MASK}"
    )


def test_secrets_beside_an_inventory_are_found(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts"
    inventory.write_text("a ansible_password=one-in-hosts\n")
    variables = tmp_path / "group_vars" / "all.yml"
    variables.parent.mkdir()
    variables.write_text("api_token: two-in-group\n")
    for source in (inventory, tmp_path, [str(inventory)]):
        found = {
            secret for path in inventories.files_of(source) for secret in secrets_in_file(path)
        }
        assert found == {"one-in-hosts", "two-in-group"}
    assert inventories.files_of({"all": {}}) == inventories.files_of(None) == ()


def test_passwords_in_urls_are_masked_without_being_known() -> None:
    assert Redactor().text("get https://u:secret@h/x") == f"get https://u:{MASK}@h/x"


def _can_be_masked(text: str) -> bool:
    return bool(text.strip("*") and text.strip()) and text.lower() not in _SWITCHES


@given(
    secret=st.text(min_size=4, max_size=30).filter(_can_be_masked),
    before=st.text(max_size=10),
    after=st.text(max_size=10),
)
def test_a_known_secret_never_comes_through(secret: str, before: str, after: str) -> None:
    masked = Redactor([secret]).data({"k": [before + secret + after]})["k"][0]
    assert secret not in masked.replace(MASK, "")


# --- Ansible's words ----------------------------------------------------------------------------

UNPARSED = "ERROR! Completely failed to parse inventory source /i.yml"


@pytest.mark.parametrize(
    ("code", "output", "kind", "message"),
    [
        (
            1,
            "[ERROR]: Specified inventory and/or --limit leaves us with no hosts\nto target.",
            ConfigError,
            "no host matches --limit x",
        ),
        (
            1,
            "* Failed to parse /i.yml with auto plugin: 401 not authenticated\n" + UNPARSED,
            InventoryError,
            "/i.yml: 401 not authenticated",
        ),
        (1, "ERROR! Decryption failed on /v.yml", ConfigError, "--vault-password-file"),
        (5, "ansible-playbook: error: bad", ConfigError, "Ansible refuses the input"),
        (
            250,
            "[ERROR]: Unexpected Exception, this is probably a bug: x",
            EngineError,
            "broke down",
        ),
        (3, "", EngineError, "exit code 3: it said nothing"),
    ],
)
def test_what_ansible_says_is_told_as_an_error_of_ours(
    code: int, output: str, kind: type[Exception], message: str
) -> None:
    error = engine_error(code, output, "x")
    assert type(error) is kind
    assert message in str(error)


def test_several_errors_are_all_told() -> None:
    assert error_text("[ERROR]: one\nmore\n\nERROR! two\nPLAY RECAP") == "one more; two"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "disk full"}, "disk full"),
        (
            {"msg": "non-zero return code", "stderr": "cc1: error"},
            "non-zero return code\ncc1: error",
        ),
        ({"results": [{"msg": "fine"}, {"failed": True, "msg": "second item"}]}, "second item"),
        ({"censored": "the output has been hidden"}, "hidden because the task handles secrets"),
        ({"stdout": "only this"}, "only this"),
        ({}, "Ansible gives no message"),
        ({"msg": ["a", "list"]}, "a\nlist"),
    ],
)
def test_the_words_of_a_failure(result: dict[str, Any], message: str) -> None:
    assert message in failure_message(result)


def test_a_long_failure_is_cut_and_says_so() -> None:
    text = failure_message({"msg": "\n".join(f"line {n}" for n in range(100))})
    assert text.splitlines()[-1] == "... (89 more lines)"
    assert len(text.splitlines()) == 12


# --- processes and directories ------------------------------------------------------------------


def start_marked(run_dir: Path, *command: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "GPUPREP_RUN_DIR": str(run_dir)}
    return subprocess.Popen(command, env=environment, start_new_session=True)


def wait_for(run_dir: Path, name: str) -> None:
    deadline = time.monotonic() + 10
    while not any(process.name == name for process in processes.belonging_to(run_dir)):
        assert time.monotonic() < deadline, f"{name} did not start"
        time.sleep(0.02)


def test_processes_of_a_run_are_ended_in_whatever_session_they_are(tmp_path: Path) -> None:
    stubborn = start_marked(tmp_path, "bash", "-c", "trap '' TERM; while :; do sleep 1; done")
    other = subprocess.Popen(["sleep", "60"])
    try:
        wait_for(tmp_path, "bash")
        assert processes.end_all(tmp_path, grace=0.3) == ()
        assert stubborn.wait(5) < 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_package_manager_at_work_is_left_to_finish(tmp_path: Path) -> None:
    program = tmp_path / "dpkg"
    program.write_text("#!/bin/sh\nsleep 2\n")
    program.chmod(0o755)
    working = start_marked(tmp_path / "run", str(program))
    wait_for(tmp_path / "run", "sleep")
    left = processes.end_all(tmp_path / "run", grace=0.1)
    assert {process.name for process in left} == {"dpkg", "sleep"}
    assert working.wait(10) == 0


def test_a_run_directory_is_private_and_goes_away_even_on_failure(tmp_path: Path) -> None:
    def fail_inside() -> None:
        with rundir.run_directory(tmp_path) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            (path / "secret").touch()
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert list(tmp_path.iterdir()) == []


def test_only_directories_whose_owner_is_gone_are_cleared_away(tmp_path: Path) -> None:
    dead = tmp_path / "gpuprep-dead"
    dead.mkdir()
    (dead / "lock").touch()
    strange = tmp_path / "gpuprep-strange"  # no lock: not ours to judge
    strange.mkdir()
    with rundir.run_directory(tmp_path) as living:
        assert not dead.exists()
        assert rundir.remove_abandoned(tmp_path) == ()
        assert living.exists()
    assert strange.exists()


def test_a_directory_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with caplog.at_level(logging.WARNING), rundir.run_directory(tmp_path):
        pass
    assert "may hold secrets" in caplog.text


# --- a limit that names nothing is not the whole fleet -------------------------------------------


@pytest.mark.parametrize("limit", ["", " ", ",", ",,,", ":", "!", "&,!", "~[", "a,~(", "@missing"])
def test_a_limit_that_cannot_name_hosts_is_refused(limit: str) -> None:
    """Ansible would take every host for it."""
    with pytest.raises(ConfigError, match="limit"):
        gpuprep.plan("a,b,", limit=limit)


def test_an_empty_file_of_hosts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hosts.retry"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="names no host"):
        limit_arguments(f"@{path}")
    path.write_text("a\n")
    assert limit_arguments(f"@{path}") == [f"--limit=@{path}"]


@pytest.mark.parametrize("limit", ["a", "a,b", "gpu*:!gpu7", "~gpu[0-9]+", "--help", "[fe80::1]"])
def test_a_limit_goes_to_ansible_as_it_is(limit: str) -> None:
    assert limit_arguments(limit) == [f"--limit={limit}"]
    assert limit_arguments(None) == []


def test_empty_names_of_hosts_are_no_hosts() -> None:
    assert which_hosts((), ("",), None) == (None, ("",))
    with pytest.raises(ConfigError, match="names no host"):
        limit_arguments(("",))
    assert which_hosts((), (), None) == (None, None)
