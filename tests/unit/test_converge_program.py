"""The converge program as it is sent: its answer, its worker, one request at a time, the lease."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from converge_rig import CONTEXT, LOOKING, names
from pythons import OLDEST, interpreter

from gpuprep.observe import converge, ship
from gpuprep.on_host.converge import (
    ahead,
    base,
    fetch,
    files,
    folders,
    job,
    lease,
    main,
    operations,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it works for root only")

PYTHONS = [sys.executable, *filter(None, [interpreter(OLDEST)])]
# What a worker needs to know of the test: where its directory is, and no systemd.
REDIRECT = """
from gpuprep_on_host.converge import base, conda, folders, job, operations, services
folders.RUN = {run!r}
job.WORKER = {preamble!r} + job.WORKER
services.systemd_runs = lambda: False
def slow(operation, context):
    import time
    with open(operation["log"], "a") as stream:
        stream.write("begun\\n")
    time.sleep(operation["seconds"])
    if operation.get("die"):
        import os
        os.kill(os.getpid(), 9)
    with open(operation["log"], "a") as stream:
        stream.write("done\\n")
    return base.done(True, "slept")
operations.OPERATIONS["conda_install"] = slow
"""


def program(request: dict[str, Any], run: Path) -> tuple[str, str]:
    """Return the program with its directory elsewhere, here and in its worker; and its marker."""
    text, marker = converge.script(request)
    head, _, call = text.rpartition("from gpuprep_on_host.converge.main")
    preamble = ""
    for _ in range(2):
        preamble = REDIRECT.format(run=str(run), preamble=preamble)
    return f"{head}{preamble}\nfrom gpuprep_on_host.converge.main{call}", marker


def slow(tmp_path: Path, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
    step = {"op": "conda_install", "log": str(tmp_path / "log"), "seconds": seconds, **more}
    return converge.request([step], role="conda", stage="install", lock_timeout=20)


def start(request: dict[str, Any], tmp_path: Path) -> tuple[subprocess.Popen[str], str]:
    text, marker = program(request, tmp_path / "run")
    started = subprocess.Popen(
        [sys.executable, "-S", "-E", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdin is not None
    started.stdin.write(text)
    started.stdin.close()
    return started, marker


def finish(started: subprocess.Popen[str], marker: str) -> converge.Answer:
    assert started.stdout is not None
    return converge.read(started.stdout.read(), marker)


def wait_for(path: Path, text: str) -> None:
    for _ in range(600):
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(path.read_text() if path.exists() else path)


# --- sent and read --------------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
def test_it_runs_in_a_bare_interpreter(python: str, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "a"), "kind": "profile", "content": "x: 'ü' \\ \"\n"}
    request = converge.request([{"op": "files", "files": [entry]}], check=True)
    text, marker = converge.script(request)
    command = [python, "-S", "-E", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    answer = converge.read(f"noise\n{done.stdout}more noise", marker)
    assert (answer.changed, answer.failed) == (True, None)
    assert answer.diff[0]["after"] == entry["content"]


def test_its_answer_is_found_by_its_own_marker_only() -> None:
    text, marker = converge.script(converge.request([]))
    assert converge.script(converge.request([]))[1] != marker
    assert f"{marker}\n" not in text  # a host that echoes the program does not answer with it
    forged = '{"schema": 1, "changed": true, "operations": [], "failed": null}'
    with pytest.raises(converge.AnswerError):
        converge.read(f"gpuprep-answer-0\n{forged}", marker)


@pytest.mark.parametrize(
    "answer",
    ["", "[" * 100_000, "{", "[]", '{"schema": 1}', '{"schema": 2, "operations": [], "failed": 0}',
     '{"schema": 1, "changed": 1, "operations": 7, "failed": null}', "null"],
)  # fmt: skip
def test_any_answer_is_read_or_told(answer: str) -> None:
    with pytest.raises(converge.AnswerError):
        converge.read(f"m\n{answer}", "m")


def test_modules_import_each_other_in_any_order() -> None:
    text = ship.packed(("converge.base", "converge.locks"), f"import {ship.ROOT}.converge.locks")
    subprocess.run([sys.executable, "-S", "-E", "-"], input=text, text=True, check=True)


def test_somebody_who_is_not_root_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    main.main(json.dumps(converge.request([])), "m", {})
    failed = converge.read(capsys.readouterr().out, "m").failed
    assert failed is not None
    assert failed["code"] == "E_NOT_ROOT"


# --- the worker -----------------------------------------------------------------------------------


def test_a_step_ends_though_its_caller_is_killed_and_the_next_goes_on(tmp_path: Path) -> None:
    first, _ = start(slow(tmp_path, 3.0), tmp_path)
    wait_for(tmp_path / "log", "begun")
    first.send_signal(signal.SIGKILL)
    first.wait()
    answer = finish(*start(slow(tmp_path, 3.0), tmp_path))
    assert answer.changed
    assert "which an earlier run began: it ended well" in str(answer.earlier)
    assert (
        tmp_path / "log"
    ).read_text() == "begun\ndone\n"  # its result was taken, not its work done again
    assert names(tmp_path / "run") == ["answers", "job.lock"]


def test_another_request_waits_and_is_carried_out(tmp_path: Path) -> None:
    first = start(slow(tmp_path, 2.0), tmp_path)
    wait_for(tmp_path / "log", "begun")
    answer = finish(*start(slow(tmp_path, 0.1), tmp_path))
    assert finish(*first).changed
    assert answer.changed
    # Neither the program nor its environment is left.
    assert names(tmp_path / "run/job") == ["output", "state.json"]
    assert len(names(tmp_path / "run/answers")) == 2
    assert (tmp_path / "log").read_text() == "begun\ndone\n" * 2


def test_who_waits_too_long_is_told_for_whom(tmp_path: Path) -> None:
    first = start(slow(tmp_path, 3.0), tmp_path)
    wait_for(tmp_path / "log", "begun")
    hurried = slow(tmp_path) | {"lock_timeout": 0}
    failed = finish(*start(hurried, tmp_path)).failed
    assert failed is not None
    assert failed["code"] == "E_LOCKED"
    assert "install of conda" in failed["message"]
    finish(*first)


def test_a_killed_worker_is_told_and_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    failed = finish(*start(slow(tmp_path, 0.1, die=True), tmp_path)).failed
    assert failed is not None
    assert failed["code"] == "E_STEP_KILLED"
    assert finish(*start(slow(tmp_path), tmp_path)).changed


def test_a_finished_step_of_yesterday_is_not_taken_for_todays(tmp_path: Path) -> None:
    first, _ = start(slow(tmp_path, 0.5), tmp_path)
    wait_for(tmp_path / "log", "begun")
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_for(tmp_path / "log", "done")
    time.sleep(1)
    assert finish(*start(slow(tmp_path, 0.5), tmp_path)).earlier is None
    assert (tmp_path / "log").read_text() == "begun\ndone\n" * 2


def test_a_request_is_known_by_what_it_does() -> None:
    one = converge.request([{"op": "hold", "patterns": ["a"]}], stage="packages")
    assert job.digest_of(one) == job.digest_of(one | {"environment": {"a": "b"}})
    assert job.digest_of(one) != job.digest_of(one | {"stage": "files"})
    assert job.digest_of(one) != job.digest_of(one | {"operations": []})


# --- the lease ------------------------------------------------------------------------------------


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "RUN", str(tmp_path / "run"))
    return tmp_path / "run"


def take(run: str, **more: Any) -> dict[str, Any]:
    operation = {"state": "present", "run": run, "holder": f"{run}@x", "seconds": 60, **more}
    answer: dict[str, Any] = lease.lease(operation, CONTEXT)
    return answer


def test_one_run_has_the_lease(run_directory: Path) -> None:
    assert "held_by" not in take("a")
    assert "held_by" not in take("a")
    assert take("b")["held_by"]["holder"] == "a@x"
    assert "held_by" not in take("b", state="absent")  # not its own: it stays
    assert take("b")["held_by"]["run"] == "a"
    take("a", state="absent")
    assert "held_by" not in take("b")
    assert (run_directory.stat().st_mode & 0o777) == 0o700


def test_what_a_run_leaves_is_never_taken_back_by_a_later_one(
    run_directory: Path, tmp_path: Path
) -> None:
    pin = {"path": str(tmp_path / "pin"), "content": "new\n", "kind": "pin"}
    take("a")
    files.files({"files": [pin], "linker_cache": False}, CONTEXT)
    take("b", state="absent")  # not the run that has the host
    assert (run_directory / files.REPLACED).exists()
    take("a", state="absent")
    assert files.take_back() == []
    assert (tmp_path / "pin").read_text() == "new\n"


def test_a_lease_that_is_over_is_taken(run_directory: Path) -> None:
    take("a", seconds=-1)
    assert "held_by" not in take("b")
    assert "held_by" not in take("c", take_over="b")
    assert take("d", take_over="b")["held_by"]["run"] == "c"  # meanwhile it is another's
    for text in ("{}", "[]", "", '{"run": "x", "holder": "x", "expires": 1e99}'):
        (run_directory / "lease.json").write_text(text)
        assert "held_by" not in take("e")
        take("e", state="absent")


def test_of_many_that_come_at_once_one_gets_it(run_directory: Path) -> None:
    answers: list[dict[str, Any]] = []
    runs = [
        threading.Thread(target=lambda n=n: answers.append(take(f"run-{n}"))) for n in range(12)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sum("held_by" not in answer for answer in answers) == 1
    assert run_directory.exists()


def test_check_mode_takes_no_lease(run_directory: Path) -> None:
    lease.lease({"state": "present", "run": "a", "holder": "a", "seconds": 1}, LOOKING)
    assert not run_directory.exists()


# --- what is done beside a request ---------------------------------------------------------------


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let requests run here: their directory is the test's, and conda's installer writes a file."""
    monkeypatch.setattr(folders, "RUN", str(tmp_path / "run"))
    monkeypatch.setitem(operations.OPERATIONS, "packages", _packages)
    return tmp_path


