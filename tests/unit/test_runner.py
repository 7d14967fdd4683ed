"""The runner against real ansible-playbook runs of the stub collection in ``runner_stub``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ansible_runner
import pytest

import gpuprep
from gpuprep.errors import ConfigError, EngineError, ExitCode, GpuprepError, InventoryError
from gpuprep.model import HostStatus, StepStatus
from gpuprep.run import ansible_playbook, processes
from gpuprep.run import directory as rundir
from gpuprep.run import environment as engine
from gpuprep.run.events import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUB = Path(__file__).parent / "runner_stub"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
STEP = {
    "id": "conda.file.condarc",
    "role": "conda",
    "kind": "condarc",
    "target": "/opt/conda/.condarc",
    "action": "change",
    "reason": "differs",
}
DRIFTED = {"state": "drifted", "steps": [STEP]}
PREPARED = {"state": "converged", "host_status": "prepared"}


BOTH = pytest.mark.parametrize("which_engine", ["", "playbook"], indirect=True)


@pytest.fixture(autouse=True, params=["", pytest.param("playbook", marks=pytest.mark.slow)])
def which_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Observe in a child process, and from within ansible-playbook."""
    monkeypatch.setenv(engine.ENGINE, request.param)
    return str(request.param)


@pytest.fixture(autouse=True)
def stub_collection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "collections_root", lambda: STUB)
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path / "ansible-home"))


@pytest.fixture(autouse=True)
def run_directories(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], list[Path]]]:
    """Give the directories of the runs that go on; none may be left behind."""
    base = tmp_path_factory.mktemp("runs")
    monkeypatch.setattr(rundir, "base_directory", lambda: base)

    def ours() -> list[Path]:
        return list(base.iterdir())

    yield ours
    assert ours() == []


def fleet(**hosts: dict[str, Any]) -> dict[str, Any]:
    return {"all": {"hosts": {name: {**LOCAL, **values} for name, values in hosts.items()}}}


def drifted(**more: object) -> dict[str, Any]:
    return {"stub_plan": DRIFTED, "stub_proof": PREPARED, **more}


def converged() -> dict[str, Any]:
    return {"stub_plan": PREPARED}


def test_apply_reports_every_host() -> None:
    refused = {"stub_plan": {"state": "refused", "code": "E_RUNFILE", "error": "remove it"}}
    inventory = fleet(a=drifted(), b=drifted(stub_fail="disk full"), c=refused, d=converged())
    result = gpuprep.apply(inventory)
    states = {name: host.state for name, host in result.hosts.items()}
    assert states == {
        "a": HostStatus.PREPARED,
        "b": HostStatus.FAILED,
        "c": HostStatus.REFUSED,
        "d": HostStatus.PREPARED,
    }
    assert result.hosts["a"].steps[0].status is StepStatus.DONE
    assert result.hosts["b"].error == "Fail: disk full"
    assert result.exit_code is ExitCode.SOME_HOSTS_FAILED
    assert result.counts["round_trips"] == 4 + 1
    assert result.to_dict()["hosts"]["c"]["code"] == "E_RUNFILE"


@BOTH
def test_plan_is_one_host_task_for_the_fleet() -> None:
    result = gpuprep.plan(fleet(a=converged(), b={"stub_plan": DRIFTED}))
    assert result.counts == {"host_tasks": 1, "round_trips": 2, "observations": 2}
    assert [host.state for host in result.hosts.values()] == [
        HostStatus.PREPARED,
        HostStatus.DRIFTED,
    ]
    assert result.hosts["b"].steps[0].status is StepStatus.PLANNED


def test_all_hosts_locked_ends_with_the_code_for_it() -> None:
    result = gpuprep.apply(fleet(a=drifted(stub_fail="E_LOCKED: run 7 works here since 12:00")))
    assert (result.hosts["a"].code, result.exit_code) == ("E_LOCKED", ExitCode.LOCKED)


def test_limit_narrows_the_inventory() -> None:
    result = gpuprep.plan(fleet(a=converged(), b=converged()), limit="b")
    assert list(result.hosts) == ["b"]


def test_check_changes_nothing() -> None:
    result = gpuprep.apply(fleet(a=drifted()), check=True)
    host = result.hosts["a"]
    assert (host.state, host.steps[0].status) == (HostStatus.DRIFTED, StepStatus.PLANNED)
    assert result.exit_code is ExitCode.OK


