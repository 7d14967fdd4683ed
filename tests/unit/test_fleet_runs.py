"""Whole runs of the real playbooks over pretended hosts: waves, isolation, failed roles."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest

import gpuprep
from gpuprep.errors import ConfigError, ExitCode, GpuprepError
from gpuprep.model import HostStatus

if TYPE_CHECKING:
    from fleet_rig import Rig


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return fleet_rig.make(tmp_path, monkeypatch, "runs")


def test_a_host_is_locked_converged_rebooted_proven_and_unlocked(rig: Rig) -> None:
    result = rig.run("apply", {"a": {"rig_roles": ["gpu_driver", "conda"]}})
    assert result.exit_code is ExitCode.OK, result.hosts["a"].error
    assert rig.log() == [
        "observe a",
        "lease present a",
        "role gpu_driver a",
        "role conda a",
        "handler a",
        "observe a",
        "lease absent a",
    ]


def test_only_the_roles_that_differ_run_on_the_hosts_that_differ(rig: Rig) -> None:
    (rig.folder / "done-a-conda").touch()
    (rig.folder / "done-b-conda").touch()
    result = rig.run("apply", {"a": {}, "b": {"rig_roles": ["gpu_driver", "conda"]}, "c": {}})
    assert result.exit_code is ExitCode.OK
    assert sorted(rig.log("role")) == ["role conda c", "role gpu_driver b"]


def test_the_roles_of_a_host_keep_their_order_beside_hosts_with_others(rig: Rig) -> None:
    hosts = {"first": {"rig_roles": ["conda"]}, "both": {"rig_roles": ["gpu_driver", "conda"]}}
    result = rig.run("apply", hosts, forks=1)  # the first host answers first
    assert result.exit_code is ExitCode.OK
    roles = [line for line in rig.log("role", "handler") if line.endswith("both")]
    assert roles == ["role gpu_driver both", "role conda both", "handler both"]


def test_without_the_short_cut_all_roles_run_on_this_host(rig: Rig) -> None:
    (rig.folder / "done-a-conda").touch()
    (rig.folder / "done-b-conda").touch()
    rig.run("apply", {"a": {"gpuprep_short_cut": False}, "b": {}})
    assert rig.log("role") == ["role conda a"]


def test_a_failed_role_is_told_and_its_host_observed_again(rig: Rig) -> None:
    roles = ["gpu_driver", "conda"]
    hosts = {"a": {"rig_fail": "conda", "rig_roles": roles}, "b": {}}
    result = rig.run("apply", hosts)
    broken = result.hosts["a"]
    assert (broken.state, broken.code) == (HostStatus.FAILED, "E_DISK")
    assert broken.error == "conda: Fail: [E_DISK] the disk is full"
    assert {step.id: step.status for step in broken.steps} == {
        "gpu_driver": "done",
        "conda": "failed",
    }
    assert result.hosts["b"].state is HostStatus.PREPARED
    assert sorted(rig.log("observe")) == ["observe a", "observe a", "observe b", "observe b"]
    assert sorted(rig.log("lease"))[:2] == ["lease absent a", "lease absent b"]


@pytest.mark.parametrize("allowed", [True, False])
def test_a_reboot_that_is_all_that_is_left_is_made_when_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, allowed: bool
) -> None:
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs", "reboot")
    host = {
        "ansible_connection": "ssh",  # nothing connects; a local one is never rebooted
        "rig_roles": ["gpu_driver"],
        "rig_step": "reboot",
        "gpu_driver_reboot_allowed": allowed,
    }
    result = rig.run("apply", {"a": host})
    assert rig.log("reboot") == (["reboot a"] if allowed else [])
    state = HostStatus.PREPARED if allowed else HostStatus.DRIFTED
    assert (result.hosts["a"].state, result.hosts["a"].changed) == (state, allowed)


def test_a_locked_host_is_neither_changed_nor_waited_for(rig: Rig) -> None:
    result = rig.run("apply", {"a": {"rig_locked": True}, "b": {}})
    assert (result.hosts["a"].code, result.hosts["a"].state) == ("E_LOCKED", HostStatus.FAILED)
    assert result.hosts["b"].state is HostStatus.PREPARED
    assert rig.log("role") == ["role conda b"]


# Encrypted data as JSON has it; nobody has its password.
VAULT = {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n" + "3031" * 20 + "\n"}
ODD: list[dict[str, Any]] = [
    {"ansible_connection": "nosuch"},
    {"ansible_connection": {"a": 1}},
    {"ansible_port": "notaport", "ansible_user": "{{ nope }}", "rig_fault": "odd"},
    {"ansible_become_method": "nosuch", "ansible_become": True},
    {"ansible_become": "{{ nope }}", "ansible_password": "{{ nope }}"},
    {"gpu_driver_branch": "{{ nope }}"},
    {"gpuprep_batch": "{{ nope }}"},
    {"gpuprep_hosts": "{{ nope }}"},
    {"gpuprep_observe_timeout": 0},
    {"conda_prefix": ["/opt"]},
    {"conda_environments": [{"name": "a", "packages": ["{{ nope }}"]}]},
    {"gpuprep_mirror": VAULT},
    {"oci_shape": VAULT},
    {"ansible_host": VAULT},
    {"ansible_connection": VAULT},
    {"ansible_become_password": VAULT, "ansible_become": True},
    {"ansible_become_user": "{{ nope }}", "ansible_become": True},
    {"ansible_python_interpreter": "{{ nope }}"},
    {"ansible_remote_tmp": VAULT},
    {"ansible_connection": "ssh", "ansible_password": VAULT},
    {"rig_fault": "a fault of the planner"},
]
VARIABLE = re.compile("(?:conda|gpuprep|gpu|oci|ansible)_[a-z_]+")


def test_a_fault_of_one_host_is_its_own_in_any_order(rig: Rig) -> None:
    odd = {f"odd{number}": values for number, values in enumerate(ODD)}
    for hosts in ({**odd, "well": {}}, {"well": {}, **odd}):
        result = rig.run("plan", hosts)
        assert result.hosts["well"].state is HostStatus.DRIFTED
        for name, values in odd.items():
            host = result.hosts[name]
            assert host.state in {HostStatus.FAILED, HostStatus.REFUSED}, name
            assert host.code
            if host.state is HostStatus.REFUSED:
                named = VARIABLE.match(host.error or "")
                assert (host.code, named) == ("E_CONFIG", named)
                assert named is not None, host.error
                assert named[0] in values
    states = [result.hosts[name].state for name in list(odd)[5:-1]]
    assert set(states) == {HostStatus.REFUSED}
    fault = result.hosts[list(odd)[-1]]
    assert fault.code == "E_INTERNAL"
    assert fault.error == "ZeroDivisionError: a fault of the planner"


VAULTED = "$ANSIBLE_VAULT;1.1;AES256\n" + "3031" * 20 + "\n"
BROKEN = {
    "no YAML": ("conda_prefix: /opt\nx: [1, 2\n", r"{file}:3:\d+: .*YAML"),
    "a list": ("- conda_prefix\n", "{file}"),
    "encrypted": (VAULTED, "{file}.*vault.*--vault-password-file"),
}


def with_files(rig: Rig, tmp_path: Path, names: str, files: dict[str, str]) -> Path:
    """Write an inventory with files of variables; b is in the group few."""
    folder = tmp_path / f"inventory-{names}"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    hosts = dict.fromkeys(names)
    every = {"hosts": hosts, "vars": {**fleet_rig.LOCAL, "rig": str(rig.folder)}}
    few = {"hosts": {"b": None}}
    path = folder / "hosts.json"
    path.write_text(json.dumps({"all": {**every, "children": {"few": few}}}))
    return path


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("owner", ["host_vars/b", "group_vars/few"])
def test_a_file_of_variables_that_cannot_be_read_is_its_hosts_own_fault(
    rig: Rig, tmp_path: Path, kind: str, owner: str
) -> None:
    """Also when it is the first host, whose variables Ansible reads before anything."""
    text, told = BROKEN[kind]
    for names in ("bac", "cab"):
        inventory = with_files(rig, tmp_path, names, {f"{owner}.yml": text})
        result = rig.run("apply", inventory)
        broken = result.hosts["b"]
        assert (broken.state, broken.code) == (HostStatus.REFUSED, "E_CONFIG")
        file = re.escape(str(inventory.parent / owner))
        assert re.search(told.format(file=rf"{file}\.yml"), broken.error or ""), broken.error
        assert [result.hosts[name].state for name in "ac"] == [HostStatus.PREPARED] * 2
        for done in rig.folder.glob("done-*"):
            done.unlink()


def test_a_host_called_localhost_with_broken_variables_costs_the_others_nothing(
    rig: Rig, tmp_path: Path
) -> None:
    files = {"host_vars/localhost.yml": BROKEN["no YAML"][0]}
    inventory = with_files(rig, tmp_path, "ab", files)
    document = json.loads(inventory.read_text())
    document["all"]["hosts"] = {"localhost": None, **document["all"]["hosts"]}
    inventory.write_text(json.dumps(document))
    result = rig.run("apply", inventory)
    assert result.hosts["localhost"].code == "E_CONFIG"
    assert [result.hosts[name].state for name in "ab"] == [HostStatus.PREPARED] * 2


def test_with_the_wrong_vault_password_only_encrypted_hosts_fail(rig: Rig, tmp_path: Path) -> None:
    from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: PLC0415

    encrypted = VaultLib().encrypt("conda_prefix: /srv/c\n", secret=VaultSecret(b"Sesame")).decode()
    inventory = with_files(rig, tmp_path, "bac", {"host_vars/b.yml": encrypted})

    def plan(password: str, limit: str) -> Any:
        access = gpuprep.Access(vault_passwords={"default": password})
        return rig.run("plan", inventory, access=access, limit=limit)

    hosts = plan("Mellon", "a,b").hosts
    assert (hosts["b"].code, hosts["a"].state) == ("E_CONFIG", HostStatus.DRIFTED)
    assert str(inventory.parent / "host_vars/b.yml") in (hosts["b"].error or "")
    assert plan("Sesame", "a,b").hosts["b"].state is HostStatus.DRIFTED
    with pytest.raises(ConfigError, match=r"encrypted data cannot be read.*host_vars/b\.yml"):
        plan("Mellon", "b")


def test_plain_playbooks_too_go_on_without_hosts_whose_variables_cannot_be_read(
    rig: Rig, tmp_path: Path
) -> None:
    """They fail in the end, by a task of another host: Ansible can run none of theirs."""
    files = {"host_vars/b.yml": BROKEN["no YAML"][0]}
    inventory = with_files(rig, tmp_path, "bac", files)
    played = rig.play("apply", inventory)
    assert played.code == 2, played.text
    assert played.recap.keys() == {"a", "c"}
    assert sorted(rig.log("role")) == ["role conda a", "role conda c"]
    assert "b.yml:3:" in played.text.partition("variables cannot be read")[2]
    played = rig.play("status", inventory, "--limit", "a,c")
    assert (played.code, sum(each["failed"] for each in played.recap.values())) == (0, 0)


def test_apply_tells_of_odd_hosts_and_does_the_others(rig: Rig) -> None:
    result = rig.run("apply", {"odd": {"ansible_connection": "nosuch"}, "well": {}})
    assert result.hosts["well"].state is HostStatus.PREPARED
    assert result.exit_code is ExitCode.SOME_HOSTS_FAILED


def group(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return dict.fromkeys(names, values)


def test_waves_come_one_after_the_other(rig: Rig) -> None:
    hosts = group({"gpuprep_batch": [1, 2]}, "a", "b", "c", "d")
    result = rig.run("apply", hosts)
    assert result.exit_code is ExitCode.OK
    takes = [line.split()[-1] for line in rig.log("lease") if "present" in line]
    gives = [line.split()[-1] for line in rig.log("lease") if "absent" in line]
    assert (takes[0], set(takes[1:3]), takes[3]) == ("a", {"b", "c"}, "d")
    assert rig.log("lease").index("lease absent a") == 1
    assert set(gives) == {"a", "b", "c", "d"}


def test_a_spent_budget_stops_before_the_next_wave(rig: Rig) -> None:
    values = {"gpuprep_batch": 2, "gpuprep_max_fail_percentage": 40}
    hosts = group(values, "a", "b", "c", "d")
    hosts["a"] = {**values, "rig_fail": "conda"}
    result = rig.run("apply", hosts)
    assert sorted(rig.log("role")) == ["role conda a", "role conda b"]
    assert result.hosts["b"].state is HostStatus.PREPARED
    assert [result.hosts[name].state for name in "cd"] == [HostStatus.UNKNOWN] * 2
    assert "gpuprep_max_fail_percentage" in (result.hosts["c"].error or "")
    assert sorted(line for line in rig.log("lease") if "present" in line) == [
        "lease present a",
        "lease present b",
    ]


def test_a_budget_that_is_not_spent_lets_the_next_wave_begin(rig: Rig) -> None:
    values = {"gpuprep_batch": 2, "gpuprep_max_fail_percentage": 50}
    hosts = group(values, "a", "b", "c")
    hosts["a"] = {**values, "rig_fail": "conda"}
    result = rig.run("apply", hosts)
    assert result.hosts["c"].state is HostStatus.PREPARED


def test_hosts_that_disagree_about_the_policy_are_told_before_anything(rig: Rig) -> None:
    hosts = {"a": {"gpuprep_batch": 1}, "b": {}, "c": {}}
    with pytest.raises(ConfigError, match=r'gpuprep_batch.*1 on a; "100%" on b, c'):
        rig.run("apply", hosts)
    assert rig.log() == []


def test_a_pattern_in_the_inventory_counts(rig: Rig) -> None:
    result = rig.run("apply", group({"gpuprep_hosts": "b"}, "a", "b"))
    assert list(result.hosts) == ["b"]
    assert rig.log("observe") == ["observe b", "observe b"]
    with pytest.raises(ConfigError, match="gpuprep_hosts: no host"):
        rig.run("apply", group({"gpuprep_hosts": "b"}, "a", "b"), limit="a")


@pytest.mark.parametrize("verb", ["plan", "status", "verify"])
def test_plain_playbooks_fail_for_hosts_that_cannot_be_planned_and_count_all(
    rig: Rig, verb: str
) -> None:
    (rig.folder / "done-b-conda").touch()
    hosts = {
        "a": {},
        "b": {},
        "odd": {"gpuprep_observe_timeout": 0},
        "gone": {"rig_unreachable": "x"},
    }
    played = rig.play(verb, hosts)
    assert played.code == 2, played.text
    differs = verb != "plan"  # verbs that judge fail these hosts too
    failed = {name: counts["failed"] for name, counts in played.recap.items()}
    assert failed == {"a": differs, "b": 0, "odd": 1, "gone": 1}, played.text
    assert played.recap["b"]["ok"] == 1
    assert "E_UNREACHABLE" in played.text.partition("Report")[2]


@pytest.mark.parametrize("text", ["all:\n  hosts:\n    a: {x: 1\n    b:\n", "all:\n  hosts: {}\n"])
@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_plain_playbook_without_hosts_is_no_success(
    rig: Rig, tmp_path: Path, verb: str, text: str
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(text)
    played = rig.play(verb, inventory)
    assert played.code != 0
    assert "the inventory lists no hosts" in " ".join(played.text.split())


def test_a_plain_playbook_tells_what_is_wrong_with_an_oci_inventory_once(
    rig: Rig, tmp_path: Path
) -> None:
    inventory = tmp_path / "gpus.oci.yml"
    inventory.write_text("plugin: gpuprep.core.oci\nfilters: [{freeform_tags: {role: train}}]\n")
    played = rig.play("plan", inventory)
    assert played.code == 1
    lines = [line for line in played.text.splitlines() if line.strip()]
    assert len(lines) <= 4, played.text
    assert "filters: needs a mapping, not list" in " ".join(played.text.split())
    with pytest.raises(GpuprepError, match=r"gpus\.oci\.yml: filters: needs a mapping") as told:
        rig.run("plan", inventory)
    assert told.value.exit_code == ExitCode.UNAVAILABLE


def test_the_recap_of_a_plain_apply_counts_hosts_that_were_up_to_date(rig: Rig) -> None:
    (rig.folder / "done-b-conda").touch()
    played = rig.play("apply", {"a": {}, "b": {}, "gone": {"rig_unreachable": "x"}})
    assert set(played.recap) == {"a", "b", "gone"}, played.text
    assert (played.recap["b"]["ok"], played.recap["b"]["failed"]) == (1, 0)
    assert (played.recap["gone"]["failed"], played.code) == (1, 2)


def test_a_plain_plan_without_a_refusal_is_a_success(rig: Rig) -> None:
    played = rig.play("plan", {"a": {}, "b": {}})
    assert (played.code, set(played.recap)) == (0, {"a", "b"}), played.text
    assert all(counts["ok"] and not counts["changed"] for counts in played.recap.values())
    assert not rig.log("role")


def test_a_plain_plan_fails_hosts_that_would_change_when_that_is_asked_for(rig: Rig) -> None:
    (rig.folder / "done-b-conda").touch()
    played = rig.play("plan", {"a": {}, "b": {}}, "-e", "gpuprep_fail_on_changes=true")
    failed = {name: counts["failed"] for name, counts in played.recap.items()}
    assert (played.code, failed) == (2, {"a": 1, "b": 0}), played.text
    assert "changes are pending: 1" in played.text
    played = rig.play("plan", {"a": {"gpuprep_fail_on_changes": True}, "c": {}})
    assert {name: counts["failed"] for name, counts in played.recap.items()} == {"a": 1, "c": 0}


def test_what_is_wrong_with_its_settings_is_told_of_an_unreachable_host_too(rig: Rig) -> None:
    settings = {"gpu_driver_branch": "999", "cuda_toolkit_versions": ["99.1"]}
    result = rig.run("plan", {"a": {"rig_unreachable": "no route", **settings}, "b": {}})
    host = result.hosts["a"]
    assert (host.state, host.code) == (HostStatus.UNREACHABLE, "E_UNREACHABLE")
    for words in ("no route. Besides: ", "branch 999 is not in the catalog", "CUDA 99.1"):
        assert words in (host.error or "")
    gone = rig.run("plan", {"a": {"rig_unreachable": "no route"}, "b": {}}).hosts["a"]
    assert gone.error == "no route"


def test_what_a_killed_plain_playbook_leaves_the_next_one_clears_away(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plan may hold a login; a living run keeps its own."""
    monkeypatch.setenv("ANSIBLE_LOCAL_TEMP", str(tmp_path / "local"))
    run = threading.Thread(target=rig.play, args=("apply", {"a": {}}))
    run.start()
    while not (owners := list((tmp_path / "local").glob("*/gpuprep/owner"))):
        time.sleep(0.02)
    while len(words := owners[0].read_text().split()) < 3:
        time.sleep(0.02)
    os.kill(int(words[1]), signal.SIGKILL)
    run.join()
    since = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    living = tmp_path / "local/living/gpuprep"
    living.mkdir(parents=True)
    (living / "owner").write_text(f"{words[0]} {os.getpid()} {since}")
    assert owners[0].exists()
    rig.play("status", {"b": {}})
    assert not owners[0].parent.exists()
    assert living.exists()


