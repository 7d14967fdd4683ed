"""What has to be done on a host for its jobs, or why they are refused: pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpuprep import codes
from gpuprep.on_host.faceswap import steps
from gpuprep.workloads.faceswap import program
from gpuprep.workloads.faceswap.description import describe, inputs
from gpuprep.workloads.faceswap.problems import Problem, raise_for, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gpuprep.model import Message
    from gpuprep.workloads.faceswap.jobs import Job

# The smallest model takes 582 MB with its optimizer, as it is saved when training ends; it,
# Faceswap's backup, our copy and the one being made.
MODEL_MB: Final = 4 * 582
_MIB: Final = 1 << 20
_ACTIVE: Final = frozenset({"active", "activating", "reloading", "deactivating"})
_KEYS: Final = ("python", "source", "commit", "lock", "variant", "backend", "user", "root")
INSTALLED_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done on a host.

    Attributes:
        missing: digests of the inputs that are not there.
        files: content of each file that differs, by path.
        start: jobs to start.
        anew: those of them that run by an older description.
        stop: jobs to stop.
        done: jobs that have nothing left to do.
        warnings: what is told all the same.

    """

    missing: tuple[str, ...]
    files: Mapping[str, str]
    start: tuple[str, ...]
    anew: tuple[str, ...]
    stop: tuple[str, ...]
    done: tuple[str, ...]
    warnings: tuple[Message, ...]

    @property
    def anything(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.missing or self.files or self.start or self.stop)


