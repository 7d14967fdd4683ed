"""Drawn material, a file of jobs, and the runner with the stand-in for Faceswap, without a host."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gpuprep.workloads.faceswap import description, program
from gpuprep.workloads.faceswap.jobs import Job, load
from sandbox.faceswap import checkout, drawn

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = 26  # one more than Faceswap needs to train
PAUSE = 0.02
PATIENCE = 60


def material(folder: Path, frames: int = FRAMES) -> None:
    """Draw two videos of faces that are nobody's."""
    for name, look in (("a", drawn.A), ("b", drawn.B)):
        drawn.draw(folder / f"{name}.mp4", look, frames)


def one_job(**changes: Any) -> dict[str, Any]:
    """Return a job that is right, with changes: None takes a key away."""
    job: dict[str, Any] = {
        "name": "demo",
        "consent": {"synthetic": True},
        "a": {"subject": "drawn-a", "sources": ["a.mp4"]},
        "b": {"subject": "drawn-b", "sources": ["b.mp4"]},
        "extract": {"detector": "file", "aligner": "file", "size": 128},
        "train": {"model": "lightweight", "batch": 2, "target_iterations": 30, "save_every": 10},
        "convert": {"source": "a.mp4"},
        "output": "out/demo.mp4",
    }
    return {key: value for key, value in (job | changes).items() if value is not None}


def write(folder: Path, *jobs: dict[str, Any], **more: Any) -> Path:
    """Write a file of jobs."""
    path = folder / "faceswap.yml"
    path.write_text(yaml.safe_dump({"faceswap_jobs": list(jobs), **more}), encoding="utf-8")
    return path


@dataclass
class Rig:
    """Everything of a host that the runner needs, in a folder.

    Attributes:
        base: what is ``/opt/gpuprep/faceswap`` on a host.
        job: the job.

    """

    base: Path
    job: Job

    @classmethod
    def make(cls, folder: Path, **changes: Any) -> Rig:
        """Make it, with the stand-in for Faceswap and drawn material."""
        material(folder)
        rig = cls(folder / "opt", load(write(folder, one_job(**changes))).jobs[0])
        commit = checkout.make(rig.base / "source")
        if importlib.util.find_spec("tkinter") is None:  # Debian keeps it apart; conda's has it
            (rig.base / "source/tkinter.py").touch()
        (rig.base / "root").mkdir()
        record = {
            "schema": 1, "python": sys.executable, "source": str(rig.base / "source"),
            "commit": commit, "lock": "0" * 64, "variant": "cu130", "backend": "cpu",
            "user": "root", "root": str(rig.base / "root"),
        }  # fmt: skip
        (rig.base / "installed.json").write_text(json.dumps(record))
        files = program.runner_files(record, sys.executable)
        for path, text in files.items():
            if path.startswith(program.BASE):
                target = rig.base / Path(path).relative_to(program.BASE)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text.replace(program.BASE, str(rig.base)))
        rig.place(rig.job)
        return rig

    def place(self, job: Job) -> None:
        """Place a job as it is on a host."""
        self.job = job
        path = self.base / "jobs" / job.name / "job.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(description.describe(job)))
        inputs = self.base / "inputs"
        inputs.mkdir(exist_ok=True)
        for sha256, source in description.inputs([job]).items():
            shutil.copy(source, inputs / sha256)

    @property
    def work(self) -> Path:
        return self.base / "root" / "jobs" / self.job.name

    def start(self) -> subprocess.Popen[str]:
        """Start the runner as its unit does."""
        return subprocess.Popen(
            [sys.executable, "-E", "-s", str(self.base / "runner"), self.job.name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self) -> tuple[int, str]:
        """Run to the end; give exit code and output."""
        runner = self.start()
        said, _ = runner.communicate(timeout=PATIENCE)
        return runner.returncode, said

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.work / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def model(self, name: str) -> Path:
        return self.work / "model" / f"lightweight{name}"

    def iterations(self) -> int:
        return int(json.loads(self.model("_state.json").read_text())["iterations"])

    def child(self) -> int:
        """Give the process of the stand-in; 0 without one."""
        wanted = str(self.work / "source/faceswap.py").encode()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
        return 0


def until(happened: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something to happen."""
    end = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(PAUSE)


def end(pid: int) -> None:
    """End a process at once, and wait until it has gone."""
    os.kill(pid, 9)