# --- which hosts --------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [",", ":", "~[", "!", "a:&", ["a"], 5])
@pytest.mark.parametrize("place", ["inventory", "variables"])
def test_a_pattern_that_names_nothing_is_not_everything(
    rig: Rig, pattern: object, place: str
) -> None:
    setting = {"gpuprep_hosts": pattern}
    hosts = group(setting if place == "inventory" else {}, "a", "b")
    with pytest.raises(GpuprepError):
        rig.run("apply", hosts, variables=setting if place == "variables" else {})
    assert rig.log() == []


def test_a_host_that_was_named_and_is_not_there_stops_the_run(rig: Rig) -> None:
    with pytest.raises(ConfigError, match=r"no host or group of the inventory is called c, d$"):
        rig.run("apply", group({}, "a", "b"), limit=["a", "d,c", "b*"])
    assert rig.log() == []


def test_a_pattern_beside_others_that_matches_nothing_is_told(rig: Rig) -> None:
    result = rig.run("plan", group({}, "a", "b"), limit="a,c,x*,!y")
    assert list(result.hosts) == ["a"]
    assert result.warnings == tuple(
        f"limit: no host of the inventory matches {pattern}" for pattern in ("c", "x*", "!y")
    )
    assert result.to_dict()["warnings"]
    assert rig.run("plan", group({}, "a", "b"), limit=["a", "b"]).warnings == ()


