from __future__ import annotations

import errno
import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pexpect
import pytest

from gpuprep import __version__, cli
from gpuprep.cli.params import parse_variables, which_hosts
from gpuprep.cli.stopping import stopping
from gpuprep.cli.stored import with_failed_hosts
from gpuprep.errors import ConfigError
from gpuprep.model import FleetResult
from gpuprep.report.schema import validate
from gpuprep.run import directory as rundir
from gpuprep.run import environment as engine
from gpuprep.run import processes
from gpuprep.run.jobs import HostJobs, JobsResult
from gpuprep.run.options import Access
from gpuprep.run.workshop import WorkshopResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUB = Path(__file__).parent / "runner_stub"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
STEP = {
    "id": "conda.file.condarc",
    "role": "conda",
    "kind": "file",
    "target": "/opt/conda/.condarc",
    "action": "change",
    "reason": "differs",
}
DRIFTED = {"stub_plan": {"state": "drifted", "steps": [STEP]}}
READY = {
    "stub_plan": {
        "state": "converged",
        "host_status": "ready",
        "versions": {"driver": "580.95.05"},
    }
}
PROVEN = {**DRIFTED, "stub_proof": {"state": "converged", "host_status": "prepared"}}
# A process of its own, whose collection is the stub and whose run directories are the test's.
PROGRAM = (
    "import os; from pathlib import Path; "
    "from gpuprep.run import directory as rundir, environment as engine; "
    "from gpuprep.cli import main; "
    f"engine.collections_root = lambda: Path({str(STUB)!r}); "
    "rundir.base_directory = lambda: Path(os.environ['TEST_RUNS']); main()"
)
ROOT = Path(cli.__file__).parents[2]


@pytest.fixture(autouse=True)
def stub_collection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "collections_root", lambda: STUB)
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path / "ansible-home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    runs = tmp_path / "runs"
    runs.mkdir()
    monkeypatch.setenv("TEST_RUNS", str(runs))
    monkeypatch.setattr(rundir, "base_directory", lambda: runs)


@pytest.fixture
def inventory(tmp_path: Path) -> Callable[..., str]:
    def write(**hosts: dict[str, Any]) -> str:
        path = tmp_path / "hosts.json"
        structure = {name: {**LOCAL, **values} for name, values in hosts.items()}
        path.write_text(json.dumps({"all": {"hosts": structure}}))
        return str(path)

    return write


Inventory = Any


# --- start-up and usage -------------------------------------------------------------------------


SLOW = {"ansible_runner", "ansible", "rich", "oci", "jsonschema", "jinja2", "asyncio", "ssl"}


