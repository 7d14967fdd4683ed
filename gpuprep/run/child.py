"""The fleet's task in one child process, without ansible-playbook and ansible-runner.

The child (``first_task.py``) carries Ansible's plugins; a crash, or a cancel, ends there. It is
told what to do by arguments, environment and one line of its standard input; it answers in events,
through a pipe that nothing else has: what it and its own children print is never taken for one.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gpuprep.run.request import Request

_PROGRAM: Final = Path(__file__).with_name("first_task.py")
_POLL: Final = 0.5  # seconds between two looks for a cancel request
_PIECE: Final = 1 << 16
_ENDING: Final = 10.0  # seconds that a process has to end once its output did


def run_first_task(
    request: Request, add: Callable[[dict[str, Any]], object], stop: Callable[[], bool]
) -> int:
    """Carry out the first task of the request's playbook.

    Args:
        request: as for the whole playbook.
        add: told every event, in ansible-runner's form.
        stop: asked whether to stop; then the child has been ended already.

    Returns:
        The exit code that ansible-playbook would end with; negative when a signal ended it.

    """
    events, its_end = os.pipe()
    with os.fdopen(events, "rb", buffering=0) as stream:
        try:
            child = _start(request, its_end)
        finally:
            os.close(its_end)
        with child:
            _hand_over(child, {"events": its_end, "passwords": dict(request.passwords)})
            for event in _events(child, stream, stop):
                add(event)
            return _ended(child, stop)


def _start(request: Request, events: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM), request.playbook, *_arguments(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=request.directory,
        env={**os.environ, **request.environment},
        start_new_session=True,  # a key pressed on the terminal is for the one who asks to stop
        pass_fds=(events,),
    )


def _hand_over(child: subprocess.Popen[bytes], told: Mapping[str, Any]) -> None:
    assert child.stdin is not None  # noqa: S101 - as asked for
    with contextlib.suppress(BrokenPipeError):  # what it has to say about that is in its output
        child.stdin.write(f"{json.dumps(told)}\n".encode())
        child.stdin.flush()


def _ended(child: subprocess.Popen[bytes], stop: Callable[[], bool]) -> int:
    """Wait for the end of a process whose output has ended; return its exit code."""
    deadline = time.monotonic() + _ENDING
    while child.poll() is None and not stop() and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_POLL)
    if child.poll() is None:
        child.kill()
    return child.wait()


def _arguments(request: Request) -> Iterator[str]:
    """Return the arguments; variables are in a file, as always."""
    yield from request.arguments
    path = request.run_dir / "env/extravars"
    yield from ("--extra-vars", f"@{path}")


def _events(
    child: subprocess.Popen[bytes], stream: IO[bytes], stop: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """Return a process's events, and its output as such, until it ends, or is to stop."""
    output: Any = child.stdout
    rests = {stream: b"", output: b""}
    read: dict[Any, Callable[[bytes], dict[str, Any]]] = {stream: json.loads, output: _printed}
    looked = time.monotonic()
    with selectors.DefaultSelector() as selector:  # of any number of open files
        for each in rests:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            ready = [key.fileobj for key, _ in selector.select(_POLL)]
            if not ready or time.monotonic() - looked > _POLL:
                looked = time.monotonic()
                if stop():
                    return
            for each in (each for each in rests if each in ready):
                piece = os.read(each.fileno(), _PIECE)
                *lines, rests[each] = (rests[each] + piece).split(b"\n")
                yield from map(read[each], lines)
                if not piece:
                    selector.unregister(each)
            if not ready and child.poll() is not None:
                break  # somebody whom it started holds its output
    if rests[output]:
        yield _printed(rests[output])


def _printed(line: bytes) -> dict[str, Any]:
    return {"event": "verbose", "stdout": line.decode(errors="replace")}
