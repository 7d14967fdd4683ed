"""Jobs of Faceswap on a host, under its systemd: run, stopped, killed, torn, repeated."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import c2pa_chain
import pytest
from faceswap_rig import FRAMES, material, one_job, write

import gpuprep
from gpuprep.report.terminal import render
from gpuprep.workloads.faceswap import signing
from sandbox import hosts
from sandbox.faceswap import checkout
from sandbox.fleet import HostSpec
from sandbox.podman import podman

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab import Lab

pytestmark = pytest.mark.sandbox
BASE = "/opt/gpuprep/faceswap"
ROOT = "/var/lib/gpuprep/faceswap"
UNIT = "gpuprep-faceswap@demo.service"
LONG = {"model": "lightweight", "batch": 2, "target_iterations": 4000, "save_every": 20}
SHORT = LONG | {"target_iterations": 60}


@pytest.fixture(scope="module")
def host(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a host with the stand-in for Faceswap, as its role would leave it."""
    name = "x-faceswap"
    lab.start(HostSpec.from_dict(name, {"image": "debian-12"}))
    folder = tmp_path_factory.mktemp("checkout")
    commit = checkout.make(folder / "source")
    packed = folder / "all.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(folder / "source", "opt/gpuprep/faceswap/source", filter=_of_root)
        for package in ("av", "av.libs", "PIL", "pillow.libs"):
            archive.add(_installed(package), f"opt/packages/{package}", filter=_of_root)
    unpack = ["exec", "--interactive", hosts.find(name).container, "tar", "-xC", "/", "-f", "-"]
    podman(*unpack, stdin=packed.read_bytes())
    record = {
        "schema": 1, "python": f"{BASE}/env/bin/python", "source": f"{BASE}/source",
        "commit": commit, "lock": "0" * 64, "variant": "cu130", "backend": "cpu",
        "user": "faceswap", "root": ROOT,
    }  # fmt: skip
    hosts.write_file(name, f"{BASE}/installed.json", json.dumps(record))
    lab.sh(
        name,
        f"""
        echo '# Of the environment; this host has no conda.' > /opt/packages/tkinter.py
        useradd --system --home-dir {ROOT} --create-home --shell /usr/sbin/nologin faceswap
        mkdir -p {BASE}/env/bin
        printf '#!/bin/sh\\nPYTHONPATH=/opt/packages exec /usr/bin/python3 "$@"\\n' \
            > {BASE}/env/bin/python
        chmod 755 {BASE}/env/bin/python
        """,
    )
    yield name
    hosts.stop(name)


def _installed(package: str) -> Path:
    """Return where a package of this Python is; ``NAME.libs`` lies beside NAME."""
    beside = importlib.util.find_spec("av")
    assert beside is not None
    assert beside.origin is not None
    return Path(beside.origin).parents[1] / package


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    return None if "__pycache__" in member.name else member


class Jobs:
    """A file of jobs for the host."""

    def __init__(self, lab: Lab, host: str, folder: Path) -> None:
        self.lab, self.host, self.folder = lab, host, folder
        self.output = folder / "out/demo.mp4"
        material(folder)

    def run(self, state: str = "done", **changes: Any) -> Any:
        more = changes.pop("more", {})
        path = write(self.folder, one_job(**changes), **more)
        return gpuprep.run_jobs(path, self.lab.inventory(self.host), state=state)

    def sh(self, script: str) -> str:
        return self.lab.sh(self.host, script)

    def seen(self) -> tuple[Any, int]:
        """What ``gpuprep status`` tells, and how often it asked the host, as the host counts."""
        before = self.lab.commands(self.host)
        told = gpuprep.status(self.lab.inventory(self.host))
        return told, self.lab.commands(self.host) - before

    def status(self) -> dict[str, Any]:
        said = self.sh(f"cat {ROOT}/jobs/demo/status.json 2> /dev/null || echo '{{}}'")
        found: dict[str, Any] = json.loads(said)
        return found

    def reached(self) -> int:
        return int(self.status().get("iteration") or 0)

    def saved(self, folder: str = "model") -> int:
        state = self.sh(f"cat {ROOT}/jobs/demo/{folder}/lightweight_state.json")
        return int(json.loads(state)["iterations"])

    def until(self, happened: Callable[[], object], patience: float = 300) -> None:
        end = time.monotonic() + patience
        while not happened():
            assert time.monotonic() < end, self.sh(f"journalctl -n 40 -u {UNIT}")
            time.sleep(0.3)


@pytest.fixture
def jobs(lab: Lab, host: str, tmp_path: Path) -> Iterator[Jobs]:
    yield Jobs(lab, host, tmp_path)
    lab.sh(
        host,
        f"systemctl disable -q --now {UNIT} || true; rm -rf {ROOT}/jobs {BASE}/jobs {BASE}/inputs",
    )


