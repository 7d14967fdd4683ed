"""What the API makes of its inputs, without running anything."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gpuprep
from gpuprep import cli
from gpuprep.cli.params import which_hosts
from gpuprep.errors import ConfigError, EngineError, InventoryError
from gpuprep.fleet.failures import failure_message
from gpuprep.run import directory as rundir
from gpuprep.run import environment as engine
from gpuprep.run import inventories, processes, redact
from gpuprep.run.ansible_errors import engine_error, error_text
from gpuprep.run.options import limit_arguments
from gpuprep.run.own_words import own_words
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


# Every spelling of a secret that Ansible reads in an inventory or a file of variables.
SPELLINGS = {
    "plain": "password: Sesame7\n",
    "hash": "password: Sesame7#open\n",
    "comma": "password: Sesame7,open\n",
    "blanks": "password: Sesame7 open it\n",
    "double": 'password: "Sesame7 \\" open"\n',
    "escape": 'password: "Ses\\x61me7"\n',
    "single": "password: 'Sesame7 '' open'\n",
    "unsafe": "password: !unsafe 'Sesame7 {{ open }}'\n",
    "literal": "password: |\n  Sesame7\n  open it\n",
    "folded": "password: >-\n  Sesame7\n  open it\n",
    "anchor": "other: &a Sesame7\npassword: *a\n",
    "merge": "base: &a {db_pwd: Sesame7}\nhost:\n  <<: *a\n",
    "nested": "vault_secrets:\n  any: {thing: Sesame7}\n",
    "list": "api_tokens:\n- Sesame7\n- more\n",
    "flow": "all: {hosts: {a: {password: Sesame7}}}\n",
    "number": "password: 77777777\n",
    "hump": "apiToken: Sesame7\n",
    "pwd": "db_pwd: Sesame7\n",
    "key": "ssh_key: Sesame7\n",
    "hyphen": "api-key: Sesame7\n",
    "two documents": "---\na: 1\n---\npassword: Sesame7\n",
    "json": '{"all": {"vars": {"password": "Sesame7"}}}',
    "json with tabs": '{\n\t"db_secret": "Sesame7"\n}',
    "ini host": "[gpus]\na ansible_password=Sesame7 # comment\n",
    "ini quoted": "a ansible_password='Sesame7 open' x=1\n",
    "ini vars": "[all:vars]\nansible_password = Sesame7 open # it\n",
    "ini literal": "[all:vars]\nansible_password = 'Sesame7 open'\n",
    "toml": '[all.vars]\nansible_password = "Sesame7"\n',
    "url": "mirror: https://bot:Sesame7@host/x\n",
    "url with at": "mirror: https://bot:Sesame7@open@host/x\n",
    "url encoded": "mirror: https://bot:Sesame7%40open@host/x\n",
    "token in url": "mirror: https://Sesame77@host/x\n",
    "conda": "alias: https://host/t/Sesame7/main\n",
    "pre-authenticated": "image: https://objectstorage/p/Sesame7/n/x/b/y/o/z\n",
    "query": "mirror: https://host/x?a=1&token=Sesame7\n",
    "large": "password: Sesame7\n" + "# filler\n" * 500_000,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_found_however_it_is_written(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "file"
    path.write_text(SPELLINGS[spelling])
    redactor = Redactor(secrets_in_file(path))
    for shown in (
        "Sesame7", "Sesame7 open it", 'Sesame7 " open', "Sesame7 ' open", "Sesame7#open",
        "Sesame7,open", "Sesame7 {{ open }}", "Sesame7\nopen it", "Sesame7 open", "77777777",
        "Sesame7@open", "Sesame77", "Sesame7%40open", "Sesame7 open # it",
    ):  # fmt: skip
        if shown in {found.rstrip("\n") for found in secrets_in_file(path)}:
            for form in (shown, json.dumps(shown), repr(shown), f"'{shown}'"):
                assert "esame" not in redactor.text(f"x {form} y")
                assert "open" not in redactor.text(f"x {form} y")
                assert "7777" not in redactor.text(f"x {form} y")
            break
    else:
        pytest.fail(f"nothing found but {secrets_in_file(path)}")


@settings(deadline=None, max_examples=50)
@given(secret=st.text(min_size=4, max_size=20).filter(lambda t: t.isprintable() and _is_masked(t)))
def test_whatever_yaml_can_write_is_found(secret: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for style in ("", "'", '"', "|", ">"):
            data = {"all": {"hosts": {"a": {"ansible_password": secret, "port": 22}}}}
            path.write_text(yaml.safe_dump(data, default_style=style, allow_unicode=True))
            assert secret in secrets_in_file(path)
        path.write_text(json.dumps(data))
        assert secret in secrets_in_file(path)


def _is_masked(text: str) -> bool:
    return not text.lstrip().startswith(("{{", "!vault", "$ANSIBLE_VAULT"))


def test_anchors_that_multiply_are_looked_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 {password: Sesame7}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    path = tmp_path / "bomb.yml"
    path.write_text("\n".join(lines))
    assert secrets_in_file(path) == ["Sesame7"]


def test_what_is_encrypted_or_only_named_is_no_secret_yet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(
        "a_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3131\nb_password: '{{ other }}'\n"
        "PWD: /home/user\nOLDPWD: /home\nkey_file: /x\n"
    )
    assert secrets_in_file(path) == []


KEYS = (
    "password", "pass", "word", "PassWord", "a_secret", "ssh_key", "access_key", "_file", "_path",
    "api_token", '"\\x70assword"', "host", "a", "k", "_", "-", " ", 'pass"word"', "[all:vars]\nt",
)  # fmt: skip
BETWEEN = (
    ": ",
    ":",
    "=",
    " = ",
    "\n",
    "\n  ",
    ": {",
    ": [",
    ", ",
    "? ",
    "\n: ",
    "- ",
    "# ",
    "}",
    ": |\n ",
)
VALUES = (
    "Sesame7", "'Sesame7'", '"Sesame7"', "https://bot:Sesame7@h/x", "https://Sesame77@h", "*a",
    "&a ", "https://h/t/Sesame7/x", "https://h/p/Sesame7/n/x", "https://h?sig=Sesame7",
    "x&sig=Sesame7", "https://h/x", "~/.ssh/id_rsa", "7777", "http", "://b:", '"s7@h"', "x_file=s7",
)  # fmt: skip


LINE = tuple(map(st.sampled_from, (KEYS, BETWEEN, VALUES)))


@settings(deadline=None, max_examples=2000)
@given(lines=st.lists(st.tuples(*(st.lists(part, max_size=2) for part in LINE)), max_size=4))
@example(lines=[(['"\\x70assword"'], [": "], ["Sesame7"])])
@example(lines=[(["host", " ", 'to"ken"'], ["="], ["Sesame7"])])
@example(lines=[(["access_key", "_file", " ", "a"], [": "], ["Sesame7"])])
def test_what_is_not_worth_parsing_holds_no_secret(lines: list[tuple[list[str], ...]]) -> None:
    text = "\n".join("".join(word for part in line for word in part) for line in lines)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "file"
        path.write_text(text)
        found = set(secrets_in_file(path))
        patch.setattr(redact, "_may_hold_secrets", lambda _text: True)
        assert found == set(secrets_in_file(path))


def test_an_inventory_that_names_files_of_keys_is_not_parsed_for_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parsed(text: str) -> None:
        pytest.fail(f"parsed: {text}")

    monkeypatch.setattr(redact, "_parsed", parsed)
    path = tmp_path / "hosts.yml"
    path.write_text(
        "all:\n  hosts: {a: {ansible_host: 10.0.0.1}}\n  vars:\n    ansible_user: opc\n"
        "    ansible_ssh_private_key_file: ~/.ssh/id_ed25519\n    gpuprep_mirror: http://m.lan/repos\n"
    )
    assert secrets_in_file(path) == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("get https://TOKEN@h/x", f"get https://{MASK}@h/x"),
        ("https://h/t/tk-1/main: 404", f"https://h/t/{MASK}/main: 404"),
        ("https://h/x?token=a&b=c", f"https://h/x?token={MASK}&b=c"),
        ("https://h/x?X-Amz-Signature=a", f"https://h/x?X-Amz-Signature={MASK}"),
        ("https://u:p@ss@h/x", f"https://u:{MASK}@h/x"),
        ("https://h/p/tok/n/name/b/x", f"https://h/p/{MASK}/n/name/b/x"),
        ("ssh://u:pw@h", f"ssh://u:{MASK}@h"),
        ("'http://a:b@h' and \"http://c:d@h\"", f"'http://a:{MASK}@h' and \"http://c:{MASK}@h\""),
        *((text, text) for text in (
            "ssh://opc@h/x", "git+ssh://git@h/x", "http://h:80/x", "mail a@b", "see /t/x and /p/y",
            "http://h/x?page=2", "[fe80::1]:22", "a=b; c=d",
        )),
    ],
)  # fmt: skip
def test_urls_are_masked_where_secrets_stand(text: str, masked: str) -> None:
    assert Redactor().text(text) == masked


def test_short_values_and_switches_are_not_masked_everywhere() -> None:
    assert Redactor(["a", "abcd", "false"]).text("a abcd false") == f"a {MASK} false"


def test_a_password_that_is_a_word_of_the_model_breaks_no_document() -> None:
    """Whoever chose ``driver`` as a password must still get a result."""
    words = own_words()
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


def test_a_file_that_is_encrypted_as_a_whole_is_named(tmp_path: Path) -> None:
    """Ansible itself only says that something is."""
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/a.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3131\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {ansible_connection: local}}}\n")
    with pytest.raises(ConfigError, match=r"give --vault-password-file .*host_vars/a\.yml\)$"):
        gpuprep.plan(tmp_path)
    (tmp_path / "host_vars/a.yml").rename(tmp_path / "given.yml")
    with pytest.raises(ConfigError, match=r"--vault-password-file .*given\.yml"):
        gpuprep.plan(tmp_path / "hosts.yml", variables=[str(tmp_path / "given.yml")])


def test_what_cannot_be_decrypted_is_told_before_what_follows_from_it() -> None:
    """Words of ansible-core 2.18, whose every inventory plugin then fails."""
    output = """\
