"""Runs a request so that it outlives the connection, and finds one that still runs.

One request at a time works on a host: the worker holds a lock for as long as it lives. Where
systemd runs the worker is a unit of its own, else a process in a session of its own.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

from .. import labels, loader
from . import files, folders, operations
from .base import Later, OperationError, command

ahead = Later("ahead")
services = Later("services")

JOB = "job"  # directory of the request at work
ANSWERS = "answers"  # of requests that are done; who waits for one reads it when it can
KEPT_SECONDS = 86400  # an answer that nobody came for
LOCK = "job.lock"
UNIT = "gpuprep-%s.service"
POLL_SECONDS = 0.1
SLOWEST_POLL = 1.0  # seconds; who has waited long can wait a little more
PATIENCE = 50  # times shorter than what has been waited for is the pause
LOOK_SECONDS = 2  # how often the worker itself is looked at
KEPT_OUTPUT = 2000  # bytes
UNCONFINED = "targeted"  # the policy under which a service without a domain may do everything
CONTEXT = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+(?::[\w.,:-]+)?")
WORKER = "from %s.converge import job; job.work(%%r)" % loader.ROOT


def _path(*names):
    return os.path.join(folders.RUN, JOB, *names)


def _write(name, document):
    data = json.dumps(document).encode("utf-8")
    files.write(_path(name), data, 0o600, (os.geteuid(), os.getegid()))


def _read(name):
    """Return a document of the job that is there, None when it is absent or cut off."""
    return _document(_path(name))


def _document(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def digest_of(request):
    """Return what tells one request from another."""
    parts = {key: request.get(key) for key in ("role", "stage", "family")}
    # What is done beside a request is no part of it; nor is the number that it has for that.
    parts["operations"] = [
        {key: value for key, value in operation.items() if key != "number"}
        for operation in request["operations"]
        if operation.get("op") != "ahead"
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()


def _lives(state):
    """Return whether the unit of a job is at work, which may not have its lock yet."""
    if not state or not state.get("unit"):
        return False
    out = command(["systemctl", "show", "--property=ActiveState", "--", state["unit"]]).out
    return out.strip() in ("ActiveState=active", "ActiveState=activating")


def _try_lock(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_locked():
    """Return whether somebody is at work, which costs less than to ask systemd."""
    handle = os.open(os.path.join(folders.RUN, LOCK), os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


class Turn:
    """The right to work on this host, waited for; a context.

    Attributes:
        earlier: the request that had to be waited for, with its answer; None without one.
        handle: the lock.

    """

    def __init__(self, seconds):
        self._seconds = seconds
        self.earlier = None
        self.handle = None

    def __enter__(self):
        path = os.path.join(folders.run_directory(), LOCK)
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        started = time.monotonic()
        waited = False
        while True:
            if _try_lock(self.handle):
                state = _read("state.json")
                if not _lives(state):
                    break
                fcntl.flock(self.handle, fcntl.LOCK_UN)
            state = _read("state.json") or {}
            if time.monotonic() - started > self._seconds:
                os.close(self.handle)
                raise OperationError(
                    "E_LOCKED",
                    "a step of an earlier run is still at work after %d s (%s of %s%s); wait for"
                    " it, or raise gpuprep_lock_timeout"
                    % (
                        self._seconds,
                        state.get("stage", "an unknown stage"),
                        state.get("role", "an unknown role"),
                        ", unit " + state["unit"] if state.get("unit") else "",
                    ),
                )
            waited = True
            time.sleep(POLL_SECONDS)
        if waited and state:
            seconds = round(time.monotonic() - started, 1)
            self.earlier = dict(state, answer=_answer(state["id"]), seconds=seconds)
        shutil.rmtree(_path(), ignore_errors=True)  # what a lost or killed run left
        return self

    def __exit__(self, *_error):
        self.release()

    def release(self):
        """Give the turn away."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


def adopted(earlier, request):
    """Return the answer of an earlier run's step when it is what is asked for now, else None."""
    if not earlier or earlier["digest"] != digest_of(request):
        return None
    answer = earlier["answer"]
    return answer if answer and not answer["failed"] else None


def _prepare(request, texts, identity, unit):
    os.mkdir(_path(), 0o700)
    program = loader.program(texts, WORKER % identity)
    files.write(_path("program.py"), program.encode("utf-8"), 0o600, (os.geteuid(), os.getegid()))
    environment = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET",)}
    _write("request.json", dict(request, environment=environment))
    _write(
        "state.json",
        {
            "id": identity,
            "unit": unit,
            "digest": digest_of(request),
            "role": request["role"],
            "stage": request["stage"],
        },
    )


def _argv():
    return [sys.executable or "/usr/bin/python3", "-S", "-E", _path("program.py")]