def test_variables_win_in_order_and_reach_the_hosts(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("stub_fail: from the file\n")
    result = gpuprep.apply(fleet(a=drifted()), variables=[{"stub_fail": "from a mapping"}, file])
    assert result.hosts["a"].error == "Fail: from the file"
    result = gpuprep.apply(fleet(a=drifted()), variables=[file, {"stub_fail": "from a mapping"}])
    assert result.hosts["a"].error == "Fail: from a mapping"


def test_verify_hands_over_tier_and_sample() -> None:
    plan = {"state": "converged", "host_status": "prepared"}
    versions = "{{ {'tier': gpuprep_verify_tier, 'n': gpuprep_verify_sample | string} }}"
    result = gpuprep.verify(
        fleet(a={"stub_plan": {**plan, "versions": versions}}), tier="full", sample=3
    )
    assert result.hosts["a"].versions == {"tier": "full", "n": "3"}


def test_events_are_typed_and_tell_the_plan_once() -> None:
    events: list[Event] = []
    gpuprep.apply(fleet(a=drifted(), b=drifted(stub_fail="disk full")), on_event=events.append)
    plans = [event.text for event in events if event.kind is EventKind.PLAN]
    assert plans == ["2 hosts: 2 to change"]
    failed = [event for event in events if event.kind is EventKind.FAILED]
    assert [(event.host, event.task, event.text) for event in failed] == [
        ("b", "Fail", "disk full")
    ]
    kinds = [event.kind for event in events]
    assert kinds.index(EventKind.PLAN) < kinds.index(EventKind.CHANGED)


def test_a_callback_that_raises_does_not_break_the_run(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_event: Event) -> None:
        raise RuntimeError("my display is gone")

    def broken_cancel() -> bool:
        raise RuntimeError("my button is gone")

    with caplog.at_level(logging.ERROR):
        result = gpuprep.apply(fleet(a=drifted()), on_event=broken, cancel=broken_cancel)
    assert result.exit_code is ExitCode.OK
    assert "my display is gone" in caplog.text


def test_it_works_outside_the_main_thread() -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(gpuprep.plan(fleet(a=converged()))))
    thread.start()
    thread.join(60)
    assert results[0].hosts["a"].state is HostStatus.PREPARED


# --- bad input --------------------------------------------------------------------------------


def test_an_inventory_that_is_not_there() -> None:
    with pytest.raises(InventoryError, match=r"nowhere\.yml: no such file"):
        gpuprep.plan("nowhere.yml")


