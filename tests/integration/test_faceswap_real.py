"""Faceswap itself, at the catalog's commit, with its packages as they are published.

It finds no face here: its detectors want weights that are downloaded. Drawn faces come with their
landmarks, which its plugin ``file`` reads.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import av
import pytest
from faceswap_rig import material, one_job, write

import gpuprep
from gpuprep.catalog import load
from gpuprep.model import HostStatus
from sandbox import hosts, python_index
from sandbox.faceswap import published
from sandbox.fleet import HostSpec
from sandbox.paths import STATE, SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from av import VideoFrame
    from lab import Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
RULES = load().faceswap
VARIANT = RULES.variants[0]  # what a host without a GPU gets
ENV = "/opt/conda/envs/faceswap"
SOURCE = "/opt/gpuprep/faceswap/source"
ROOT = "/var/lib/gpuprep/faceswap"
UNIT = "gpuprep-faceswap@demo.service"
FRAMES = 52  # of which every second one is trained on
TRAIN = {"model": "lightweight", "batch": 2, "save_every": 4}
PATIENCE = (
    1200  # seconds; an iteration takes 2 of one core, a start and a save minutes of a busy one
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What there is of Faceswap's source."""
    named = published.repository()
    if named is None:
        pytest.skip(
            f"NOT TESTED: Faceswap's source; set {published.VARIABLE} to a git repository that has"
            f" commit {RULES.commit}"
        )
    place = tmp_path_factory.mktemp("source") / "faceswap.git"
    published.copy(named, place)
    return place


@pytest.fixture(scope="module")
def wheels(source: Path) -> Path:
    """The locked files, fetched once, each held to its hash."""
    assert source.is_dir()
    try:
        return published.wheelhouse()
    except SandboxError as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="module")
def host(lab: Lab, source: Path) -> Iterator[str]:
    name = f"faceswap-real-{os.getpid()}"
    try:
        lab.start(HostSpec.from_dict(name, {"image": "debian-12"}))
        published.place_on(name, source)
        yield name
    finally:
        hosts.stop_all([name])


@pytest.fixture(scope="module")
def settings(lab: Lab, host: str, wheels: Path) -> dict[str, Any]:
    """The role's settings: nothing but where source and packages come from."""
    assert host
    index = python_index.publish(STATE / "www", wheels)
    return {
        "gpuprep_components": ["conda", "faceswap"],
        "faceswap_repository": f"file://{published.REPOSITORY}",
        "faceswap_index": f"{lab.mirror}/{index}",
    }


@pytest.fixture(scope="module")
def installed(lab: Lab, host: str, settings: dict[str, Any]) -> str:
    """Return the host with Faceswap on it."""
    first = lab.apply(host, **settings).hosts[host]
    assert first.state is HostStatus.PREPARED, (first.code, first.error)
    return host


def test_faceswap_is_installed_and_starts(
    lab: Lab, installed: str, settings: dict[str, Any]
) -> None:
    host = installed
    record = json.loads(lab.sh(host, "cat /opt/gpuprep/faceswap/installed.json"))
    assert (record["commit"], record["backend"]) == (RULES.commit, "cpu")
    variables = "FACESWAP_BACKEND=cpu KERAS_BACKEND=torch PYTHONDONTWRITEBYTECODE=1"
    program = (
        "import torch, keras; from lib.utils import get_backend;"
        "print(torch.__version__, keras.backend.backend(), get_backend())"
    )
    run = f"cd {SOURCE} && env {variables} {ENV}/bin/python -c '{program}' 2>/dev/null"
    told = lab.run(host, "su", "-s", "/bin/sh", "faceswap", "-c", run).splitlines()[-1]
    assert told.split() == [f"{VARIANT.torch.version}+{VARIANT.name}", "torch", "cpu"]
    again = lab.apply(host, **settings).hosts[host]
    assert (again.changed, again.steps) == (False, ())