def test_a_job_is_stopped_resumed_converted_labelled_and_not_done_again(jobs: Jobs) -> None:
    more = {"faceswap_c2pa": {"certificate": "chain.pem", "key": "key.pem"}}
    c2pa_chain.make(jobs.folder)
    without, asked = jobs.seen()
    assert without.hosts[jobs.host].jobs == ()
    began = jobs.run("started", train=LONG)
    assert began.exit_code == 0, began.to_dict()
    jobs.until(lambda: jobs.reached() > 25)
    told, asked_with_jobs = jobs.seen()
    (job,) = told.hosts[jobs.host].jobs
    assert (job.name, job.state, job.step, job.target) == ("demo", "running", "train", 4000)
    assert job.iteration > 25
    assert job.rate > 0
    assert len(job.losses) == 2
    assert all(0 < loss < 1 for loss in job.losses)
    text = io.StringIO()
    render(told, None, text)
    assert f"job demo: running train, iteration {job.iteration} of 4000, " in text.getvalue()
    assert (asked, asked_with_jobs) == (1, 1)
    assert told.counts == without.counts
    reached = jobs.reached()
    stopped = jobs.run("stopped", train=LONG)
    assert stopped.exit_code == 0, stopped.to_dict()
    assert stopped.hosts[jobs.host].jobs["demo"]["state"] == "stopped"
    assert jobs.saved() >= reached
    target = SHORT | {"target_iterations": jobs.saved() + 20}
    done = jobs.run(train=target, more=more)
    assert done.exit_code == 0, done.to_dict()
    assert done.changed
    assert jobs.saved() == target["target_iterations"]
    log = jobs.sh(f"journalctl -o cat -u {UNIT}")
    assert "[Saved model]" in log
    assert "blob data" not in log
    with av.open(str(jobs.output)) as video:
        assert video.metadata["synthetic_media"] == "true"
        assert video.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in video.decode(video=0)) == FRAMES
    assert signing.verify(jobs.output) == "Valid"
    sidecar = json.loads(jobs.output.with_name("demo.provenance.json").read_text())
    assert sidecar["label"]["c2pa"] is True
    assert sidecar["iterations"] == target["target_iterations"]
    again = jobs.run(train=target, more=more)
    assert again.exit_code == 0, again.to_dict()
    assert not again.changed
    assert again.hosts[jobs.host].jobs["demo"]["state"] == "done"


def test_a_killed_job_starts_again_by_itself_and_a_torn_save_is_restored(jobs: Jobs) -> None:
    # With cgroups of version 1 a container's systemd may miss that the last process of a unit has
    # gone, and wait for as long as it may take.
    jobs.sh(
        "d=/etc/systemd/system/gpuprep-faceswap@.service.d; mkdir -p $d;"
        " printf '[Service]\\nRestartSec=1\\nTimeoutStopSec=5\\n' > $d/test.conf;"
        " systemctl daemon-reload"
    )
    assert jobs.run("started", train=LONG).exit_code == 0
    jobs.until(lambda: jobs.reached() > 45)
    # A save begins with the model and ends with the state: held in between, it is killed there.
    jobs.sh(
        f"""
        cd {ROOT}/jobs/demo/model
        for _ in $(seq 100); do
            before=$(stat -c %y.%s lightweight.keras)
            while [ "$(stat -c %y.%s lightweight.keras)" = "$before" ]; do sleep 0.02; done
            systemctl kill -s STOP {UNIT}
            if [ "$(find lightweight.keras -newer lightweight_state.json)" ]; then
                exec systemctl kill -s KILL {UNIT}
            fi
            systemctl kill -s CONT {UNIT}
        done
        exit 1
        """
    )
    jobs.until(lambda: "restored the one of iteration" in jobs.sh(f"journalctl -o cat -u {UNIT}"))
    jobs.until(lambda: jobs.reached() > 60)
    assert jobs.sh(f"systemctl show -p NRestarts --value {UNIT}").strip() == "1"
    stopped = jobs.run("stopped", train=LONG)
    assert stopped.exit_code == 0, stopped.to_dict()


def test_a_job_has_no_network_and_writes_to_its_own_folder_only(jobs: Jobs) -> None:
    jobs.sh(f"cp -a {BASE}/source/faceswap.py /tmp/kept.py")
    probe = (
        "import os, socket, sys\n"
        "for path in ('/etc/x', '/opt/x', '/opt/gpuprep/faceswap/source/x', '/root/x'):\n"
        "    try: open(path, 'w'); print('WROTE', path)\n"
        "    except OSError as e: print('kept from', path)\n"
        "open(os.path.join(os.path.dirname(__file__), 'config/x'), 'w'); print('own settings')\n"
        "print('uid', os.getuid())\n"
        "sys.exit(1)\n"
    )
    hosts.write_file(jobs.host, f"{BASE}/source/faceswap.py", probe)
    try:
        jobs.sh("systemctl daemon-reload")
        failed = jobs.run("started", train=SHORT)
        assert failed.exit_code == 0
        jobs.until(lambda: jobs.status().get("state") == "failed")
        log = jobs.sh(f"journalctl -o cat -n 50 -u {UNIT}")
        assert "WROTE" not in log
        assert log.count("kept from") >= 4
        assert "own settings" in log
        assert "uid 0" not in log
        shown = jobs.sh(f"systemctl show -p IPAddressDeny -p NoNewPrivileges {UNIT}")
        assert "NoNewPrivileges=yes" in shown
        assert "0.0.0.0/0" in shown
    finally:
        jobs.sh(f"mv /tmp/kept.py {BASE}/source/faceswap.py")


def test_what_cannot_be_done_is_refused_before_anything_is_copied(jobs: Jobs) -> None:
    jobs.output.parent.mkdir()
    jobs.output.write_bytes(b"somebody else's")
    with pytest.raises(gpuprep.JobsError) as refused:
        jobs.run()
    assert [one.code for one in refused.value.problems] == ["E_FS_OUTPUT"]
    jobs.output.unlink()
    jobs.sh(f"mv {BASE}/installed.json /tmp/installed.json")
    try:
        refusal = jobs.run()
        assert refusal.exit_code == 4
        assert refusal.hosts[jobs.host].code == "E_FS_INSTALL"
    finally:
        jobs.sh(f"mv /tmp/installed.json {BASE}/installed.json")
    assert jobs.sh(f"ls -d {BASE}/inputs {BASE}/jobs 2> /dev/null || true") == ""