[WARNING]:  * Failed to parse /i/hosts.yml with auto plugin: no root 'plugin' key
found, '/i/hosts.yml' is not a valid YAML inventory plugin config file
[WARNING]:  * Failed to parse /i/hosts.yml with yaml plugin: Attempting to
decrypt but no vault secrets found
ERROR! Completely failed to parse inventory source /i/hosts.yml
"""
    error = engine_error(1, output, None)
    assert "give --vault-password-file" in str(error)


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


def test_a_run_that_was_killed_before_it_had_its_lock_leaves_nothing_for_ever(
    tmp_path: Path,
) -> None:
    for name, content in (("old", "lock.new"), ("empty", ""), ("new", "lock.new"), ("else", "x")):
        folder = tmp_path / f"gpuprep-{name}"
        folder.mkdir()
        if content:
            (folder / content).touch()
        if name != "new":
            os.utime(folder, (0, 0))
    assert {path.name for path in rundir.remove_abandoned(tmp_path)} == {
        "gpuprep-old",
        "gpuprep-empty",
    }


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


@pytest.mark.parametrize("text", ["", "\n", "# a\n\n", ",\n", "!\n", "~[\n", "@other\n", "a\n&\n"])
def test_a_file_of_hosts_that_names_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.retry"
    path.write_text(text)
    with pytest.raises(ConfigError, match="limit file"):
        limit_arguments(f"@{path}", tmp_path)
    path.write_text("# those of yesterday\na\n\n")
    assert limit_arguments(f"@{path}", tmp_path) == [f"--limit=@{path}"]


LONG = ",".join(f"10.0.{n // 250}.{n % 250}" for n in range(12_000))


@pytest.mark.parametrize("hosts", [40, 12_000])
def test_a_list_of_hosts_may_be_long(tmp_path: Path, hosts: int) -> None:
    """No path is that long, and no argument of a program longer than 128 KiB."""
    names = LONG.split(",")[:hosts]
    (value,) = inventories.inventory_arguments(",".join(names), tmp_path)
    (limit,) = limit_arguments(names, tmp_path)
    assert inventories.files_of(",".join(names)) == ()
    for argument in (f"--inventory={value}", limit):
        command = [sys.executable, "-m", "ansible", "inventory", "--list", argument]
        command += [] if argument.startswith("--inv") else [f"--inventory={value}"]
        done = subprocess.run(command, check=True, capture_output=True)
        assert set(json.loads(done.stdout)["ungrouped"]["hosts"]) == set(names)


@pytest.mark.parametrize(
    "call",
    [
        gpuprep.plan,
        lambda text: gpuprep.plan([text]),
        lambda text: gpuprep.plan("a,", variables=[text]),
        lambda text: gpuprep.plan("a,", limit=f"@{text}"),
        lambda text: gpuprep.plan("a,", access=gpuprep.Access(private_key=text)),
        lambda text: gpuprep.plan("a,", access=gpuprep.Access(vault_password_files=(text,))),
        lambda text: gpuprep.plan("a,", access=gpuprep.Access(vault_ids=(f"x@{text}",))),
        lambda text: cli.root.main(["plan", "-i", "a,", "--report", text], standalone_mode=False),
        lambda text: cli.root.main(
            ["plan", "-i", "a,", "--locked", "--lock-file", text], standalone_mode=False
        ),
        lambda text: cli.root.main(["bundle", "a", "--to", text], standalone_mode=False),
        lambda text: cli.root.main(["lock", "--check", "--file", text], standalone_mode=False),
    ],
)
@pytest.mark.parametrize("text", ["x" * 300, "a/" * 3000, "~nobody-of-this-name/x"])
def test_a_text_that_can_be_no_path_is_no_bug(call: Any, text: str) -> None:
    with pytest.raises((ConfigError, InventoryError)):
        call(text)


@pytest.mark.parametrize("limit", ["a", "a,b", "gpu*:!gpu7", "~gpu[0-9]+", "--help", "[fe80::1]"])
def test_a_limit_goes_to_ansible_as_it_is(limit: str) -> None:
    assert limit_arguments(limit, Path()) == [f"--limit={limit}"]
    assert limit_arguments(None, Path()) == []


def test_empty_names_of_hosts_are_no_hosts() -> None:
    assert which_hosts((), ("",), None) == (None, ("",))
    with pytest.raises(ConfigError, match="names no host"):
        limit_arguments(("",), Path())
    assert which_hosts((), (), None) == (None, None)