def _packages(operation: dict[str, Any], _context: Any) -> Any:
    if operation.get("waits_for"):
        wait_for(Path(operation["waits_for"]), "begun")
    if operation.get("fails"):
        raise base.OperationError("E_PACKAGES", "no room")
    return base.done("installed", ["a"])


def _both(beside: Path, monkeypatch: pytest.MonkeyPatch, **packages: Any) -> tuple[Any, Any]:
    """Return the answers to the request of the first role, and to the other's."""
    log = beside / "log"

    def install(operation: dict[str, Any], _context: Any) -> Any:
        with log.open("a") as stream:
            stream.write("begun\n")
        if operation.get("fetches"):
            with (beside / "fetched").open("w+b") as into:
                fetch.fetch(operation["fetches"], into, 1 << 20, 60)
        with log.open("a") as stream:
            stream.write("done\n")
        return base.done("installed conda", ["/opt/conda"])

    monkeypatch.setitem(operations.OPERATIONS, "conda_install", install)
    other = {
        "op": "conda_install",
        "number": "0123456789abcdef",
        "fetches": packages.pop("url", ""),
    }
    request = {"role": "conda", "stage": "install", "family": "deb", "operations": [other]}
    first = [{"op": "ahead", "request": request}, {"op": "packages", **packages}]
    answer = operations.carry_out(converge.request(first, role="gpu_driver", stage="packages"))
    return answer, ahead.answer_to({**request, "lock_timeout": 1})