def installed_on(seen: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record of Faceswap's installation on a host.

    Raises:
        JobsError: there is none that can be used.

    """
    record = seen.get("installed")
    if not isinstance(record, dict):
        raise_for([told("E_FS_INSTALL", why="there is no record of it")])
    elif record.get("schema") != INSTALLED_SCHEMA:
        why = f"its record has schema {record.get('schema')!r}, expected {INSTALLED_SCHEMA}"
        raise_for([told("E_FS_INSTALL", why=why)])
    elif not all(_plain(record.get(key)) for key in _KEYS):
        raise_for([told("E_FS_INSTALL", why="its record is not complete")])
    elif record.get("uid") is None:
        raise_for([told("E_FS_INSTALL", why=f"there is no user {record['user']}")])
    return dict(record or {})


def _plain(value: object) -> bool:
    """Return whether a value can stand in a unit's file: a text of one line without a mark."""
    return isinstance(value, str) and value.isprintable() and bool(value) and "%" not in value


def work(
    jobs: Sequence[Job], seen: Mapping[str, Any], interpreter: str, *, stop: bool = False
) -> Work:
    """Return what is to be done on a host.

    Args:
        jobs: those of the host.
        seen: what it answered when it was looked at.
        interpreter: its Python.
        stop: the jobs are to be stopped instead of carried out.

    Raises:
        JobsError: a job is refused.

    """
    installed = installed_on(seen)
    if stop:
        running = [job.name for job in jobs if _is_active(_of(seen, job))]
        return Work((), {}, (), (), tuple(running), (), ())
    files = inputs(jobs)
    present = set(seen.get("inputs") or ())
    missing = tuple(sorted(set(files) - present))
    raise_for(_problems(jobs, seen, installed, files, missing))
    wanted = program.runner_files(installed, interpreter)
    for job in jobs:
        text = json.dumps(describe(job), indent=1, sort_keys=True) + "\n"
        wanted[f"{program.BASE}/jobs/{job.name}/job.json"] = text
        if job.train.memory_gib:
            folder = program.UNIT_FILE.replace("@.", f"@{job.name}.")
            limit = f"[Service]\nMemoryMax={job.train.memory_gib}G\n"
            wanted[f"{folder}.d/memory.conf"] = limit
    placed = seen.get("placed") or {}
    differing = {path: text for path, text in wanted.items() if placed.get(path) != _sha(text)}
    start, anew, done, warnings = [], [], [], []
    for job in jobs:
        there = _of(seen, job)
        same = f"{program.BASE}/jobs/{job.name}/job.json" not in differing
        if same and is_done(there):
            done.append(job.name)
        elif not (same and _is_active(there)):
            start.append(job.name)
            if _is_active(there):
                anew.append(job.name)
        model = there.get("model")
        target = job.train.target_iterations
        if isinstance(model, dict) and int(model["iterations"]) > target:
            values = {"job": job.name, "done": model["iterations"], "target": target}
            warnings.append(codes.warning("W_FS_TARGET", **values))
    return Work(missing, differing, tuple(start), tuple(anew), (), tuple(done), tuple(warnings))


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def watched_files(jobs: Sequence[Job], installed: Mapping[str, Any] | None) -> list[str]:
    """Return the paths of all files that ``work`` may want, to be looked at."""
    record = installed or dict.fromkeys(_KEYS, "-")
    names = list(program.runner_files(record, "-"))
    for job in jobs:
        names.append(f"{program.BASE}/jobs/{job.name}/job.json")
        names.append(program.UNIT_FILE.replace("@.", f"@{job.name}.") + ".d/memory.conf")
    return names


def _of(seen: Mapping[str, Any], job: Job) -> Mapping[str, Any]:
    found = (seen.get("jobs") or {}).get(job.name)
    return found if isinstance(found, dict) else {}


def _is_active(there: Mapping[str, Any]) -> bool:
    return (there.get("unit") or {}).get("ActiveState") in _ACTIVE


def is_done(there: Mapping[str, Any]) -> bool:
    """Return whether a job on a host says that it is done, and its video is there."""
    status = there.get("status")
    done = isinstance(status, dict) and status.get("state") == "done"
    return done and bool(there.get("output"))


def _problems(
    jobs: Sequence[Job],
    seen: Mapping[str, Any],
    installed: Mapping[str, Any],
    files: Mapping[str, Path],
    missing: Sequence[str],
) -> Iterator[Problem]:
    free = seen["free_mb"]
    need = sum(files[sha].stat().st_size for sha in missing) // _MIB
    if free["base"] < need:
        yield told("E_FS_DISK", path=program.BASE, free=free["base"], need=need)
    new = [job for job in jobs if not _of(seen, job).get("model")]
    faces = sum(_faces_mb(job) for job in new)
    need = len(new) * MODEL_MB + faces
    if new and free["root"] < need:
        yield told("E_FS_DISK", path=installed["root"], free=free["root"], need=need)
    for job in jobs:
        there = _of(seen, job)
        wish = (job.train.memory_gib or 0) * 1024
        if wish > seen["memory_mb"]:
            problem = f"train: memory_gib: the host has {seen['memory_mb'] // 1024} GiB of memory"
            yield told("E_FS_JOB", job=job.name, problem=problem)
        yield from _of_model(job, there)
        if not _is_active(there) and installed["backend"] != "cpu":
            yield from _of_gpus(job, seen.get("gpu_processes") or ())


def _faces_mb(job: Job) -> int:
    """Return a guess at the space of a job's faces: pictures without much compression."""
    frames = sum(one.frames or 0 for side in (job.a, job.b) for one in side.sources)
    return 2 * frames * job.extract.size**2 // _MIB // job.extract.every_nth


def _of_model(job: Job, there: Mapping[str, Any]) -> Iterator[Problem]:
    model = there.get("model")
    if not isinstance(model, dict):
        return
    asked = f"{job.train.model}, batch size {job.train.batch}"
    trainer = str(model["trainer"]).replace("_", "-")
    batches = [batch for batch in model["batches"] if batch > 0]
    begun = there.get("begun")
    description = describe(job)
    if trainer != job.train.model or (batches and batches[-1] != job.train.batch):
        found = f"{trainer}, batch size {batches[-1] if batches else 'unknown'}"
        yield told("E_FS_MODEL", job=job.name, found=found, asked=asked)
    elif isinstance(begun, dict) and begun.get("faces") != trained_on(description):
        found, asked = "the faces of other sources or settings of extract", "these"
        yield told("E_FS_MODEL", job=job.name, found=found, asked=asked)


def trained_on(description: Mapping[str, Any]) -> str:
    """Return the digest of what a model's faces come from, as the runner notes it."""
    found: str = steps.trained_on(description)
    return found


def _of_gpus(job: Job, processes: Sequence[Sequence[Any]]) -> Iterator[Problem]:
    used = [row for row in processes if row[0] in job.train.gpus]
    if used:
        shown = ", ".join(f"{name} ({pid}) on GPU {gpu}" for gpu, pid, name in used[:8])
        gpus = ", ".join(map(str, job.train.gpus))
        yield told("E_FS_BUSY", job=job.name, gpus=gpus, processes=shown)


def output_problems(jobs: Sequence[Job]) -> Iterator[Problem]:
    """Yield outputs on the controller that are there and were not made by their job."""
    for job in jobs:
        sidecar = sidecar_of(job.output)
        if not job.output.exists() or _made_by(sidecar) == job.name:
            continue
        yield told("E_FS_OUTPUT", job=job.name, output=job.output)


def _made_by(sidecar: Path) -> str | None:
    try:
        data = json.loads(sidecar.read_text(encoding="utf-8"))
        name = data["job"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def sidecar_of(video: Path) -> Path:
    """Return the path of a video's sidecar."""
    return video.with_name(f"{video.stem}.provenance.json")