@pytest.mark.parametrize(
    ("arguments", "says", "without", "own", "most"),
    [
        (["--version"], __version__, {"yaml"}, 20, 130),
        (["--help"], "apply", {"yaml"}, 20, 140),
        (["explain", "VM.GPU.A10.1", "--os", "debian-12"], "nvidia-open", set(), 90, 235),
    ],
)
def test_short_commands_import_little(
    arguments: list[str], says: str, without: set[str], own: int, most: int
) -> None:
    """What they import is what they cost: 0.1 s and 0.2 s on a quiet machine."""
    program = (
        "import json, sys; before = set(sys.modules); import gpuprep.cli; "
        f"gpuprep.cli.run({arguments!r}); "
        "print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stderr.splitlines()[-1])
    assert says in done.stdout
    assert (SLOW | without).isdisjoint(loaded)
    assert sum(name.partition(".")[0] == "gpuprep" for name in loaded) <= own
    assert len(loaded) <= most


def test_every_command_that_is_listed_can_be_loaded() -> None:
    context = click.Context(cli.root)
    names = cli.root.list_commands(context)
    assert {"plan", "apply", "verify", "status", "env"} <= set(names)
    for name in names:
        command = cli.root.get_command(context, name)
        assert isinstance(command, click.Command)
        assert command.get_short_help_str()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["aply"], "Did you mean 'apply'?"),
        (["apply", "--limt", "x"], "--limit"),
        (["apply", "--forks", "many"], "not a valid integer"),
        (["verify", "--tier", "quickly"], "'quickly' is not one of 'quick'"),
        (["plan"], "no inventory"),
        (["plan", "-i", "a,", "-l", "a", "a"], "not both"),
        (["plan", "-i", "a,", "-e", "nonsense"], "KEY=VALUE"),
        (["plan", "-i", "a,", "--private-key", "/nowhere"], "private key /nowhere: no such file"),
        (["apply", "-i", "a,", "--locked"], "gpuprep lock writes it"),
        (["apply", "-i", "a,", "--tags", "instal"], "did you mean install?"),
        (["plan", "-i", "a,", "--skip-tags", "x"], "no task has the tag 'x'"),
        (["plan", "-i", "a,", "--report", "/nowhere/r.json"], "--report /nowhere/r.json"),
        (["jobs", "j.yml", "-i", "a,", "--report", "/nowhere/r.json"], "--report /nowhere/r.json"),
        (["jobs", "j.yml", "-i", "a,", "--report", "~nobody/r.json"], "--report ~nobody/r.json"),
    ],
)
def test_wrong_usage_ends_with_64_and_says_why(
    arguments: list[str],
    hint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.run(arguments) == 64
    shown = capsys.readouterr()
    assert hint in shown.err
    assert shown.out == ""


def test_an_inventory_that_is_not_there_ends_with_69(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", "-i", "/nowhere.yml"]) == 69
    assert "/nowhere.yml: no such file" in capsys.readouterr().err


def test_an_unexpected_error_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> FleetResult:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("gpuprep.api.status", broken)
    assert cli.run(["status", "localhost"]) == 1
    shown = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: by zero" in shown
    assert "Traceback" not in shown
    monkeypatch.setenv("GPUPREP_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli.run(["status", "localhost"])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (((), ("localhost",), None), ("localhost", None)),
        ((("i.yml",), ("localhost",), None), (["i.yml"], ("localhost",))),
        ((("i.yml",), ("a", "b"), None), (["i.yml"], ("a", "b"))),
        ((("i.yml",), (), "gpu*"), (["i.yml"], "gpu*")),
        (((), (), None), (None, None)),
    ],
)
def test_hosts_narrow_the_inventory_and_localhost_alone_is_one(
    typed: Any,
    expected: tuple[Any, Any],
) -> None:
    assert which_hosts(*typed) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a=1 b='two words'", {"a": "1", "b": "two words"}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ('{"a": [1, true]}', {"a": [1, True]}),
        ("{a: {b: 2}}", {"a": {"b": 2}}),
        ("@some/file.yml", "some/file.yml"),
    ],
)
def test_variables_in_all_forms(text: str, expected: object) -> None:
    assert parse_variables((text,)) == [expected]


@pytest.mark.parametrize("text", ["", "a", "=1", "a b=1", "a='1", "{a: [", "1a=2"])
def test_variables_in_no_form(text: str) -> None:
    with pytest.raises(ConfigError, match="-e"):
        parse_variables((text,))


# --- results ------------------------------------------------------------------------------------


