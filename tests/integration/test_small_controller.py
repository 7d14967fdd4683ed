"""A hundred healthy hosts, and half a processor to reach them with: none counts as unreachable."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gpuprep.run import processes
from sandbox import bootstrap, hosts
from sandbox.fleet import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

HOSTS, TIMES = 100, 20
SAME = "E_SAME_HOST"
PERIOD = 100_000  # microseconds
QUOTA = PERIOD // 2


@contextlib.contextmanager
def half_a_core() -> Iterator[Path]:
    """Give a control group that may use half a processor; both versions of control groups."""
    root = Path("/sys/fs/cgroup")
    first = (root / "cpu").is_dir()
    group = (root / "cpu" if first else root) / f"gpuprep-test-{os.getpid()}"
    try:
        group.mkdir()
        if first:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(QUOTA))
        else:
            (group / "cpu.max").write_text(f"{QUOTA} {PERIOD}")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


def end_masters(runtime: Path) -> None:
    names = {path.name for path in runtime.rglob("*")}
    for process in processes.belonging_to(Path("/")):
        if process.socket and Path(process.socket).name in names:
            os.kill(process.pid, signal.SIGKILL)


def wait_until_empty(group: Path) -> None:
    deadline = time.monotonic() + 60
    while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.2)


def reached(inventory: Path) -> dict[str, Any]:
    """Look at all hosts from half a core; no connection is there before, or afterwards."""
    with half_a_core() as group, tempfile.TemporaryDirectory(prefix="small-") as runtime:
        within = 'echo $$ >"$0"; exec "$@"'
        command = [sys.executable, "-m", "gpuprep", "status", "-i", str(inventory), "-o", "json"]
        done = subprocess.run(
            ["sh", "-c", within, str(group / "cgroup.procs"), *command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_RUNTIME_DIR": runtime},
        )
        end_masters(Path(runtime))
        wait_until_empty(group)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_hundred_hosts_are_all_reached_from_half_a_core_twenty_times(tmp_path: Path) -> None:
    """One machine under a hundred names: a connection of its own for each, and none is open yet."""
    bootstrap.ensure()
    name = f"small-{os.getpid()}"
    (host,) = hosts.start_all((HostSpec.from_dict(name, {"gpus": ["10de:2236"]}),), name)
    try:
        path = hosts.write_inventory([host], {}, tmp_path / "hosts.yml")
        data = yaml.safe_load(path.read_text())
        one = data["all"]["hosts"].pop(name)
        del data["all"]["children"]  # has the host by its own name, too
        data["all"]["hosts"] = {
            f"h{number:03}": {
                **one,
                "ansible_ssh_extra_args": f"-o ServerAliveInterval={number + 9}",
            }
            for number in range(HOSTS)
        }
        path.write_text(yaml.safe_dump(data))
        for attempt in range(TIMES):
            found = reached(path)
            codes = Counter(each["code"] for each in found["hosts"].values())
            # Known to be one machine, so each was reached and said who it is.
            others = [each["error"] for each in found["hosts"].values() if each["code"] != SAME]
            assert codes == {SAME: HOSTS}, (attempt, others)
            assert found["counts"]["observations"] >= HOSTS
    finally:
        hosts.stop_all([name])