class Job:
    """The job ``demo`` on a host."""

    def __init__(self, lab: Lab, host: str, folder: Path) -> None:
        self.lab, self.host, self.folder = lab, host, folder
        self.work = f"{ROOT}/jobs/demo"
        material(folder, FRAMES)

    def run(self, target: int, state: Any = "done") -> Any:
        """Run ``gpuprep jobs``; it must succeed."""
        job = one_job(
            train=TRAIN | {"target_iterations": target},
            extract={"detector": "file", "aligner": "file", "size": 128, "every_nth": 2},
        )
        path = write(self.folder, job)
        done = gpuprep.run_jobs(path, self.lab.inventory(self.host), state=state)
        assert done.exit_code == 0, done.to_dict()
        return done

    def reached(self) -> int:
        """Return how far it is, without the work of a whole ``gpuprep status``."""
        said = self.sh(f"cat {self.work}/status.json 2> /dev/null || echo '{{}}'")
        return int(json.loads(said).get("iteration") or 0)

    def seen(self) -> Any:
        """Return the job as ``gpuprep status`` tells it."""
        (job,) = gpuprep.status(self.lab.inventory(self.host)).hosts[self.host].jobs
        return job

    def saved(self, folder: str = "model") -> dict[str, Any]:
        """Return the state that Faceswap left beside the model."""
        path = f"{self.work}/{folder}/lightweight_state.json"
        state: dict[str, Any] = json.loads(self.sh(f"cat {path}"))
        return state

    def seconds(self, step: str) -> float:
        """Return how long a step took the last time."""
        marker: dict[str, Any] = json.loads(self.sh(f"cat {self.work}/{step}.done"))
        return float(marker["seconds"])

    def log(self) -> str:
        return self.sh(f"journalctl --no-pager -o cat -u {UNIT}")

    def sh(self, script: str) -> str:
        return self.lab.sh(self.host, script)

    def until(self, happened: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < end, self.log()[-3000:]
            time.sleep(5)


def changed(new: VideoFrame, old: VideoFrame) -> float:
    """Return the share of pixels that differ visibly, without the lower part with its caption."""
    box = (0, 0, old.width, old.height * 9 // 10)
    pairs = zip(
        *(one.to_image().convert("L").crop(box).tobytes() for one in (new, old)), strict=True
    )
    count: int = sum(abs(x - y) > 12 for x, y in pairs)
    return count / (old.width * (old.height * 9 // 10))


def test_drawn_faces_are_extracted_trained_on_stopped_resumed_and_converted(
    lab: Lab, installed: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    job = Job(lab, installed, tmp_path)
    job.run(100_000, "started")
    job.until(lambda: job.reached() >= 2)
    seen = job.seen()
    assert (seen.step, seen.target) == ("train", 100_000)
    assert all(0 < loss < 2 for loss in seen.losses)
    for side in ("a", "b"):
        assert job.sh(f"ls {job.work}/faces-{side} | wc -l").strip() == str(FRAMES // 2)
    (stopped,) = job.run(100_000, "stopped").hosts[installed].jobs.values()
    assert stopped["state"] == "stopped"
    reached = job.saved()["iterations"]
    assert reached >= seen.iteration
    assert job.saved("saves/safe")["iterations"] == reached
    done = job.run(reached + 2)
    assert done.changed
    state = job.saved()
    assert state["iterations"] == reached + 2
    assert [one["iterations"] for one in state["sessions"].values()] == [reached, 2]
    log = job.log()
    assert f"[#{reached + 1:05d}]" in log
    assert "blob data" not in log
    assert "Traceback" not in log
    assert job.sh(f"ls -d {job.work}/model_snapshot_* 2> /dev/null || true") == ""
    with av.open(str(tmp_path / "out/demo.mp4")) as new, av.open(str(tmp_path / "a.mp4")) as old:
        stream = new.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (320, 320)
        assert stream.average_rate == 25
        assert new.metadata["synthetic_media"] == "true"
        shares = [
            changed(*pair) for pair in zip(new.decode(video=0), old.decode(video=0), strict=True)
        ]
    # Every frame, also those that were not trained on; the background stays as it was.
    assert len(shares) == FRAMES
    assert all(0.02 < share < 0.5 for share in shares), shares
    sidecar = json.loads((tmp_path / "out/demo.provenance.json").read_text())
    assert (sidecar["iterations"], sidecar["video"]["frames"]) == (reached + 2, FRAMES)
    assert sidecar["faceswap"]["commit"] == RULES.commit
    again = job.run(reached + 2)
    assert not again.changed
    for step in ("extract-a-1", "extract-b-1", "train", "convert"):
        record_property(step, job.seconds(step))
