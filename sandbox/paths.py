"""Where the sandbox keeps its state, what belongs to it, and its one exception."""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY: Final = Path(__file__).resolve().parent.parent
STATE: Final = REPOSITORY / ".sandbox"
CACHE: Final = STATE / "cache"
HOSTS: Final = STATE / "hosts"
KNOWN_HOSTS: Final = STATE / "known_hosts"
LOGIN_KEY: Final = STATE / "keys" / "id_ed25519"
# Two checkouts on one machine must not take each other's hosts for their own.
SANDBOX_ID: Final = hashlib.sha256(str(STATE).encode()).hexdigest()[:6]


class SandboxError(Exception):
    """Something the sandbox needs is missing or failed; the text says what and what to do."""


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock ``name`` of this sandbox; waits for whoever holds it."""
    locks = STATE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new text, never a part."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)
