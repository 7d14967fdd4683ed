"""Runs a job's steps, one after the other; what is done already is not done again.

Started by the unit gpuprep-faceswap@JOB. A stop lets Faceswap finish its iteration and save; a step
that fails ends the run, and the unit's own rules decide about another try.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from . import saves
from .files import digest_of, read_json, sha256, write_json
from .locks import Locks, StoppedError
from .progress import SAVED, Lines, Progress, reason
from .steps import (
    FEWEST_FACES,
    Place,
    arguments,
    environment,
    faces_of,
    is_done,
    left,
    source_of,
    steps,
    uses_gpu,
)

SCHEMA = 1
BASE = "/opt/gpuprep/faceswap"
LINE_SECONDS = 10  # between lines of progress in the journal, and looks at the GPU
STATUS_SECONDS = 1
BAD_JOB = 78  # the unit does not try again: nothing would change
FAILED = 1


class StepError(Exception):
    """A step that failed.

    Attributes:
        code: of the runner's exit.

    """

    def __init__(self, message, code=FAILED):
        super().__init__(message)
        self.code = code


def say(text):
    """Write a line to the journal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Runner:
    """Runs one job.

    Attributes:
        place: where everything of the job is.

    """

    def __init__(self, place):
        self.place = place
        self._stop = False
        self._child = None
        self._progress = None
        self._training = False
        self._saving = False
        self._gpu = None
        self._written = 0.0
        self._status = {
            "schema": SCHEMA,
            "job": place.job["name"],
            "steps": {},
            "started": int(time.time()),
            "target": place.job["train"]["target_iterations"],
        }

    # --- signals and status ----------------------------------------------------------------

    def stop(self, _signum=None, _frame=None):
        """End the step: training after its iteration and save, everything else at once."""
        self._stop = True
        child = self._child
        if child is None or child.poll() is not None:
            return
        if self._saving:  # a second interrupt would end Faceswap in the middle of its save
            return
        # Before the first iteration there is nothing to save, yet Faceswap would go through one and
        # write everything, for minutes; what other steps made so far is made anew anyway.
        self._saving = self._training and self._progress.iteration is not None
        os.kill(child.pid, signal.SIGINT) if self._saving else os.killpg(child.pid, signal.SIGKILL)

    def tell(self, state, step=None, message="", *, force=True):
        """Write the status file."""
        now = time.monotonic()
        if not force and now - self._written < STATUS_SECONDS:
            return
        self._written = now
        seen = self._progress
        self._status.update(
            state=state,
            step=step,
            message=message,
            updated=int(time.time()),
            iteration=seen.iteration if seen else None,
            rate=seen.rate if seen else None,
            losses=seen.losses if seen else None,
            frames=seen.frames if seen else None,
            gpu=self._gpu,
        )
        write_json(self.place.path("status.json"), self._status)

    # --- the whole job ---------------------------------------------------------------------

    def run(self):
        """Run all steps that are not done; return the exit code."""
        todo = steps(self.place)
        self._status["steps"] = {
            step.name: "done" if is_done(self.place, step) else "pending" for step in todo
        }
        step, worked = None, False
        try:
            for step in todo:
                if is_done(self.place, step):
                    continue
                worked = True
                with Locks(self, step):
                    self._step(step)
                self._status["steps"][step.name] = "done"
        except StoppedError:
            self._status["steps"][step.name] = "stopped"
            self.tell("stopped", step.name)
            say("stopped in step %s; starting again goes on from here" % step.name)
            return 0
        except StepError as error:
            self._status["steps"][step.name] = "failed"
            self.tell("failed", step.name, str(error))
            say("step %s failed: %s" % (step.name, error))
            return error.code
        self._progress = None
        self._status["iteration_reached"] = saves.iterations(
            self.place.path("model"), self.place.model
        )
        self.tell("done", todo[-1].name)
        say("job %s is done" % self.place.job["name"] if worked else "nothing to do")
        return 0

    def _step(self, step):
        """Carry out one step and leave its marker."""
        self._progress = Progress()
        self._training = step.kind == "train"
        self._status["steps"][step.name] = "running"
        self.tell("running", step.name)
        began = time.time()
        result = {"extract": self._extract, "train": self._train, "convert": self._convert}[
            step.kind
        ](step)
        if self._stop:
            raise StoppedError
        marker = {
            "schema": SCHEMA,
            "depends": digest_of(step.depends),
            "inputs": step.depends,
            "commit": self.place.installed["commit"],
            "lock": self.place.installed["lock"],
            "result": result,
            "began": int(began),
            "seconds": round(time.time() - began, 1),
        }
        write_json(self.place.marker(step.name), marker)
        say("step %s is done: %s" % (step.name, ", ".join(_in_words(result))))

    # --- the steps -------------------------------------------------------------------------

    def _extract(self, step):
        number = int(step.name.rsplit("-", 1)[1])
        self._lay_out(step.side, number, step.source)
        final = self.place.path(faces_of(step))
        fresh = final + ".new"
        _remove(fresh)
        _remove(final)
        self._faceswap(step, arguments(self.place, step, fresh))
        faces = [name for name in _names(fresh) if name.lower().endswith(".png")]
        if not faces:
            raise StepError("no face was found in %s" % step.source["name"])
        os.rename(fresh, final)
        return {"faces": len(faces)}

    def _lay_out(self, side, number, source):
        """Give a source its own name, with its landmarks beside it; files are only linked to."""
        target = source_of(self.place, side, number, source)
        folder = target if source["files"] else os.path.dirname(target)
        _remove(folder)
        os.makedirs(folder)
        pairs = [(name, sha) for name, sha in source["files"]]
        if not pairs:
            pairs = [(source["name"], source["sha256"])]
        if source["alignments"]:
            pairs.append((source["alignments"]["name"], source["alignments"]["sha256"]))
        for name, sha in pairs:
            self._link(os.path.join(folder, os.path.basename(name)), sha)

    def _link(self, path, sha):
        original = self.place.input(sha)
        try:
            found = sha256(original)
        except OSError as error:
            raise StepError("input %s: %s" % (original, error.strerror), BAD_JOB) from None
        if found != sha:
            raise StepError(
                "input %s has the digest %s: it was altered" % (original, found), BAD_JOB
            )
        os.symlink(original, path)

    def _train(self, step):
        store = self.place.path("saves")
        model = self.place.path("model")
        self._begun_with(step, model, store)
        healed = saves.settle(model, self.place.model, store)
        if healed:
            say(healed)
            self._status["healed"] = healed
        if left(self.place) > 0:
            self._gather_faces()
            self._faceswap(step, arguments(self.place, step, None))
            saves.keep(model, self.place.model, store)
            if left(self.place) > 0:
                # It ended well before its time: somebody else stopped it.
                self._stop = True
        return {"iterations": saves.iterations(model, self.place.model)}

    def _begun_with(self, step, model, store):
        """Refuse a model that was begun with other faces, or by another trainer."""
        noted = self.place.path("model.json")
        begun = read_json(noted)
        if begun is None or not saves.any_state(model, store):
            write_json(noted, step.depends)
        elif begun != step.depends:
            raise StepError(
                "the model was begun with other faces, another trainer or another batch size",
                BAD_JOB,
            )

    def _gather_faces(self):
        """Put the faces of all sources of a side into one folder, as Faceswap wants them.

        Raises:
            StepError: there are fewer than Faceswap trains with.

        """
        for side in ("a", "b"):
            folder = self.place.path("faces-" + side)
            _remove(folder)
            os.makedirs(folder)
            for number in range(1, len(self.place.job[side]["sources"]) + 1):
                faces = self.place.path("faces-%s-%d" % (side, number))
                for name in _names(faces):
                    # Two folders of pictures may have the same names.
                    link = "%d-%s" % (number, name)
                    os.link(os.path.join(faces, name), os.path.join(folder, link))
            found = len(_names(folder))
            if found < FEWEST_FACES:
                raise StepError(
                    "[E_FS_FACES] side %s has %d faces, Faceswap trains with %d or more"
                    % (side, found, FEWEST_FACES),
                    BAD_JOB,
                )

    def _convert(self, step):
        fresh = self.place.path("convert.new")
        labelled = self.place.path("out.new")
        for folder in (fresh, labelled):
            _remove(folder)
            os.makedirs(folder)
        self._faceswap(step, arguments(self.place, step, fresh))
        made = [name for name in _names(fresh) if name.lower().endswith(".mp4")]
        if len(made) != 1:
            raise StepError("expected one video, Faceswap made %d" % len(made))
        video = os.path.join(labelled, self.place.job["output"])
        result = self._label(os.path.join(fresh, made[0]), video)
        if self._stop:
            raise StoppedError
        write_json(os.path.join(labelled, _sidecar(video)), self._provenance(video, result))
        final = self.place.path("out")
        _remove(final)
        os.rename(labelled, final)
        _remove(fresh)
        return {"frames": result["frames"], "caption": result["caption"]}

    def _label(self, source, target):
        """Label a video as synthetic, by the environment that has what reads and writes videos."""
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "label.py")
        convert = self.place.job["convert"]
        asked = {
            "source": source,
            "target": target,
            "caption": "synthetic" if convert["caption"] else "",
            "metadata": self.place.job["label"],
        }
        request, answer = self.place.path("label.json"), self.place.path("labelled.json")
        _remove(answer)
        write_json(request, asked)
        code, said = self._child_of([self.place.installed["python"], program, request, answer])
        if self._stop:
            raise StoppedError
        result = read_json(answer)
        if code != 0 or result is None:
            raise StepError(
                "[E_FS_LABEL] the video could not be labelled: %s" % " ".join(said[-3:])
            )
        return result

    def _provenance(self, video, result):
        """Return the sidecar of a video."""
        job = self.place.job
        return {
            "schema": SCHEMA,
            "synthetic_media": True,
            "video": {"name": job["output"], "sha256": sha256(video), "frames": result["frames"]},
            "label": {
                "metadata": job["label"],
                "visible_caption": bool(result["caption"]),
                "c2pa": False,
            },
            "job": {
                key: job[key]
                for key in ("name", "purpose", "a", "b", "extract", "train", "convert")
            },
            "consent": job["consent"],
            "iterations": saves.iterations(self.place.path("model"), self.place.model),
            "faceswap": {key: self.place.installed[key] for key in ("commit", "lock", "variant")},
            "tool": job["tool"],
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    # --- Faceswap itself -------------------------------------------------------------------

    def _faceswap(self, step, argv):
        """Run Faceswap.

        Raises:
            StoppedError: it was asked to end.
            StepError: it failed.

        """
        program = os.path.join(self._own_source(), "faceswap.py")
        code, said = self._child_of([self.place.installed["python"], program, *argv], step)
        if self._stop and self._training and code == 0:
            return  # it saved; how far it came, the caller sees
        if self._stop:
            raise StoppedError
        if code != 0:
            told = " ".join(reason(said))
            ended = "was killed by signal %d" % -code if code < 0 else "ended with %d" % code
            raise StepError("Faceswap %s: %s" % (ended, told))

    def _own_source(self):
        """Return a fresh copy of Faceswap's source, with weights where it looks before a download.

        It writes settings, and reports of crashes, into its source, which is root's.
        """
        own = self.place.path("source")
        _remove(own)
        shutil.copytree(
            self.place.installed["source"],
            own,
            ignore=shutil.ignore_patterns(".git", "__pycache__"),
        )
        os.makedirs(os.path.join(own, ".fs_cache"), exist_ok=True)
        for one in self.place.job["weights"]:
            path = os.path.join(own, ".fs_cache", os.path.basename(one["name"]))
            self._link(path, one["sha256"])
        return own

    def _child_of(self, argv, step=None):
        """Run a program to its end; return its exit code and its last lines."""
        if self._stop:
            raise StoppedError
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.place.work,
            env=environment(self.place),
            start_new_session=True,
        )
        self._child, self._saving = child, False
        if self._stop:  # between the look above and now
            self.stop()
        watching = threading.Event()
        watcher = threading.Thread(target=self._watch_gpu, args=(watching,), daemon=True)
        watcher.start()
        said, lines, last = [], Lines(), 0.0
        try:
            while True:
                data = os.read(child.stdout.fileno(), 1 << 16)
                for line in lines.feed(data) if data else lines.rest():
                    only_progress = self._progress.read(line)
                    if step is not None and SAVED in line and self._training:
                        saves.keep(
                            self.place.path("model"), self.place.model, self.place.path("saves")
                        )
                    now = time.monotonic()
                    if not only_progress or now - last >= LINE_SECONDS:
                        last = now if only_progress else last
                        say(line)
                    if not only_progress:
                        said = (said + [line])[-20:]
                    self.tell("running", step and step.name, force=False)
                if not data:
                    break
            return child.wait(), said
        finally:
            watching.set()
            self._child = None
            child.stdout.close()

    def _watch_gpu(self, ended):
        """Look at the GPUs now and then, where there are any."""
        program = shutil.which("nvidia-smi")
        if not uses_gpu(self.place) or program is None:
            return
        asked = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        chosen = ",".join(map(str, self.place.job["train"]["gpus"]))
        while not ended.is_set():
            try:
                told = subprocess.check_output(
                    [program, "-i", chosen, *asked], stderr=subprocess.DEVNULL, timeout=30
                )
                rows = [row.split(",") for row in told.decode("ascii", "replace").splitlines()]
                self._gpu = {
                    "utilization": [int(row[0]) for row in rows],
                    "memory_mb": [int(row[1]) for row in rows],
                }
            except (OSError, subprocess.SubprocessError, ValueError, IndexError):
                self._gpu = None
            ended.wait(LINE_SECONDS)

    @staticmethod
    def say(text):
        """Write a line to the journal."""
        say(text)

    @property
    def stopping(self):
        """Whether somebody asked for a stop."""
        return self._stop


def _in_words(result):
    return ["%s %s" % (value, key) for key, value in sorted(result.items())]


def _sidecar(video):
    return os.path.splitext(os.path.basename(video))[0] + ".provenance.json"


def _names(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def main(arguments_given, base=BASE):
    """Run the job of that name; return the exit code."""
    (name,) = arguments_given
    job = read_json(os.path.join(base, "jobs", name, "job.json"))
    installed = read_json(os.path.join(base, "installed.json"))
    if not isinstance(job, dict) or job.get("schema") != SCHEMA:
        say("there is no job %s: gpuprep writes them" % name)
        return BAD_JOB
    if not isinstance(installed, dict) or installed.get("schema") != SCHEMA:
        say("Faceswap is not installed here: there is no installed.json that can be read")
        return BAD_JOB
    os.umask(0o022)
    place = Place(job, installed, os.path.join(base, "inputs"))
    os.makedirs(place.work, exist_ok=True)
    runner = Runner(place)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, runner.stop)
    return runner.run()
