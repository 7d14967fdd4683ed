"""Action behind the module documentation of gpuprep.core.faceswap_jobs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _carry, _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.errors import ConfigError
from gpuprep.model.jobs import in_words, progress_of
from gpuprep.model.text import clean_line
from gpuprep.workloads.faceswap import decide, deliver, program
from gpuprep.workloads.faceswap.description import bundle, inputs
from gpuprep.workloads.faceswap.jobs import load
from gpuprep.workloads.faceswap.problems import JobsError, raise_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuprep.model.jobs import JobProgress
    from gpuprep.workloads.faceswap.jobs import Job, Jobs

SECONDS = 1800  # for one program on the host
OWN_CODES = ("E_FS_LABEL", "E_FS_FACES")  # that the runner names in its message
POLL = (1.0, 10.0)  # seconds between two looks: at first, and later
STATES = ("done", "started", "stopped")


class ActionModule(ActionBase):
    """Bring the jobs of a host to it, start or stop them, and bring their videos back."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("file", "state", "minutes"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was done, and where each job is."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        given = self._task.args
        state = given.get("state", STATES[0])
        if not given.get("file") or state not in STATES:
            raise AnsibleActionFail(f"give file, and a state of {', '.join(STATES)}")
        self._target = _hosts.own_target(self, variables)
        try:
            all_jobs = load(self._loader.path_dwim(str(given["file"])))
            own = all_jobs.on(self._target.name, list(variables["ansible_play_hosts_all"]))
            if not own:
                return {**result, "changed": False, "skipped": True, "jobs": {}}
            if state != "stopped":
                raise_for(decide.output_problems(own))
            done = self._carry_out(own, all_jobs, state, float(given.get("minutes") or 0))
        except _hosts.HostUnreachableError as error:
            return {**result, "unreachable": True, "msg": str(error)}
        except JobsError as error:
            code = error.problems[0].code
            return {**result, "failed": True, "code": code, "msg": str(error)}
        except ConfigError as error:
            return {**result, "failed": True, "code": "E_CONFIG", "msg": str(error)}
        except (_hosts.HostUnusableError, program.AnswerError, deliver.DeliveryError) as error:
            return {**result, "failed": True, "code": error.code, "msg": f"[{error.code}] {error}"}
        self._keep(variables, done)
        return {**result, **done}

    def _keep(self, variables: dict[str, Any], done: dict[str, Any]) -> None:
        """Leave the result where the run's caller reads it."""
        run_dir = variables.get("gpuprep_run_dir")
        if run_dir:
            host = self._target.name
            name = f"jobs-{_state.digest_of(host)}"
            _state.write_report(str(run_dir), name, {"host": host, **done})

    # --- the host --------------------------------------------------------------------------

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        text, marker = program.script(request)
        said = _hosts.twice(
            self._target, lambda: _hosts.run_script(self._target, text, SECONDS, "jobs")
        )
        return program.read(said, marker)

    def _look(self, jobs: Sequence[Job]) -> dict[str, Any]:
        return self._ask(
            {
                "verb": "look",
                "jobs": [job.name for job in jobs],
                "inputs": sorted(inputs(jobs)),
                "files": decide.watched_files(jobs, None),
            }
        )

    # --- the work --------------------------------------------------------------------------

    def _carry_out(
        self, jobs: Sequence[Job], all_jobs: Jobs, state: str, minutes: float
    ) -> dict[str, Any]:
        seen = self._look(jobs)
        todo = decide.work(jobs, seen, self._target.interpreter, stop=state == "stopped")
        for warning in todo.warnings:
            self._display.warning(f"{self._target.name}: {warning.message} [{warning.code}]")
        changes: list[str] = []
        if self._play_context.check_mode:
            changes += [f"would bring {len(todo.missing)} files"] if todo.missing else []
            changes += [f"would write {path}" for path in sorted(todo.files)]
            changes += [f"would start job {name}" for name in todo.start]
            changes += [f"would stop job {name}" for name in todo.stop]
            return _told(changes, _all(jobs, seen))
        if todo.anything:
            changes += self._place(jobs, todo)
        if state != STATES[0]:
            return _told(changes, _all(jobs, self._look(jobs) if changes else seen))
        seen = self._wait(jobs, seen, minutes, started=bool(todo.start))
        found = _all(jobs, seen)
        wrong = [f"job {name}: {in_words(one)}" for name, one in found.items() if not one.done]
        for job in jobs:
            if found[job.name].done and self._bring(job, seen, all_jobs):
                changes.append(f"brought {job.output}")
        told = _told(changes, found)
        if wrong:
            named = (code for code in OWN_CODES if any(f"[{code}]" in line for line in wrong))
            code = next(named, "E_FS_RUN")
            told |= {"failed": True, "code": code, "msg": f"[{code}] {'; '.join(wrong)}"}
        return told

    def _place(self, jobs: Sequence[Job], todo: decide.Work) -> list[str]:
        request = {
            "verb": "place",
            "inputs": list(todo.missing),
            "files": dict(todo.files),
            "start": list(todo.start),
            "anew": list(todo.anew),
            "stop": list(todo.stop),
            "folder": None,
        }
        if not todo.missing:
            return [str(one) for one in self._ask(request)["changed"]]
        with _carry.folder_on(self._target) as folder, tempfile.TemporaryDirectory() as own:
            packed = Path(own) / "bundle.tar"
            bundle(inputs(jobs), todo.missing, packed)
            _carry.send(self._target, packed, f"{folder}/bundle.tar")
            answer = self._ask({**request, "folder": folder})
        return [str(one) for one in answer["changed"]]

    def _wait(
        self, jobs: Sequence[Job], seen: dict[str, Any], minutes: float, *, started: bool
    ) -> dict[str, Any]:
        """Return how the host is when none of the jobs is at work any more."""
        if not started and not any(one.active for one in _all(jobs, seen).values()):
            return seen
        until = time.monotonic() + minutes * 60 if minutes else None
        pause = POLL[0]
        shown: dict[str, str] = {}
        while True:
            time.sleep(pause)
            pause = min(pause * 1.5, POLL[1])
            seen = self._look(jobs)
            found = _all(jobs, seen)
            for name, one in found.items():
                words = in_words(one)
                if shown.get(name) != words:
                    self._display.display(f"{self._target.name}: job {name}: {words}")
                shown[name] = words
            if not any(one.active for one in found.values()):
                return seen
            if until is not None and time.monotonic() > until:
                return seen

    def _bring(self, job: Job, seen: dict[str, Any], all_jobs: Jobs) -> bool:
        """Bring a job's video, unless it is here; return whether it was brought."""
        sidecar = seen["jobs"][job.name].get("sidecar")
        if deliver.is_delivered(job, sidecar, all_jobs.c2pa):
            return False
        with _carry.folder_on(self._target) as folder, tempfile.TemporaryDirectory() as own:
            digests = self._ask({"verb": "hand_out", "job": job.name, "folder": folder})
            video, beside = Path(own) / "video", Path(own) / "sidecar"
            _carry.bring(self._target, f"{folder}/video", video)
            _carry.bring(self._target, f"{folder}/sidecar", beside)
            deliver.deliver(job, video, beside, digests, all_jobs.c2pa)
        return True


def _all(jobs: Sequence[Job], seen: dict[str, Any]) -> dict[str, JobProgress]:
    return {job.name: progress_of(job.name, seen["jobs"].get(job.name)) for job in jobs}


def _told(changes: list[str], found: dict[str, JobProgress]) -> dict[str, Any]:
    words = {name: in_words(one) for name, one in found.items()}
    return {
        "changed": bool(changes),
        "changes": [clean_line(one) for one in changes],
        "jobs": {name: one.to_dict() for name, one in found.items()},
        "msg": "; ".join(f"job {name}: {said}" for name, said in words.items()),
    }