def context_of_unit(mode, policy, own):
    """Return the SELinux context that a unit needs to do what its starter may, None = any.

    systemd gives a unit the domain of services. Other policies than ``targeted`` confine what that
    starts: there, depmod may not look into the initramfs that is made.

    Args:
        mode: ``enforcing``, ``permissive`` or ``disabled``.
        policy: its name.
        own: the context of who starts the unit.

    """
    if mode == "disabled" or policy == UNCONFINED or not CONTEXT.fullmatch(own):
        return None
    return own


def _start_unit(unit):
    """Start the worker as a unit of its own; whether that worked."""
    options = ["--quiet", "--collect", "--no-ask-password", "--unit=" + unit]
    options += ["--description=gpuprep: packages and installers"]
    context = context_of_unit(labels.mode(), labels.policy_name(), labels.own_context())
    if context is not None:
        # With this type systemd tells whether the program could be started in that context. Where
        # it could not, a process has the context of who starts it.
        options += ["--property=Type=exec", "--property=SELinuxContext=" + context]
    return command(["systemd-run"] + options + ["--"] + _argv()).code == 0


def _start_process(handle):
    """Start the worker in a session of its own; it inherits the lock."""
    return subprocess.Popen(
        _argv(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(handle,),
        start_new_session=True,
    )


def _answer(identity):
    """Return the answer of one worker, None as long as there is none."""
    return _document(_answer_path(identity))


def _answer_path(identity):
    return os.path.join(folders.RUN, ANSWERS, identity + ".json")


def _keep_answer(identity, answer):
    """Write an answer, and remove those that nobody came for."""
    directory = os.path.join(folders.RUN, ANSWERS)
    os.makedirs(directory, 0o700, exist_ok=True)
    data = json.dumps(answer).encode("utf-8")
    files.write(_answer_path(identity), data, 0o600, (os.geteuid(), os.getegid()))
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if time.time() - os.stat(path).st_mtime > KEPT_SECONDS:
            os.unlink(path)


def _wait(identity, lives):
    """Return the worker's answer; raises when it ends without one."""
    looked = began = time.monotonic()
    while True:
        answer = _answer(identity)
        if answer is not None:
            return answer
        if time.monotonic() - looked > LOOK_SECONDS:
            looked = time.monotonic()
            if not lives() and _answer(identity) is None:
                said = (files.current(_path("output"))[0] or b"").decode("utf-8", "replace")
                raise OperationError(
                    "E_STEP_KILLED",
                    "the step was ended from outside before it was done; run again. %s"
                    % said[-KEPT_OUTPUT:].strip(),
                )
        waited = time.monotonic() - began
        time.sleep(min(SLOWEST_POLL, max(POLL_SECONDS, waited / PATIENCE)))


def run(request, texts):
    """Return the answer to a request that a worker carries out, or carried out just now."""
    identity = os.urandom(6).hex()
    unit = UNIT % identity if services.systemd_runs() and shutil.which("systemd-run") else None
    with Turn(request["lock_timeout"]) as turn:
        answer = adopted(turn.earlier, request)
        if answer is None:
            answer = ahead.answer_to(request)
        if answer is not None:
            return dict(answer, earlier=_told(turn.earlier))
        _prepare(request, texts, identity, unit)
        if unit is None or not _start_unit(unit):
            _write("state.json", dict(_read("state.json"), unit=None))
            worker = _start_process(turn.handle)

            def lives():
                return worker.poll() is None

        else:
            state = {"unit": unit}

            def lives():
                return _is_locked() or _lives(state)

        turn.release()
        answer = _wait(identity, lives)
    # The answer stays for another run that waits for it.
    return dict(answer, earlier=_told(turn.earlier))


def run_here(request):
    """Return the answer to a request that is done in a moment, once nobody else is at work."""
    with Turn(request["lock_timeout"]) as turn:
        return dict(operations.carry_out(request), earlier=_told(turn.earlier))


def _told(earlier):
    """Return what is told of an earlier run's step, None without one."""
    if earlier is None:
        return None
    answer = earlier["answer"]
    failed = answer and answer["failed"]
    end = failed["message"] if failed else "it ended well" if answer else "it left no answer"
    return "waited %s s for %s of %s, which an earlier run began: %s" % (
        earlier["seconds"], earlier["stage"], earlier["role"], end
    )  # fmt: skip


def work(identity):
    """Carry out the request of the job directory: the worker's whole life."""
    handle = os.open(os.path.join(folders.RUN, LOCK), os.O_RDWR)
    # Where the lock was inherited it is this process's already, by another descriptor.
    state = _read("state.json")
    if state and state["unit"]:
        fcntl.flock(handle, fcntl.LOCK_EX)
        state = _read("state.json")
    if not state or state["id"] != identity:
        return
    output = os.open(_path("output"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    request = _read("request.json")
    os.environ.clear()
    os.environ.update(request.pop("environment"))
    os.umask(0o022)
    answer = operations.carry_out(request)
    for name in ("program.py", "request.json"):
        os.unlink(_path(name))
    _keep_answer(identity, answer)


__all__ = ["Turn", "adopted", "context_of_unit", "digest_of", "run", "run_here", "work"]