def test_an_inventory_that_cannot_be_parsed(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all: [this: is, {not: an inventory\n")
    with pytest.raises(InventoryError, match=r"hosts\.yml"):
        gpuprep.plan(path)


def test_one_unparsed_inventory_of_two_is_an_error_too(tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    good.write_text(json.dumps(fleet(a=converged())))
    bad = tmp_path / "bad.yml"
    bad.write_text("plugin: no.such.plugin\n")
    with pytest.raises(InventoryError, match=r"bad\.yml"):
        gpuprep.plan([good, bad])


def test_an_inventory_without_hosts(tmp_path: Path) -> None:
    path = tmp_path / "empty.yml"
    path.write_text("all:\n  hosts: {}\n")
    with pytest.raises(InventoryError, match=r"empty\.yml lists no hosts"):
        gpuprep.plan(path)


def test_no_inventory_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    with pytest.raises(ConfigError, match="no inventory"):
        gpuprep.plan()


def test_the_inventory_of_ansible_cfg_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hosts.json").write_text(json.dumps(fleet(fromcfg=converged())))
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = hosts.json\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    assert list(gpuprep.plan().hosts) == ["fromcfg"]


def test_a_limit_that_matches_no_host() -> None:
    with pytest.raises(ConfigError, match="no host matches --limit nobody"):
        gpuprep.plan(fleet(a=converged()), limit="nobody")


def test_a_pattern_that_matches_no_host() -> None:
    with pytest.raises(ConfigError, match="matches the pattern nobody"):
        gpuprep.plan(fleet(a=converged()), variables={"gpuprep_hosts": "nobody"})


def test_a_broken_variables_file(tmp_path: Path) -> None:
    path = tmp_path / "vars.yml"
    path.write_text("a: [1\n")
    with pytest.raises(ConfigError, match="Ansible refuses the input"):
        gpuprep.plan(fleet(a=converged()), variables=[path])


def test_variables_that_are_no_plain_data() -> None:
    with pytest.raises(ConfigError, match="plain data"):
        gpuprep.plan(fleet(a=converged()), variables={"when": object()})


def test_an_encrypted_file_without_its_password(tmp_path: Path) -> None:
    vaulted = tmp_path / "vault.yml"
    vaulted.write_text("$ANSIBLE_VAULT;1.1;AES256\n" + "61" * 40 + "\n")
    with pytest.raises(ConfigError, match="--vault-password-file"):
        gpuprep.plan(fleet(a=converged()), variables=[vaulted])


def test_settings_that_make_no_sense_are_the_callers_mistake() -> None:
    refused = {"state": "refused", "code": "E_CONFIG", "error": "gpu_driver_branch: no branch"}
    with pytest.raises(ConfigError, match="gpu_driver_branch: no branch"):
        gpuprep.plan(fleet(a={"stub_plan": refused}))
    with pytest.raises(ConfigError, match="gpu_driver_branch: no branch"):
        gpuprep.plan(fleet(a={"stub_broken": "[E_CONFIG] gpu_driver_branch: no branch"}))


def test_a_plan_action_that_breaks_down_is_an_internal_error() -> None:
    with pytest.raises(GpuprepError, match=r"could not be made: .*KeyError") as caught:
        gpuprep.plan(fleet(a={"stub_broken": "KeyError: 'gpus'"}))
    assert caught.value.exit_code is ExitCode.INTERNAL


def test_a_missing_playbook_is_an_engine_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "collections_root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)  # away from any ansible.cfg
    with pytest.raises(EngineError, match="installed as a whole"):
        gpuprep.plan(fleet(a=converged()))


# --- secrets ----------------------------------------------------------------------------------


def spy_on_files(
    directories: Callable[[], list[Path]], marker: str, stop: threading.Event, found: set[str]
) -> None:
    """Look, while a run goes on, which files hold the marker and who could read them."""
    while not stop.is_set():
        for directory in directories():
            for parent, _, names in os.walk(directory):  # goes on when a directory vanishes
                for path in (Path(parent, name) for name in names):
                    with contextlib.suppress(OSError):
                        if path.is_fifo():
                            continue  # keeps nothing, and reading would take it from its reader
                        if marker in path.read_text(errors="replace"):
                            mode = stat.S_IMODE(path.stat().st_mode)
                            found.add(f"{path.relative_to(directory)} {mode:o}")
        time.sleep(0.02)


def command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


@pytest.mark.parametrize("verbosity", [0, 4])
def test_secrets_are_in_nothing_that_is_shown_or_kept(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    run_directories: Callable[[], list[Path]],
    verbosity: int,
) -> None:
    markers = {
        "variable": "MARKER-variable-1f",
        "environment": "MARKER-environment-2f",
        "inventory": "MARKER-inventory-3f",
        "become": "MARKER-become-4f",
    }
    monkeypatch.setenv("REGISTRY_TOKEN", markers["environment"])
    monkeypatch.setenv("LONGER_THAN_A_PIPE", "x" * 100_000)
    shown = ["api_token", "registry_secret", "shown_password"]
    host = drifted(
        stub_secret_names=shown,
        shown_password=markers["inventory"],
        registry_secret="{{ lookup('env', 'REGISTRY_TOKEN') }}",  # noqa: S106 - a template
        stub_wait=1,
    )
    events: list[Event] = []
    in_files: set[str] = set()
    on_command_line: list[str] = []
    stop = threading.Event()

    def observe(event: Event) -> None:
        events.append(event)
        if event.kind is EventKind.TASK:
            on_command_line.extend(m for m in markers.values() if m in command_lines())

    spies = [
        threading.Thread(target=spy_on_files, args=(run_directories, marker, stop, in_files))
        for marker in markers.values()
    ]
    for spy in spies:
        spy.start()
    try:
        with caplog.at_level(logging.DEBUG):
            result = gpuprep.apply(
                fleet(a=host),
                variables={"api_token": markers["variable"]},
                access=gpuprep.Access(become_password=markers["become"]),
                on_event=observe,
                verbosity=verbosity,
            )
    finally:
        stop.set()
        for spy in spies:
            spy.join()
    assert result.exit_code is ExitCode.OK
    # The task that forgot no_log did run, and showed masks.
    assert any("********" in event.text for event in events)
    everything = "\n".join(
        [
            *map(repr, events),
            json.dumps(result.to_dict()),
            repr(result),
            repr(gpuprep.Access(become_password=markers["become"])),
            *capfd.readouterr(),
            caplog.text,
        ]
    )
    assert [marker for marker in markers.values() if marker in everything] == []
    assert on_command_line == []
    # What Ansible must be given is in files of ours alone; its passing event files too.
    assert {name.split()[1] for name in in_files} <= {"600"}
    kept = {name.split()[0] for name in in_files if "-partial.json" not in name}
    assert kept <= {"inventory.json", "variables-0.json"}
    assert "inventory.json 600" in in_files


@BOTH
def test_the_run_directory_is_private_and_keeps_no_environment_and_no_output(
    run_directories: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: set[int] = set()
    files: set[str] = set()
    begun: list[str] = []
    go_on = ansible_runner.Runner.status_callback

    def has_begun(runner: ansible_runner.Runner, status: str) -> None:
        # ansible-runner has just written what it keeps of the environment, or is about to.
        begun.append(status)
        found = Path(runner.config.artifact_dir).rglob("*")
        files.update(path.name for path in found if path.is_file())
        go_on(runner, status)

    monkeypatch.setattr(ansible_runner.Runner, "status_callback", has_begun)

    def observe(event: Event) -> None:
        for directory in run_directories():
            modes.add(stat.S_IMODE(directory.stat().st_mode))
            if event.kind is EventKind.CHANGED:
                files.update(p.name for p in (directory / "artifacts").rglob("*") if p.is_file())

    gpuprep.apply(fleet(a=drifted()), on_event=observe)
    assert "running" in begun
    assert modes == {0o700}
    assert {name for name in files if "-partial.json" not in name} == set()


# --- stopping ---------------------------------------------------------------------------------


def marked(run_dirs: list[Path]) -> list[processes.Process]:
    return [process for path in run_dirs for process in processes.belonging_to(path)]


@BOTH
def test_cancel_ends_the_run_within_seconds_and_leaves_no_process(
    run_directories: Callable[[], list[Path]],
) -> None:
    cancel = threading.Event()
    seen: list[str] = []
    directories: list[Path] = []
    cancelled_at: list[float] = []

    def observe(event: Event) -> None:
        if event.task == "Wait" and event.kind is EventKind.TASK:
            directories.extend(run_directories())
            threading.Thread(target=look_and_cancel).start()

    def look_and_cancel() -> None:
        deadline = time.monotonic() + 60
        while "sleep" not in seen and time.monotonic() < deadline:
            seen.extend(process.name for process in marked(directories))
        cancelled_at.append(time.monotonic())
        cancel.set()

    result = gpuprep.apply(fleet(a=drifted(stub_wait=100)), on_event=observe, cancel=cancel)
    assert time.monotonic() - cancelled_at[0] < 10
    assert "sleep" in seen
    assert marked(directories) == []
    assert (result.cancelled, result.exit_code) == (True, ExitCode.CANCELLED)
    assert result.hosts["a"].state is HostStatus.UNKNOWN
    assert "run again to go on" in (result.hosts["a"].error or "")


def test_a_time_limit_ends_the_run_like_a_cancel() -> None:
    result = gpuprep.apply(fleet(a=drifted(stub_wait=100)), timeout=12)
    assert result.exit_code is ExitCode.CANCELLED
    assert "time limit" in (result.hosts["a"].error or "")


def test_a_cancel_before_the_start_touches_nothing() -> None:
    result = gpuprep.apply(fleet(a=drifted()), cancel=lambda: True)
    assert (result.exit_code, dict(result.hosts)) == (ExitCode.CANCELLED, {})


def test_an_interrupt_in_a_program_that_handles_none_leaves_nothing(
    run_directories: Callable[[], list[Path]],
) -> None:
    directories: list[Path] = []

    def observe(event: Event) -> None:
        if event.task == "Wait" and event.kind is EventKind.TASK:
            directories.extend(run_directories())
            threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        gpuprep.apply(fleet(a=drifted(stub_wait=100)), on_event=observe)
    assert directories
    assert marked(directories) == []


@BOTH
def test_a_killed_engine_is_told_from_a_finished_one(
    run_directories: Callable[[], list[Path]],
) -> None:
    def observe(event: Event) -> None:
        if event.task == "Wait" and event.kind is EventKind.TASK:
            for process in marked(run_directories()):
                if process.parent == os.getpid():
                    os.kill(process.pid, signal.SIGKILL)

    result = gpuprep.apply(fleet(a=drifted(stub_wait=2)), on_event=observe)
    host = result.hosts["a"]
    assert host.state is HostStatus.UNKNOWN
    assert "ansible-playbook ended" in (host.error or "")
    assert result.exit_code is ExitCode.ALL_HOSTS_FAILED


def test_the_engine_finds_the_gpuprep_that_started_it_and_the_programs_of_ansible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also from a checkout that was never installed, and where neither is on PATH."""
    home = str(Path(gpuprep.__file__).parents[1])
    seen: list[tuple[list[str], list[str]]] = []
    stand_in = SimpleNamespace(main=lambda _: seen.append((list(sys.path), list(sys.argv))))
    monkeypatch.setitem(sys.modules, "ansible.cli.playbook", stand_in)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != home])
    monkeypatch.setattr(sys, "argv", [str(Path(ansible_playbook.__file__)), "x.yml"])
    monkeypatch.setenv("PATH", "/nowhere")
    ansible_playbook.main()
    ((path, argv),) = seen
    assert home in path
    assert os.access(Path(argv[0]).with_name("ansible"), os.X_OK)
