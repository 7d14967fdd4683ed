"""The fleet's task in one child process, without ansible-playbook and ansible-runner.

The child (``first_task.py``) carries Ansible's plugins; a crash, or a cancel, ends there. It is
told what to do by arguments, environment and one line of its standard input; it answers in events.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    mark = secrets.token_hex(16)
    child = subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM), request.playbook, *_arguments(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=request.directory,
        env={**os.environ, **request.environment},
        start_new_session=True,  # a key pressed on the terminal is for the one who asks to stop
    )
    assert child.stdin is not None  # noqa: S101 - as asked for
    with child:
        handed = json.dumps({"mark": mark, "passwords": dict(request.passwords)})
        try:
            child.stdin.write(f"{handed}\n".encode())
            child.stdin.flush()
        except BrokenPipeError:
            pass  # what it has to say about that is in its output
        for line in _lines(child, stop):
            add(_event(line, mark))
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


def _event(line: bytes, mark: str) -> dict[str, Any]:
    text = line.decode(errors="replace")
    if text.startswith(mark):
        event: dict[str, Any] = json.loads(text[len(mark) :])
        return event
    return {"event": "verbose", "stdout": text}


def _lines(child: subprocess.Popen[bytes], stop: Callable[[], bool]) -> Iterator[bytes]:
    """Return the lines of a process's output until it ends, or is to stop."""
    assert child.stdout is not None  # noqa: S101 - as asked for
    descriptor, rest = child.stdout.fileno(), b""
    looked = time.monotonic()
    while True:
        ready = select.select([descriptor], [], [], _POLL)[0]
        if not ready or time.monotonic() - looked > _POLL:
            looked = time.monotonic()
            if stop():
                return
        if ready:
            piece = os.read(descriptor, _PIECE)
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if not piece:
                if rest:
                    yield rest
                return
        elif child.poll() is not None:
            return  # somebody whom it started holds its output
