"""Whether a host can be logged in to, and whether it has finished setting itself up."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

_CONNECT_SECONDS: Final = 10
_POLL: Final = 0.5  # seconds between two looks whether it is still wanted
_SSH_FAILED: Final = 255
_NO_PROGRAM: Final = 127
_DONE_WITH_ERRORS: Final = 2
_SCRIPT: Final = (
    "command -v cloud-init >/dev/null 2>&1 || exit 127; "
    "cloud-init status --wait >/dev/null 2>&1; code=$?; cloud-init status --long | tail -n 5; "
    "exit $code"
)


class Reached(StrEnum):
    """What came of a try to log in."""

    NO = "no"
    YES = "yes"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try to log in, and what was said."""

    reached: Reached
    text: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """How a host is logged in to."""

    address: str
    user: str
    known_hosts: Path
    key_files: tuple[Path, ...] = ()


class Reach(Protocol):
    """Tries to log in."""

    def __call__(
        self, login: Login, *, cloud_init: bool, timeout: float, ended: threading.Event
    ) -> Answer:
        """Return what came of it; once it has ended, nobody waits for that any more."""
        ...


def by_ssh(login: Login, *, cloud_init: bool, timeout: float, ended: threading.Event) -> Answer:
    """Log in with the key that the console told, and wait for cloud-init if that is wanted."""
    script = _SCRIPT if cloud_init else "true"
    try:
        done = _run(command(login, script), max(timeout, 1), ended)
    except FileNotFoundError:
        return Answer(Reached.FAILED, "there is no ssh on this machine")
    if done is None:
        return Answer(Reached.NO, "no answer in time")
    said = " ".join((done.stderr if done.returncode == _SSH_FAILED else done.stdout).split())[-300:]
    meanings = {
        _SSH_FAILED: Reached.NO,
        0: Reached.YES,
        _NO_PROGRAM: Reached.YES,  # the image has no cloud-init
        _DONE_WITH_ERRORS: Reached.YES,  # recoverable ones: it has gone on and is done
    }
    return Answer(meanings.get(done.returncode, Reached.FAILED), said)


def _run(
    command: Sequence[str], seconds: float, ended: threading.Event
) -> subprocess.CompletedProcess[str] | None:
    """Run a program to its end; None when it had to be killed before that."""
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        while not ended.is_set() and (left := deadline - time.monotonic()) > 0:
            try:
                out, err = process.communicate(timeout=min(_POLL, left))
            except subprocess.TimeoutExpired:
                continue
            return subprocess.CompletedProcess(command, process.returncode, out, err)
        process.kill()
    return None


def command(login: Login, script: str) -> Sequence[str]:
    """Return the command that runs a script on a host; the key of the host must be known."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(login.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": str(_CONNECT_SECONDS),
        "ServerAliveInterval": "15",
    }
    identities = [word for path in login.key_files for word in ("-i", str(path))]
    pairs = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", *pairs, *identities, "-l", login.user, "--", login.address, script]