@pytest.mark.parametrize("value", [{"conda_prefix": "x"}, {"gpu_driver_branch": "{{ nope }}"}])
def test_settings_that_are_wrong_everywhere_are_told_with_hosts_and_variable(
    rig: Rig, value: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=rf"^a, b: {next(iter(value))}: "):
        rig.run("apply", group(value, "a", "b"))
    assert rig.log() == []


def test_connections_that_are_wrong_everywhere_are_results(rig: Rig) -> None:
    result = rig.run("plan", group({"ansible_connection": "nosuch"}, "a", "b"))
    assert {host.code for host in result.hosts.values()} == {"E_ANSIBLE"}


def test_one_machine_under_two_names_is_refused_with_its_twin(rig: Rig) -> None:
    hosts = {"a": {"rig_machine": "m"}, "b": {}, "c": {"rig_machine": "m"}, "d": {}}
    result = rig.run("apply", hosts)
    for name, twin in (("a", "c"), ("c", "a")):
        host = result.hosts[name]
        assert (host.state, host.code, host.changed) == (HostStatus.REFUSED, "E_SAME_HOST", False)
        assert f"the same machine as {twin}" in (host.error or "")
    assert sorted(rig.log("role")) == ["role conda b", "role conda d"]
    assert result.exit_code is ExitCode.SOME_HOSTS_FAILED
