"""Whether a host can be logged in to, and whether it has finished setting itself up."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CONNECT_SECONDS: Final = 10
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

    def __call__(self, login: Login, *, cloud_init: bool, timeout: float) -> Answer:
        """Return what came of it."""
        ...


def by_ssh(login: Login, *, cloud_init: bool, timeout: float) -> Answer:
    """Log in with the key that the console told, and wait for cloud-init if that is wanted."""
    script = _SCRIPT if cloud_init else "true"
    try:
        done = subprocess.run(
            command(login, script), capture_output=True, text=True, errors="replace", check=False,
            timeout=max(timeout, 1), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Answer(Reached.NO, "no answer in time")
    except FileNotFoundError:
        return Answer(Reached.FAILED, "there is no ssh on this machine")
    said = " ".join((done.stderr if done.returncode == _SSH_FAILED else done.stdout).split())[-300:]
    meanings = {
        _SSH_FAILED: Reached.NO,
        0: Reached.YES,
        _NO_PROGRAM: Reached.YES,  # the image has no cloud-init
        _DONE_WITH_ERRORS: Reached.YES,  # recoverable ones: it has gone on and is done
    }
    return Answer(meanings.get(done.returncode, Reached.FAILED), said)


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