def test_an_installer_runs_beside_packages_and_its_answer_is_taken_once(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The transaction ends only once the installer has begun: they do run side by side.
    first, other = _both(beside, monkeypatch, waits_for=str(beside / "log"))
    assert (first["failed"], first["changed"]) == (None, True)
    assert other["operations"][0]["detail"] == "installed conda"
    assert (beside / "log").read_text() == "begun\ndone\n"
    asked = {"operations": [{"number": "0123456789abcdef"}]}
    assert ahead.answer_to(asked) is None


def test_packages_that_fail_let_an_installer_end_that_has_begun(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = _both(beside, monkeypatch, fails=True, waits_for=str(beside / "log"))
    assert first["failed"]["code"] == "E_PACKAGES"
    assert other["failed"] is None
    assert (beside / "log").read_text() == "begun\ndone\n"


def test_packages_that_fail_stop_a_download(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes calls and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/i.sh"
        started = time.monotonic()
        first, other = _both(
            beside, monkeypatch, url=url, fails=True, waits_for=str(beside / "log")
        )
    assert time.monotonic() - started < fetch.ANSWER_SECONDS
    assert first["failed"]["code"] == "E_PACKAGES"
    assert "the download was stopped" in other["failed"]["message"]


def test_check_mode_begins_nothing(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process was started"))
    request = {"operations": [{"number": "0123456789abcdef"}]}
    assert not ahead.ahead({"request": request}, LOOKING)["changed"]
    assert not (beside / "run").exists()


def test_a_number_is_no_path(beside: Path) -> None:
    del beside
    with pytest.raises(base.OperationError, match="no number"):
        ahead.answer_to({"operations": [{"number": "../../etc/passwd"}]})


def test_a_request_imports_what_it_needs() -> None:
    """The host compiles each module anew, for each of a dozen requests."""
    program = """
import sys
from gpuprep.on_host.converge import job, main, operations
request = {"schema": 1, "operations": [], "family": "deb", "lock_timeout": 1, "check": True}
print(operations.carry_out(request)["failed"])
print(*(name.rpartition(".")[2] for name in sys.modules if ".converge." in name))
print("urllib.request" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    failed, modules, fetches = done.stdout.splitlines()
    assert (failed, fetches) == ("None", "False")
    assert set(modules.split()) == {
        "base",
        "family",
        "files",
        "folders",
        "job",
        "main",
        "operations",
    }


@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_every_operation_is_there(name: str) -> None:
    """They are looked up when they are called."""
    with pytest.raises(TypeError, match="missing 2 required"):
        operations.OPERATIONS[name]()