def test_results_go_to_stdout_and_progress_to_stderr(
    inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = inventory(a=PROVEN, b={"stub_plan": {"state": "refused", "code": "E_X", "error": "no"}})
    assert cli.run(["apply", "-i", hosts]) == 3
    shown = capsys.readouterr()
    assert "plan made for 2 hosts: 1 to change, 1 refused" in shown.err
    assert "plan made" not in shown.out
    assert "+ conda: change file /opt/conda/.condarc: differs" in shown.out
    last = shown.out.splitlines()[-1]
    assert last == "exit code 3: of 2 hosts, 1 refused (b); 1 prepared, none proven on a GPU"


def test_json_is_the_whole_result_and_nothing_else(
    inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["plan", "-i", inventory(a=READY), "--output", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema"], data["exit_code"], data["verb"]) == (1, 0, "plan")
    assert data["hosts"]["a"]["versions"] == {"driver": "580.95.05"}


def test_a_report_tells_what_was_run_without_its_secrets(
    inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inventory(a=READY, b=READY)
    (tmp_path / "more.yml").write_text("gpuprep_channel: lts")
    url = "https://mirror:s3cr3t-of-mine@mirror.example"
    settings = ("-e", f"gpuprep_mirror={url}", "-e", "api_token=unsayable", "-e", "@more.yml")
    reports = []
    for number in range(2):
        file = tmp_path / f"{number}.json"
        command = ["verify", "-q", "-i", "hosts.json", "-l", "a", *settings, "--report", str(file)]
        assert cli.run(command) == 0
        reports.append(json.loads(file.read_text()))
        assert "s3cr3t" not in file.read_text()
        assert "unsayable" not in file.read_text()
    runs = [report["run"] for report in reports]
    assert runs[0]["id"] != runs[1]["id"]
    assert runs[0]["gpuprep"] == __version__
    assert runs[0]["ansible_core"].startswith("2.")
    assert runs[0]["by"] == f"{getpass.getuser()}@{socket.gethostname()}"
    assert (runs[0]["inventory"], runs[0]["limit"]) == ([str(tmp_path / "hosts.json")], "a")
    assert set(runs[0]["settings"]) == {"gpuprep_mirror", "gpuprep_verify_tier"}
    assert runs[0]["variable_files"] == [str(tmp_path / "more.yml")]
    assert reports[0]["started"] <= runs[0]["finished"]
    validate(reports[0])


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ([], {}),
        (["--tags", "install", "-t", "verify"], {"tags": ("install", "verify")}),
        (["--skip-tags", "conda_install", "-D"], {"skip_tags": ("conda_install",), "diff": True}),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_part_of_the_plan_is_asked_for(
    verb: str,
    typed: list[str],
    given: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[dict[str, Any]] = []

    def run(*_: object, **options: Any) -> FleetResult:
        asked.append({key: options[key] for key in ("tags", "skip_tags", "diff") if key in options})
        return FleetResult(verb, {})

    monkeypatch.setattr(f"gpuprep.api.{verb}", run)
    assert cli.run([verb, "localhost", *typed]) == 0
    assert asked == [given]
    assert "exit code 0" in capsys.readouterr().out


def test_a_report_that_cannot_be_stored_is_told_beside_the_result(
    inventory: Inventory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    former = tmp_path / "report.json"
    former.write_text("former")
    monkeypatch.setattr("gpuprep.cli.stored.write_file", full)
    assert cli.run(["status", "-i", inventory(a=READY), "--report", str(former)]) == 0
    shown = capsys.readouterr()
    assert "report.json: No space left on device; the result was not stored" in shown.err
    assert "1 ready" in shown.out
    assert former.read_text() == "former"


def test_changes_pending_have_a_code_of_their_own_on_request_only(
    inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = inventory(a=DRIFTED, b=READY)
    assert cli.run(["plan", "-q", "-i", hosts]) == 0
    assert "changes are pending on 1 of 2 hosts" in capsys.readouterr().out
    assert cli.run(["plan", "-q", "-i", hosts, "--detailed-exitcode"]) == 2
    assert cli.run(["plan", "-q", "-i", hosts, "--detailed-exitcode", "b"]) == 0


def test_unproven_failed_and_locked_hosts_have_their_codes(inventory: Inventory) -> None:
    proof = {"state": "drifted", "host_status": "drifted", "steps": [STEP]}
    assert cli.run(["apply", "-q", "-i", inventory(a={**DRIFTED, "stub_proof": proof})]) == 5
    assert cli.run(["apply", "-q", "-i", inventory(a={**PROVEN, "stub_fail": "disk full"})]) == 4
    assert cli.run(["apply", "-q", "-i", inventory(a={**PROVEN, "stub_fail": "E_LOCKED"})]) == 6


def test_the_report_is_stored_whole(inventory: Inventory, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text("old")
    assert cli.run(["status", "-q", "-i", inventory(a=READY), "--report", str(report)]) == 0
    assert json.loads(report.read_text())["hosts"]["a"]["state"] == "ready"
    assert [path.name for path in tmp_path.iterdir() if ".report" in path.name] == []


def test_env_lets_plain_ansible_find_the_collection(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["env"]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"export ANSIBLE_COLLECTIONS_PATH={STUB}")


@pytest.mark.parametrize("gone", ["stdout", "both"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", "-q", "-i", "HOSTS", "--detailed-exitcode"], 2),
        (["status", "-i", "HOSTS"], 5),
        (["explain", "VM.GPU.A10.1", "--os", "debian-12"], 0),
        (["explain", "VM.GPU.A10.1", "--os", "debian-12", "--branch", "1"], 4),
        (["explain", "--matrix"], 0),
        (["env"], 0),
        (["catalog", "check"], 0),
        (["--help"], 0),
        (["aply"], 64),
    ],
)
def test_a_reader_that_goes_away_changes_no_exit_code(
    inventory: Inventory, arguments: list[str], code: int, gone: str
) -> None:
    hosts = inventory(a=DRIFTED)
    told = [hosts if one == "HOSTS" else one for one in arguments]
    nobody, to_nobody = os.pipe()
    os.close(nobody)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *told],
        stdout=to_nobody,
        stderr=subprocess.PIPE if gone == "stdout" else to_nobody,
        text=True,
        check=False,
    )
    os.close(to_nobody)
    assert done.returncode == code
    assert "Traceback" not in (done.stderr or "")
    assert "Broken" not in (done.stderr or "")


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*names, name)
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)


@pytest.mark.parametrize("names", list(commands(cli.root)), ids=" ".join)
def test_help_has_no_marks_in_it(
    names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*names, "--help"]) == 0
    assert "\\" not in capsys.readouterr().out


def test_what_is_to_be_typed_stands_in_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["env", "--help"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    first = lines.index('eval "$(gpuprep env)"')
    assert lines[first + 1] == "ansible-playbook -i INVENTORY gpuprep.core.apply"


# --- stopping and passwords, in a process of its own --------------------------------------------


def start(arguments: list[str], *launcher: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*launcher, sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_sleeping() -> Path:
    """Wait for the run's ``sleep`` to appear; give the run's directory."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in rundir.base_directory().iterdir():
            if any(process.name == "sleep" for process in processes.belonging_to(path)):
                return path
        time.sleep(0.1)
    raise AssertionError("the run did not get to its waiting task")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_the_next_run_finishes(
    inventory: Inventory, signum: signal.Signals
) -> None:
    process = start(["apply", "-i", inventory(a={**PROVEN, "stub_wait": 100})])
    directory = wait_until_sleeping()
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert "running the same command again goes on" in err
    assert out.splitlines()[-1].startswith("exit code 7: stopped before the end")
    assert processes.belonging_to(directory) == ()
    assert not directory.exists()
    again = start(["apply", "-i", inventory(a={**PROVEN, "stub_wait": 0})])
    again.communicate(timeout=60)
    assert again.returncode == 0


ANSWER = {"commands": [], "files": {}, "kernel_log": ["said"], "device_nodes": []}


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_bundle_that_is_stopped_keeps_what_it_has(
    inventory: Inventory, tmp_path: Path, signum: signal.Signals
) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    hosts = inventory(
        a={**READY, "stub_said": ANSWER}, b=READY, c={**READY, "stub_wait": 100}
    )  # fmt: skip
    process = start(["bundle", "-i", hosts, "--to", str(folder), "a", "c"])
    directory = wait_until_sleeping()
    process.send_signal(signum)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert "gpuprep: stopping; " in err
    assert "gpuprep: stopped; not collected: c" in err
    assert [path.name.split("-")[1] for path in folder.iterdir()] == ["a"]
    assert processes.belonging_to(directory) == ()
    assert not directory.exists()


def test_what_no_verb_looks_at_is_interrupted_and_the_second_time_at_once(tmp_path: Path) -> None:
    """The first signal lets the work clear up; the second does not wait for that."""
    program = (
        "import time; from pathlib import Path; import gpuprep.cli as cli\n"
        "def work(*_, **__):\n"
        "    try:\n"
        "        Path('begun').touch(); time.sleep(100)\n"
        "    finally:\n"
        "        Path('clearing').touch(); time.sleep(100)\n"
        "cli.root.main = work; cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    for name, signum in (("begun", signal.SIGTERM), ("clearing", signal.SIGINT)):
        wait_for(tmp_path / name)
        process.send_signal(signum)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert err.splitlines() == [
        "",
        "gpuprep: stopping; running the same command again goes on from here",
        "gpuprep: stopped",
    ]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_request_does_not_wait_for_the_end_of_a_run() -> None:
    def run() -> None:
        with stopping(watched=True) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_workshop_is_interrupted_while_it_launches_and_tells_its_result_later(
    signum: signal.Signals, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing looks at the request while hosts are launched; from the first look on all does."""

    def launching(*_: object, **__: object) -> WorkshopResult:
        os.kill(os.getpid(), signum)
        raise AssertionError("the launch went on")

    monkeypatch.setattr("gpuprep.api.workshop", launching)
    assert cli.run(["workshop", "f.yml", "j.yml", "-y"]) == 7
    assert "gpuprep: stopping; " in capfd.readouterr().err

    def preparing(*_: object, cancel: Callable[[], bool], **__: object) -> WorkshopResult:
        assert not cancel()
        os.kill(os.getpid(), signum)
        assert cancel()
        return WorkshopResult(jobs=JobsResult({}, cancelled=True), seconds={"jobs": 1.0})

    monkeypatch.setattr("gpuprep.api.workshop", preparing)
    assert cli.run(["workshop", "f.yml", "j.yml", "-y"]) == 7
    shown = capfd.readouterr()
    assert "stopped before the end; jobs that run go on" in shown.out


def test_jobs_that_are_stopped_tell_and_store_their_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def waiting(*_: object, cancel: Callable[[], bool], **__: object) -> JobsResult:
        os.kill(os.getpid(), signal.SIGTERM)
        assert cancel()
        return JobsResult({"a": HostJobs("a")}, cancelled=True)

    monkeypatch.setattr("gpuprep.api.run_jobs", waiting)
    report = tmp_path / "r.json"
    assert cli.run(["jobs", "j.yml", "-i", "a,", "--report", str(report)]) == 7
    assert "stopped before the end; jobs that run go on" in capsys.readouterr().out
    assert json.loads(report.read_text())["cancelled"] is True


def test_under_nohup_the_end_of_the_terminal_does_not_end_the_run(inventory: Inventory) -> None:
    process = start(["apply", "-i", inventory(a={**PROVEN, "stub_wait": 5})], "nohup")
    wait_until_sleeping()
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    assert "stopping" not in err
    assert (process.returncode, "stopped before the end" in out) == (0, False)


def test_the_loss_of_the_terminal_stops_cleanly(inventory: Inventory, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    hosts = inventory(a={**PROVEN, "stub_wait": 100})
    arguments = ["--default-signal=HUP", sys.executable, "-c", PROGRAM, "apply", "-i", hosts]
    child = pexpect.spawn("env", [*arguments, "--report", str(report)], timeout=60)
    directory = wait_until_sleeping()
    os.close(child.child_fd)
    ended = (0, 0)
    while ended[0] == 0:
        os.kill(child.pid, signal.SIGHUP)  # the shell whose terminal went tells its jobs, too
        ended = os.waitpid(child.pid, os.WNOHANG)
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(ended[1]) == 7
    assert json.loads(report.read_text())["exit_code"] == 7
    assert processes.belonging_to(directory) == ()
    assert not directory.exists()


def test_what_a_killed_run_leaves_the_next_one_clears_away(inventory: Inventory) -> None:
    process = start(["apply", "-i", inventory(a={**PROVEN, "stub_wait": 100})])
    directory = wait_until_sleeping()
    process.kill()
    process.communicate(timeout=30)
    assert directory.exists()
    assert directory in rundir.remove_abandoned(rundir.base_directory())
    assert not directory.exists()
    assert processes.belonging_to(directory) == ()


def test_a_living_runs_directory_is_not_cleared_away(inventory: Inventory) -> None:
    process = start(["apply", "-i", inventory(a={**PROVEN, "stub_wait": 5})])
    directory = wait_until_sleeping()
    assert directory not in rundir.remove_abandoned(rundir.base_directory())
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_the_become_password_is_asked_for_and_reaches_sudo_alone(
    inventory: Inventory, tmp_path: Path
) -> None:
    """A stand-in for sudo asks for the password as sudo does and takes only the right one."""
    sudo = tmp_path / "sudo"
    sudo.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "prompt = sys.argv[sys.argv.index('-p') + 1]\n"
        "sys.stderr.write(prompt); sys.stderr.flush()\n"
        "given = b''\n"
        "while not given.endswith(b'\\n'): given += os.read(0, 1)\n"
        "if given != b'MARKER-password\\n': sys.exit('Sorry, try again.')\n"
        "command = sys.argv[sys.argv.index('-u') + 2:]\n"
        "os.execvp(command[0], command)\n"
    )
    sudo.chmod(0o755)
    host = {
        **PROVEN,
        "stub_become": True,
        "ansible_become_user": "nobody",
        "ansible_become_exe": str(sudo),
    }
    arguments = ["-c", PROGRAM, "apply", "-K", "-vvvvv", "-i", inventory(a=host)]
    child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=60)
    child.expect("BECOME password: ")
    child.sendline("MARKER-password")
    child.expect(pexpect.EOF)
    child.close()
    assert child.before is not None
    assert child.exitstatus == 0, child.before
    assert "Become another" in child.before
    assert "MARKER" not in child.before


def test_passwords_of_encrypted_data_are_asked_for_by_label(
    inventory: Inventory, tmp_path: Path
) -> None:
    """Two identities, one of them from a file: both open what was encrypted for them."""
    (tmp_path / "file").write_text("MARKER-file\n")
    lines = [f"one: {encrypted('disk', tmp_path, 'MARKER-typed', 'default')}"]
    lines += [f"two: {encrypted('full', tmp_path, 'MARKER-file', 'prod')}"]
    lines += ['stub_fail: "{{ one }} {{ two }}"']
    (tmp_path / "variables.yml").write_text("\n".join(lines))
    arguments = ["-c", PROGRAM, "apply", "-J", "--vault-id", f"prod@{tmp_path / 'file'}"]
    arguments += ["-e", f"@{tmp_path / 'variables.yml'}", "-i", inventory(a=PROVEN)]
    child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=60)
    child.expect(r"Vault password \(default\): ")
    child.sendline("MARKER-typed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.before is not None
    assert "FAILED: disk full" in child.before
    assert "MARKER" not in child.before


def test_a_workshop_opens_encrypted_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Access] = []

    def run(*_: object, access: Access, **__: object) -> WorkshopResult:
        given.append(access)
        return WorkshopResult()

    monkeypatch.setattr("gpuprep.api.workshop", run)
    monkeypatch.setattr("click.prompt", lambda *_, **__: "typed")
    command = ["workshop", "f.yml", "j.yml", "-y", "-J", "--vault-id", "prod@file"]
    assert cli.run(command) == 0
    assert given == [Access(vault_ids=("prod@file",), vault_passwords={"default": "typed"})]


def encrypted(text: str, folder: Path, password: str, label: str) -> str:
    """Return a text as YAML that only this password opens."""
    key = folder / "key"
    key.write_text(password)
    command = [sys.executable, "-m", "ansible", "vault", "encrypt_string", text]
    identity = ["--encrypt-vault-id", label, "--vault-id", f"{label}@{key}"]
    done = subprocess.run([*command, *identity], capture_output=True, check=True, text=True)
    return done.stdout


@pytest.mark.parametrize(
    ("section", "key", "value", "option"),
    [
        ("defaults", "ask_vault_pass", "True", "--ask-vault-pass"),
        ("defaults", "ask_pass", "yes", "--ask-pass"),
        ("privilege_escalation", "become_ask_pass", "1", "--ask-become-pass"),
        ("defaults", "vault_identity_list", "dev@key, prod@prompt", "--vault-id prod@prompt"),
    ],
)
@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_prompt_of_ansibles_own_is_refused_not_waited_for(  # noqa: PLR0913
    inventory: Inventory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    section: str,
    key: str,
    value: str,
    option: str,
    place: str,
) -> None:
    (tmp_path / "key").touch()
    monkeypatch.chdir(tmp_path)
    if place == "file":
        (tmp_path / "ansible.cfg").write_text(f"[{section}]\n{key} = {value}\n")
        monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "ansible.cfg"))
    else:
        monkeypatch.setenv(f"ANSIBLE_{key.upper()}", value)
    assert cli.run(["plan", "-q", "-i", inventory(a=READY), "--timeout", "20"]) == 64
    assert f"give {option}, or" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "key", "value", "prompt"),
    [
        ("defaults", "ask_vault_pass", "True", r"Vault password \(default\): "),
        ("defaults", "ask_pass", "yes", "SSH password: "),
        ("privilege_escalation", "become_ask_pass", "1", "BECOME password: "),
        ("defaults", "vault_identity_list", "dev@key, prod@prompt", r"Vault password \(prod\): "),
        (
            "defaults",
            "vault_identity_list",
            "prod@prompt_ask_vault_pass",
            r"Vault password \(prod\): ",
        ),
    ],
)
@pytest.mark.parametrize("place", ["file", "environment"])
def test_on_a_terminal_a_prompt_of_ansibles_own_is_honoured(  # noqa: PLR0913
    inventory: Inventory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    section: str,
    key: str,
    value: str,
    prompt: str,
    place: str,
) -> None:
    """Asked once, by gpuprep; encrypted data is open then."""
    (tmp_path / "key").write_text("MARKER-other")
    monkeypatch.chdir(tmp_path)
    if place == "file":
        (tmp_path / "ansible.cfg").write_text(f"[{section}]\n{key} = {value}\n")
        monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "ansible.cfg"))
    else:
        monkeypatch.setenv(f"ANSIBLE_{key.upper()}", value)
    arguments = ["-c", PROGRAM, "apply", "-q", "-i", inventory(a=PROVEN)]
    vault = "Vault" in prompt
    if vault:
        with monkeypatch.context() as plain:
            plain.delenv("ANSIBLE_CONFIG", raising=False)
            plain.delenv(f"ANSIBLE_{key.upper()}", raising=False)
            plain.chdir("/")
            label = "prod" if "prod" in prompt else "default"
            text = encrypted("disk", tmp_path, "MARKER-typed", label)
        (tmp_path / "key").write_text("MARKER-other")
        (tmp_path / "variables.yml").write_text(f"one: {text}\nstub_fail: '{{{{ one }}}}'\n")
        arguments += ["-e", f"@{tmp_path / 'variables.yml'}"]
    child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=60)
    child.expect(prompt)
    child.sendline("MARKER-typed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.before is not None
    assert child.exitstatus == (4 if vault else 0), child.before
    assert (": disk" in child.before) is vault
    assert "assword" not in child.before
    assert "MARKER" not in child.before


def test_an_error_shows_no_token_of_a_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConfigError("https://MARKER-t@mirror/t/MARKER-p/x?token=MARKER-q: 404")

    monkeypatch.setattr(cli.root, "main", fail)
    assert cli.run([]) == 64
    told = capsys.readouterr().err
    assert "mirror" in told
    assert "MARKER" not in told


def test_a_terminal_gets_a_live_view_and_a_pipe_gets_lines(inventory: Inventory) -> None:
    arguments = ["-c", PROGRAM, "apply", "-i", inventory(a={**PROVEN, "stub_fail": "disk full"})]
    environment = {**os.environ, "TERM": "xterm-256color"}
    child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", env=environment, timeout=60)
    child.expect(pexpect.EOF)
    child.close()
    assert child.before is not None
    assert "\x1b[" in child.before
    assert "FAILED: disk full" in child.before
    piped = start(arguments[2:])
    _, err = piped.communicate(timeout=60)
    assert "\x1b[" not in err
    assert "FAILED: disk full" in err


def test_a_limit_can_be_the_hosts_that_failed_before(
    inventory: Inventory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {"stub_plan": {"state": "refused", "code": "E_X", "error": "no"}}
    hosts = inventory(a=PROVEN, b=refused, c=READY, d=refused)
    report = tmp_path / "report.json"
    assert cli.run(["apply", "-q", "-i", hosts, "--report", str(report)]) == 3
    for again in (["-l", f"@{report}"], [f"@{report}"]):
        capsys.readouterr()
        assert cli.run(["plan", "-q", "-i", hosts, "-o", "json", *again]) == 4
        assert list(json.loads(capsys.readouterr().out)["hosts"]) == ["b", "d"]
    assert cli.run(["plan", "-q", "-i", hosts, "-o", "json", "-l", f"@{report},!b"]) == 4
    assert list(json.loads(capsys.readouterr().out)["hosts"]) == ["d"]


def test_a_result_of_jobs_names_its_failed_hosts_and_is_told_for_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    inventory: Inventory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hosts = {"a": HostJobs("a"), "b": HostJobs("b", code="E_FS_RUN", error="x")}
    monkeypatch.setattr("gpuprep.api.run_jobs", lambda *_, **__: JobsResult(hosts))
    report = tmp_path / "r.json"
    assert cli.run(["jobs", "j.yml", "-i", "a,b", "--report", str(report)]) == 3
    assert report.stat().st_mode & 0o777 == 0o600
    assert with_failed_hosts(f"@{report}") == "b"
    both = inventory(a=READY, b=READY)
    capsys.readouterr()
    assert cli.run(["status", "-q", "-i", both, "-l", f"@{report}", "-o", "json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["hosts"]) == ["b"]
    for form in ("html", "json"):
        assert cli.run(["report", str(report), "-f", form, "--to", "-"]) == 64
        assert "a result of gpuprep jobs, of which no report is made" in capsys.readouterr().err
    report.write_text(json.dumps(JobsResult({}).to_dict()))
    assert cli.run(["report", str(report)]) == 64
    with pytest.raises(ConfigError, match="no host of this result failed"):
        with_failed_hosts(f"@{report}")


def stored(verb: str = "apply", **states: str) -> str:
    hosts = {name: {"name": name, "state": state} for name, state in states.items()}
    return json.dumps({"schema": 1, "verb": verb, "hosts": hosts})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (stored(a="ready", b="prepared"), "no host of this result failed"),
        (stored("plan", a="drifted"), "no host of this result failed"),
        ("{", "no JSON"),
        ('{"hosts": ["a"]}', "not a result of gpuprep"),
        ("{}", "not a result of gpuprep"),
        ('{"verb": "jobs", "hosts": ["a"]}', "not a result of gpuprep jobs"),
    ],
)
def test_a_stored_result_that_names_nobody_is_told(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ConfigError, match=says):
        with_failed_hosts(f"@{tmp_path}/r.json")


def test_only_stored_results_are_read_and_names_are_no_patterns(tmp_path: Path) -> None:
    (tmp_path / "hosts.retry").write_text("a\nb\n")
    for pattern in (f"@{tmp_path}/hosts.retry", "@missing", "a,b:&c", "~web.*", "user@host", None):
        assert with_failed_hosts(pattern) == pattern
    (tmp_path / "r.json").write_text(stored(**{"a.b-1": "failed", "all:!b*,c": "refused"}))
    first, second = str(with_failed_hosts(f"@{tmp_path}/r.json")).split(",")
    assert first == "a.b-1"
    assert re.match(second.removeprefix("~"), "all:!b*,c")
    assert not set(second) & set(":!*[]&")
    assert not re.match(second.removeprefix("~"), "all:!bx,c")


def on_a_terminal(*arguments: str) -> pexpect.spawn:
    environment = {**os.environ, "TERM": "dumb"}
    command = ["-c", PROGRAM, "apply", "-q", *arguments]
    return pexpect.spawn(sys.executable, command, encoding="utf-8", env=environment, timeout=60)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 7), ("", 7)])
