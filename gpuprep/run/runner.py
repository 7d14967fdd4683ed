"""Run a playbook through ansible-runner: the only module that imports it.

ansible-runner's habits that are designed around here (version 2.4.3):

* it turns host key checking off unless told otherwise: told, in ``content.engine_environment``;
* it keeps passwords, variables and the whole environment in files: ``suppress_env_files``, our own
  variables file in a directory that is removed, and a pipe in the place of its ``command`` file;
* it puts extra variables on the command line, for all to see in ``ps``, when those files are
  suppressed: ours are in a file that is there before;
* it drops the settings it is given when it finds no settings file: there is one;
* it looks for a cancel request only when its terminal read returns: at most a second apart;
* it kills one process group only, and Ansible's workers have left it: ``processes.end_all``;
* an exception in an event handler breaks its reader: ours lets none out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from gpuprep.errors import EngineError
from gpuprep.fleet.patterns import exactly
from gpuprep.model.value import Value
from gpuprep.run import ansible_playbook, connections, processes
from gpuprep.run.child import run_first_task
from gpuprep.run.events import EventKind
from gpuprep.run.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.run.request import Request

_log = logging.getLogger(__name__)
_POLL: Final = 1  # seconds between two looks for a cancel request
_IDENT: Final = "run"
_STOPPED: Final = 254  # ansible-runner's own code for it
_KILLED: Final = 255  # ansible-playbook itself was killed from outside
HANDED_OVER: Final = "state"  # folder of the run's directory: what the plan leaves to the roles
PLANNED: Final = "__gpuprep_planned"  # variable: the plan is there
_Stop = Literal["cancelled", "timeout"]


class Outcome(Value, frozen=True):
    """How a run ended.

    Attributes:
        code: exit code of ansible-playbook; 254 when it was stopped.
        stopped: why it was stopped; None = it came to its end.
        transcript: what happened on the way.
        left_running: processes of this machine that were left to finish.

    """

    code: int
    stopped: _Stop | None
    transcript: Transcript
    left_running: tuple[processes.Process, ...] = ()


class _StopRequest:
    """Decides whether to stop, and clears away the processes before ansible-runner acts."""

    def __init__(self, request: Request) -> None:
        self.reason: _Stop | None = None
        self.left_running: tuple[processes.Process, ...] = ()
        self._request = request
        self._deadline = None if request.timeout is None else time.monotonic() + request.timeout

    def __call__(self) -> bool:
        if self.reason is None:
            self.reason = self._why()
            if self.reason is not None:
                self.left_running = processes.end_all(self._request.run_dir)
        return self.reason is not None

    def _why(self) -> _Stop | None:
        if self._asked():
            return "cancelled"
        if self._deadline is not None and time.monotonic() > self._deadline:
            return "timeout"
        return None

    def _asked(self) -> bool:
        try:
            return self._request.cancelled()
        except Exception:  # noqa: BLE001 - the user's own code
            _log.exception("the cancel callback failed; the run goes on")
            return False


def run_playbook(request: Request) -> Outcome:
    """Run a playbook to its end, or to the first request to stop.

    Works in any thread. No process of the run is alive afterwards, except those that
    ``Outcome.left_running`` names, and ssh's connections where they are kept for the next run.

    Raises:
        EngineError: ansible-runner itself failed.

    """
    _prepare(request)
    transcript = Transcript(request.on_event, request.redactor)
    stop = _StopRequest(request)
    if stop():
        return Outcome(_STOPPED, stop.reason, transcript)
    try:
        code = _work(request, transcript, stop)
    except BaseException:
        processes.end_all(request.run_dir)
        raise
    processes.end_connections(request.run_dir)
    for process in stop.left_running:
        text = f"{process.name} (process {process.pid}) is left to finish its work on this machine"
        transcript.tell(EventKind.WARNING, text)
    return Outcome(code, stop.reason, transcript, stop.left_running)


def _prepare(request: Request) -> None:
    env = request.run_dir / "env"
    env.mkdir(mode=0o700)
    (request.run_dir / "cp").mkdir(mode=0o700)
    if request.keep_connections:
        connections.offer(request.run_dir, os.environ)
    (env / "settings").write_text(
        json.dumps({"pexpect_timeout": _POLL, "suppress_output_file": True})
    )
    (env / "extravars").write_text(json.dumps(dict(request.variables)))


def _work(request: Request, transcript: Transcript, stop: _StopRequest) -> int:
    """Carry out a request in one part or two; return the exit code of the last."""
    if request.not_alone:
        text = f"ansible-playbook observes the hosts too, because of {request.not_alone}"
        transcript.tell(EventKind.OUTPUT, text)
    if request.alone == "never":
        return _run(request, transcript, stop)
    code = run_first_task(request, lambda event: _observe(transcript, event), stop)
    done = code or stop.reason or request.alone == "only"
    hosts = () if done else _hosts_left(request.run_dir)
    if not hosts:
        return _STOPPED if stop.reason else code
    transcript.go_on()
    limit = request.run_dir / "differing"
    limit.write_text("\n".join([*map(exactly, hosts), ""]), encoding="utf-8")
    rest = replace(
        request,
        arguments=(*request.arguments, f"--limit=@{limit}"),
        variables={**request.variables, PLANNED: True},
    )
    (request.run_dir / "env/extravars").write_text(json.dumps(dict(rest.variables)))
    return _run(rest, transcript, stop)


def _hosts_left(run_dir: Path) -> tuple[str, ...]:
    """Return the hosts that the plan leaves to the roles, in order."""
    path = run_dir / HANDED_OVER / "fleet.json"
    return tuple(json.loads(path.read_text(encoding="utf-8"))["drifted"]) if path.exists() else ()


def _run(request: Request, transcript: Transcript, stop: _StopRequest) -> int:
    import ansible_runner  # noqa: PLC0415 - slow, and only needed when something is run

    arguments = [
        "-P",
        str(Path(ansible_playbook.__file__)),
        request.playbook,
        *request.arguments,
    ]
    try:
        with _in_no_file(request.run_dir / "artifacts" / _IDENT / "command"):
            runner = ansible_runner.run(
                private_data_dir=str(request.run_dir),
                project_dir=str(request.directory),
                ident=_IDENT,
                binary=sys.executable,
                cmdline=shlex.join(arguments),
                envvars=dict(request.environment),
                passwords=dict(request.passwords),
                suppress_env_files=True,
                fact_cache_type="memory",
                quiet=True,
                event_handler=lambda event: _observe(transcript, event),
                cancel_callback=stop,
            )
    except Exception as error:
        if stop.reason is None and not transcript.complete:
            raise EngineError(f"ansible-runner failed: {_reason(request, error)}") from error
        _log.debug("ansible-runner stumbled after the end of the run", exc_info=True)
        return _STOPPED if stop.reason else transcript.exit_code
    return _KILLED if runner.rc is None else int(runner.rc)


def _reason(request: Request, error: Exception) -> str:
    return request.redactor.text(f"{type(error).__name__}: {error}".partition("\n")[0])


def _observe(transcript: Transcript, event: dict[str, Any]) -> bool:
    try:
        transcript.add(event)
    except Exception:  # noqa: BLE001 - see the module's docstring
        _log.exception("an event could not be understood; the run goes on")
    return False  # no event file is kept


@contextlib.contextmanager
def _in_no_file(path: Path) -> Iterator[None]:
    """Let what is written to ``path``, the whole environment, go to nobody."""
    path.parent.mkdir(mode=0o700, parents=True)
    os.mkfifo(path, 0o600)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(path, os.O_WRONLY)  # held: the reader's end comes with the run's
    os.set_blocking(reading, True)
    threading.Thread(target=_read_to_the_end, args=(reading,), daemon=True).start()
    try:
        yield
    finally:
        os.close(writing)


def _read_to_the_end(pipe: int) -> None:
    with open(pipe, "rb", buffering=0) as stream:
        while stream.read(1 << 16):
            pass
