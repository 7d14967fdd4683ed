"""Observing in a child process, or from within ansible-playbook: same plans, states and errors."""

from __future__ import annotations

import json
import re
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest

import gpuprep
from gpuprep.errors import GpuprepError
from gpuprep.run import directory as rundir
from gpuprep.run import environment as engine
from gpuprep.run.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuprep.run.events import Event

PRETENDED = Path(__file__).parent / "pretended"
ENGINES = ("", "playbook")
# Encrypted data as JSON has it; nobody has its password.
VAULT = {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n" + "3031" * 20 + "\n"}
LOCAL = fleet_rig.LOCAL
ODD: dict[str, dict[str, Any]] = {
    "undefined": {"gpu_driver_branch": "{{ nope }}"},
    "misspelt": {"gpu_driver_brnch": "580"},
    "wrong_type": {"cuda_toolkit_versions": {"a": 1}},
    "no_plugin": {"ansible_connection": "nosuch"},
    "no_method": {"ansible_become_method": "nosuch"},
    "locked_away": {"ansible_become_password": VAULT},
    "no_python": {"ansible_python_interpreter": "/nowhere/python3"},
    "own_login": {"ansible_password": "own", "ansible_become_password": "own-sudo"},
    "omitted": {"ansible_port": "{{ nope | default(omit) }}"},
    "other_user": {"ansible_user": "root"},
    "localhost": LOCAL,
    "ümlaut": {},
}
RUNS: dict[str, dict[str, Any]] = {
    "drifted": {},
    "failing": {"rig_fail": "conda", "rig_roles": ["gpu_driver", "conda"]},
    "broken": {"rig_fault": "boom"},
    "gone": {"rig_unreachable": "nobody is there"},
    "well": {"rig_roles": []},
    "locked": {"rig_locked": True},
    "bad": {"gpu_driver_branch": "{{ nope }}"},
}


def told(result: gpuprep.FleetResult) -> dict[str, Any]:
    """Return what a run says, without what differs from one run to the next."""
    data: dict[str, Any] = result.to_dict()
    for key in ("started", "seconds", "run"):
        data.pop(key)
    data["counts"].pop("host_tasks")
    text = re.sub(r"gpuprep-\w{8}", "RUN", json.dumps(data, sort_keys=True))
    return dict(json.loads(re.sub(r'"seconds": [\d.]+', '"seconds": 0', text)))


def both(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    verb: str,
    hosts: Mapping[str, Mapping[str, Any]],
    **options: Any,
) -> list[Any]:
    """Return what a run says, or the error that it ends with, by both engines."""
    inventory = tmp_path / "hosts.json"
    found: list[Any] = []
    for which in ENGINES:
        monkeypatch.setenv("PRETENDED_LOG", str(tmp_path / "pretended"))
        monkeypatch.setenv("ANSIBLE_SSH_EXECUTABLE", str(PRETENDED / "ssh"))
        monkeypatch.setenv("ANSIBLE_BECOME_EXE", str(PRETENDED / "sudo"))
        monkeypatch.setenv(engine.ENGINE, which)
        folder = tmp_path / (which or "child")
        folder.mkdir(exist_ok=True)
        rig = fleet_rig.make(folder, monkeypatch, part)
        inventory.write_text(json.dumps({"all": {"hosts": dict(hosts)}}))
        try:
            found.append(told(rig.run(verb, inventory, **options)))
        except GpuprepError as error:
            found.append((type(error), re.sub(r"gpuprep-\w{8}", "RUN", str(error))))
        monkeypatch.undo()
    return found


@pytest.fixture
def patched() -> Iterator[pytest.MonkeyPatch]:
    """Give one whose patches can be taken back in the middle of a test."""
    made = pytest.MonkeyPatch()
    yield made
    made.undo()


def test_odd_hosts_get_the_same_results(tmp_path: Path, patched: pytest.MonkeyPatch) -> None:
    access = gpuprep.Access(
        user="typed",
        connection_password="typed-ssh",  # noqa: S106
        become_password="typed-sudo",  # noqa: S106
    )
    child, playbook = both(tmp_path, patched, "reach", "status", ODD, access=access)
    assert child["hosts"].keys() == ODD.keys()
    assert len({json.dumps(host["error"]) for host in child["hosts"].values()}) > 6
    assert child == playbook


def test_applied_hosts_get_the_same_results(tmp_path: Path, patched: pytest.MonkeyPatch) -> None:
    hosts = {name: {**LOCAL, **variables} for name, variables in RUNS.items()}
    child, playbook = both(tmp_path, patched, "runs", "apply", hosts)
    assert child == playbook
    assert child["hosts"]["drifted"]["state"] == "prepared"
    assert child["hosts"]["failing"]["state"] == "failed"
    done = {path.name for path in (tmp_path / "child/rig").glob("done-*")}
    assert done == {path.name for path in (tmp_path / "playbook/rig").glob("done-*")}
    logs = [
        (tmp_path / which / "rig/log").read_text().splitlines() for which in ("child", "playbook")
    ]
    assert sorted(logs[0]) == sorted(logs[1])  # each host observed as often


SLOW: list[tuple[str, str, dict[str, Any]]] = [
    ("runs", "plan", {}),
    ("runs", "plan", {"limit": "drifted:gone"}),
    ("runs", "plan", {"limit": ["drifted", "nobody"]}),
    ("runs", "plan", {"limit": "nobody"}),
    ("runs", "plan", {"limit": "drifted,nob*"}),
    ("runs", "plan", {"variables": {"gpuprep_hosts": "well:broken"}}),
    ("runs", "plan", {"variables": {"gpuprep_hosts": "nobody"}}),
    ("runs", "plan", {"variables": {"gpu_driver_branch": "no-such"}}),
    ("runs", "plan", {"diff": True}),
    ("runs", "apply", {"check": True}),
    ("runs", "apply", {"tags": ["install"]}),
    ("runs", "apply", {"skip_tags": ["conda_install"]}),
    ("runs", "apply", {"variables": {"gpuprep_batch": 1, "gpuprep_max_fail_percentage": 0}}),
    ("runs", "verify", {}),
    ("runs", "status", {"forks": 1}),
    ("reach", "verify", {"tier": "full"}),
    ("reach", "plan", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("part", "verb", "options"), SLOW)
def test_every_choice_gives_the_same_results(
    tmp_path: Path, patched: pytest.MonkeyPatch, part: str, verb: str, options: dict[str, Any]
) -> None:
    hosts = ODD if part == "reach" else {n: {**LOCAL, **v} for n, v in RUNS.items()}
    child, playbook = both(tmp_path, patched, part, verb, hosts, **options)
    assert child == playbook


@pytest.mark.slow
@pytest.mark.parametrize("password", ["right", "wrong", None])
def test_encrypted_variables_are_read_alike(
    tmp_path: Path, patched: pytest.MonkeyPatch, password: str | None
) -> None:
    from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: PLC0415

    secret = VaultLib([("default", VaultSecret(b"right"))]).encrypt("secret-sudo").decode()
    folder = tmp_path / "host_vars"
    folder.mkdir()
    whole = VaultLib([("default", VaultSecret(b"right"))]).encrypt("a: 1\n").decode()
    (folder / "whole.yml").write_text(whole)
    hosts = {
        "in_part": {"ansible_become_password": {"__ansible_vault": secret}},
        "whole": {},
        "plain": {},
    }
    access = gpuprep.Access(vault_passwords={"default": password} if password else {})
    child, playbook = both(tmp_path, patched, "reach", "status", hosts, access=access)
    assert child == playbook
    if password == "right":  # noqa: S105
        errors = {name: host["error"] for name, host in child["hosts"].items()}
        assert errors.pop("in_part") is None
        assert all("Missing sudo password" in error for error in errors.values())


def test_a_fleet_that_needs_nothing_starts_no_playbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs")
    events: list[Event] = []
    result = rig.run(
        "apply", {"a": {"rig_roles": []}, "b": {"rig_roles": []}}, on_event=events.append
    )
    assert result.counts["host_tasks"] == 1
    plays = [event.text for event in events if event.kind is EventKind.PLAY]
    assert plays == ["Observe and plan"]


def test_the_playbook_is_started_for_the_hosts_that_differ_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs")
    hosts: dict[str, dict[str, Any]] = {"a": {"rig_roles": []}, "b": {}, "c": {"rig_roles": []}}
    events: list[Event] = []
    result = rig.run("apply", hosts, on_event=events.append)
    assert result.hosts["b"].state == "prepared"
    assert sorted(rig.log("observe")) == ["observe a", "observe b", "observe b", "observe c"]
    first, *rest = [event for event in events if event.host]
    assert first.host == "a"  # the fleet's task shows the first host
    assert {event.host for event in rest} == {"b"}


def test_what_the_plan_leaves_to_the_roles_is_private_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs")
    modes: set[int] = set()

    def look(_event: Event) -> None:
        modes.update(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("gpuprep-*/state"))

    rig.run("apply", {"b": {}}, on_event=look)
    assert modes == {0o700}
    assert list(tmp_path.glob("gpuprep-*")) == []


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "port": {"ansible_port": 22},
    "port_in_words": {"ansible_port": "{{ 20 + 2 }}"},
    "own_login": {"ansible_user": "ops", "ansible_password": "own"},
    "root": {"ansible_user": "root"},
    "key": {"ansible_ssh_private_key_file": "/etc/hostname"},
    "jump": {"ansible_ssh_common_args": "-o ProxyJump={{ over }}", "over": "bastion"},
    "extra": {"ansible_ssh_extra_args": "-o ServerAliveInterval=7"},
    "arguments": {"ansible_ssh_args": "-o Compression=no -o ControlMaster=auto"},
    "unchecked": {"ansible_host_key_checking": False},
    "omitted": {"ansible_port": "{{ nope | default(omit) }}"},
    "elsewhere": {"ansible_host": "192.0.2.7"},
}


@pytest.mark.slow
@pytest.mark.parametrize("typed", [True, False])
def test_a_run_reaches_a_host_by_one_connection_from_its_plan_to_its_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, typed: bool
) -> None:
    """The child, the tasks of the hosts themselves and the proof name the same master."""
    monkeypatch.setenv("PRETENDED_LOG", str(tmp_path / "pretended"))
    monkeypatch.setenv("ANSIBLE_SSH_EXECUTABLE", str(PRETENDED / "ssh"))
    monkeypatch.setenv("ANSIBLE_BECOME_EXE", str(PRETENDED / "sudo"))
    rig = fleet_rig.make(tmp_path, monkeypatch, "ways")
    with tempfile.TemporaryDirectory(prefix="rt-") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        monkeypatch.setattr(rundir, "base_directory", lambda: Path(short))
        inventory = tmp_path / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": WAYS}}))
        access = gpuprep.Access(
            user="typed" if typed else None,
            connection_password="typed-ssh" if typed else None,
            become_password="typed-sudo",  # noqa: S106
        )
        rig.run("apply", inventory, access=access)
    ways = [json.loads(line) for line in (tmp_path / "rig/ways").read_text().splitlines()]
    by_host = {name: [way for way in ways if way["host"] == name] for name in WAYS}
    for name, found in by_host.items():
        assert {way["who"] == "task" for way in found} == {True, False}, name
        assert {json.dumps(way["parts"]) for way in found} == {json.dumps(found[0]["parts"])}, name
        assert len({way["socket"] for way in found}) == 1, name
        assert re.fullmatch(r"[0-9a-f]{16}", found[0]["socket"]), name
    assert len({found[0]["socket"] for found in by_host.values()}) >= len(WAYS) - 3