def test_before_several_hosts_are_changed_a_terminal_is_asked(
    inventory: Inventory, answer: str, code: int
) -> None:
    child = on_a_terminal("-i", inventory(a=PROVEN, b=PROVEN, c=READY))
    child.expect_exact("change file /opt/conda/.condarc")  # what would be done stands above it
    child.expect_exact("Change 2 of 3 hosts? [y/N]: ")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code, child.before
    assert ("exit code 0: 2 prepared, 1 ready" in (child.before or "")) is (code == 0)
    assert ("nothing was changed" in (child.before or "")) is (code == 7)


@pytest.mark.parametrize(
    ("hosts", "options"),
    [
        ({"a": PROVEN, "b": PROVEN}, ("--yes",)),
        ({"a": PROVEN, "b": PROVEN}, ("-y",)),
        ({"a": PROVEN, "b": PROVEN}, ("--check",)),
        ({"a": PROVEN, "b": READY}, ()),
        ({"a": READY, "b": READY}, ()),
    ],
)
def test_nobody_is_asked_where_there_is_no_need(
    inventory: Inventory, hosts: dict[str, Any], options: tuple[str, ...]
) -> None:
    child = on_a_terminal("-i", inventory(**hosts), *options)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    assert "[y/N]" not in (child.before or "")


