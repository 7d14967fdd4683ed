"""Whole runs of the real playbooks over pretended hosts: waves, isolation, failed roles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest

from gpuprep.errors import ConfigError, ExitCode, GpuprepError
from gpuprep.model import HostStatus

if TYPE_CHECKING:
    from pathlib import Path

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
