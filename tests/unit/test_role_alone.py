"""A role in somebody's own play: one machine under two names, and secrets that are templates."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest
import yaml
from planner_cases import bare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fleet_rig import Played, Rig

SECRET = "Sesame-77"  # noqa: S105
# Named like no secret, used by what is one.
NAMED = {"vaulted_thing": SECRET, "ansible_become_password": "{{ vaulted_thing }}"}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return fleet_rig.make(tmp_path, monkeypatch, "alone")


def play(rig: Rig, hosts: Mapping[str, Any], *options: str, **more: Any) -> Played:
    """Include the role conda in a play over hosts that say ``seen`` and have ``variables``."""
    for name, host in hosts.items():
        (rig.folder / f"seen-{name}").write_text(json.dumps(host.get("seen", bare(boot_id=name))))
    tasks = [{"ansible.builtin.include_role": {"name": "gpuprep.core.conda"}}]
    work = {} if "roles" in more else {"tasks": tasks}
    site = [{"hosts": "all", "gather_facts": False, **work, **more}]
    path = rig.folder / "site.yml"
    path.write_text(yaml.safe_dump(site))
    given = {name: host.get("variables", {}) for name, host in hosts.items()}
    return rig.play(str(path), given, *options)


def test_one_machine_under_two_names_is_refused(rig: Rig) -> None:
    same = bare(boot_id="m")
    played = play(rig, {"a": {"seen": same}, "b": {}, "c": {"seen": same}})
    assert played.code == 2, played.text
    for twin in "ac":
        assert f"[E_SAME_HOST] this is the same machine as {twin}" in played.text
    assert {line.split()[1] for line in rig.log("converge")} == {"b"}


def test_the_second_name_is_refused_where_the_first_is_done_before(rig: Rig) -> None:
    same = bare(boot_id="m")
    hosts = {"a": {"seen": same}, "b": {}, "c": {"seen": same}}
    roles = ["gpuprep.core.conda"]
    played = play(rig, hosts, "--tags", "conda_configure", serial=1, roles=roles)
    assert played.code == 2, played.text
    assert "[E_SAME_HOST] this is the same machine as a" in played.text
    assert {line.split()[1] for line in rig.log("converge")} == {"a", "b"}


def test_a_host_keeps_its_machine_from_role_to_role(rig: Rig) -> None:
    played = play(rig, {"a": {}, "b": {"seen": {**bare(), "boot_id": ""}}}, "-e", "x=1")
    again = play(rig, {"a": {}, "b": {"seen": {**bare(), "boot_id": ""}}})
    assert "E_SAME_HOST" not in played.text + again.text
    assert {line.split()[1] for line in rig.log("converge")} == {"a", "b"}


def test_a_secret_that_is_named_by_a_template_is_shown_nowhere(rig: Rig) -> None:
    """By its value: in what a host says, in results, and in why a task failed."""
    channel = f"https://bot:{SECRET}@h/c"
    mirror = {"conda_channels": ["https://bot:{{ vaulted_thing }}@h/c"]}
    says = {"rig_says": f"I was given {SECRET}"}
    hosts = {
        "a": {"variables": {**NAMED, **mirror, **says}},
        "broken": {"variables": {**NAMED, **says, "rig_breaks": True}},
        "odd": {"variables": NAMED, "seen": {"unusable": f"no {SECRET} here"}},
    }
    played = play(rig, hosts, "-vvv", "--diff")
    assert played.code == 2
    for words in ("with I was given ********", "[E_ANSWER] with", "no ******** here"):
        assert words in played.text, played.text
    assert SECRET not in played.text
    asked = (rig.folder / "asked-a-configure").read_text()
    assert channel in asked  # the host itself gets it


def test_the_fleets_documents_show_it_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs")
    hosts = {"a": {**NAMED, "rig_fault": f"no {SECRET} here"}, "b": {}}
    result = rig.run("plan", hosts)
    assert (result.hosts["a"].error or "").endswith("no ******** here")
    played = rig.play("plan", hosts, "-vv")
    assert "no ******** here" in played.text
    assert SECRET not in played.text