def test_nobody_is_asked_without_a_terminal(inventory: Inventory) -> None:
    process = start(["apply", "-q", "-i", inventory(a=PROVEN, b=PROVEN)])
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "2 of 2 hosts changed" in out


@pytest.mark.parametrize("locale", ["POSIX", "en_US.ISO-8859-1"])
def test_a_locale_that_is_not_utf8_is_no_obstacle(inventory: Inventory, locale: str) -> None:
    """Ansible itself refuses to start with one."""
    arguments = ["-c", PROGRAM, "status", "-i", inventory(ä={**READY})]
    python = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "LC_ALL": locale, **python},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"ready" in done.stdout


def test_a_lock_is_not_replaced_when_no_host_can_be_locked(
    inventory: Inventory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lock.yml"
    file.write_text("kept")
    hosts = inventory(b={"stub_plan": {"state": "refused", "code": "E_X", "error": "no GPU"}})
    assert cli.run(["lock", "-q", "-i", hosts, "--lock-file", str(file)]) == 4
    told = capsys.readouterr().err
    assert "not locked: b: no GPU" in told
    assert f"{file}: not written" in told
    assert file.read_text() == "kept"


def test_lock_reaches_hosts_as_plan_does(
    inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = inventory(a=READY)
    assert cli.run(["lock", "-q", "-i", hosts, "-l", "a", "-e", "no equals"]) == 64
    assert "expected KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_without_standard_streams_writes_its_report(
    closed: str, inventory: Inventory, tmp_path: Path
) -> None:
    """Programs that start others without usable streams are common; see apenella/go-ansible#200."""
    report = tmp_path / "report.json"
    command = f"plan -i {inventory(a=PROVEN)} --report {report} {closed}"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {command}', sys.executable, PROGRAM],
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(report.read_text())["exit_code"] == 0
