"""The runner over real ssh: connections are closed, host keys are checked, nothing stays behind."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus
from gpuprep.run import directory as rundir
from gpuprep.run import environment as engine
from gpuprep.run import processes
from gpuprep.run.events import Event, EventKind
from sandbox import bootstrap, hosts, inventory
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.register import Host

pytestmark = pytest.mark.sandbox

STUB = Path(__file__).parents[1] / "unit/runner_stub"
STEP = {
    "id": "conda.file.condarc",
    "role": "conda",
    "kind": "condarc",
    "target": "/opt/conda/.condarc",
    "action": "change",
    "reason": "differs",
}
DRIFTED = {
    "stub_plan": {"state": "drifted", "steps": [STEP]},
    "stub_proof": {"state": "converged", "host_status": "prepared"},
}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    bootstrap.ensure()
    (started,) = hosts.start_all((HostSpec("runner-12"),), "runner")
    yield started
    hosts.stop_all(["runner-12"])


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the place of the runs' directories; afterwards it is empty and so is the process list.

    Its path is short, for the sake of ssh's sockets.
    """
    monkeypatch.setattr(engine, "collections_root", lambda: STUB)
    with tempfile.TemporaryDirectory(prefix="runs-") as name:
        base = Path(name)
        monkeypatch.setattr(rundir, "base_directory", lambda: base)
        yield base
        assert list(base.iterdir()) == []
        assert processes.belonging_to(base) == ()


def fleet(host: Host, **more: object) -> dict[str, Any]:
    structure = inventory.document([host])
    structure["all"]["hosts"][host.name] |= {**DRIFTED, **more}
    return structure


def wait_for_sleep(host: Host, *, there: bool) -> None:
    deadline = time.monotonic() + 60
    while (hosts.run(host.name, ["pgrep", "-x", "sleep"]).returncode == 0) is not there:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_run_over_ssh_shares_one_connection_and_closes_it(host: Host, runs: Path) -> None:
    sockets: set[str] = set()

    def observe(event: Event) -> None:
        if event.kind is EventKind.CHANGED:
            sockets.update(path.name for path in runs.glob("gpuprep-*/cp/*"))

    result = gpuprep.apply(fleet(host), on_event=observe)
    assert result.hosts[host.name].state is HostStatus.PREPARED, result.hosts[host.name].error
    assert len(sockets) == 1


def test_cancel_over_ssh_leaves_no_client_and_no_master(host: Host, runs: Path) -> None:
    cancel = threading.Event()
    clients: set[str] = set()

    def observe(event: Event) -> None:
        if event.task == "Wait" and event.kind is EventKind.TASK:
            threading.Thread(target=look_and_cancel).start()

    def look_and_cancel() -> None:
        wait_for_sleep(host, there=True)
        clients.update(process.name for process in processes.belonging_to(runs))
        cancel.set()

    result = gpuprep.apply(fleet(host, stub_wait=300), on_event=observe, cancel=cancel)
    assert result.exit_code is ExitCode.CANCELLED
    assert result.hosts[host.name].state is HostStatus.UNKNOWN
    assert "ssh" in clients
    hosts.run(host.name, ["pkill", "-x", "sleep"])  # what was begun there goes on there


def test_a_host_whose_key_is_another_is_not_talked_to(host: Host, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("")
    structure = fleet(host)
    arguments = structure["all"]["vars"]["ansible_ssh_common_args"].split()
    structure["all"]["vars"]["ansible_ssh_common_args"] = " ".join(
        f"UserKnownHostsFile={known_hosts}" if part.startswith("UserKnownHostsFile") else part
        for part in arguments
        if not part.startswith("StrictHostKeyChecking")
    ).replace("-o -o", "-o")
    result = gpuprep.apply(structure)
    found = result.hosts[host.name]
    assert found.state is HostStatus.UNREACHABLE
    assert "Host key verification failed" in (found.error or "")


def test_an_unreachable_host_does_not_keep_the_others_from_finishing(host: Host) -> None:
    structure = fleet(host)
    structure["all"]["hosts"]["nobody"] = {
        **structure["all"]["hosts"][host.name],
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
    }
    result = gpuprep.apply(structure)
    assert result.hosts[host.name].state is HostStatus.PREPARED
    assert result.hosts["nobody"].state is HostStatus.UNREACHABLE
    assert result.exit_code is ExitCode.SOME_HOSTS_FAILED
