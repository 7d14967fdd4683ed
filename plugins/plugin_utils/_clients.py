"""Private: the ssh clients that Ansible's ssh plugin starts, kept within bounds.

The plugin itself reads all that a host cares to send, and lets nobody end a client that hangs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

from ansible.errors import AnsibleError

MOST_BYTES = 8 << 20  # a full host with its probe answers some 300 KiB
PIECE_BYTES = 64 << 10

_thread = threading.local()
_running: dict[str, subprocess.Popen[bytes]] = {}


class AnswerTooLongError(AnsibleError):
    """A host sends without end."""

    def __init__(self) -> None:
        super().__init__(f"the host's answer is longer than {MOST_BYTES >> 20} MiB")


class _Output:
    """Output of a client, read in pieces and up to a limit."""

    def __init__(self, stream: Any, client: subprocess.Popen[bytes]) -> None:
        self._stream, self._client, self._left = stream, client, MOST_BYTES

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self) -> bytes:
        """Return the next piece; nothing at the end."""
        piece = os.read(self.fileno(), PIECE_BYTES)
        self._left -= len(piece)
        if self._left < 0:
            self._client.kill()
            self._client.wait()
            raise AnswerTooLongError
        return piece


class _Client(subprocess.Popen[bytes]):
    """A client process whose output is bounded and that can be ended by its host's name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stdout: Any = _Output(self.stdout, self)
        self.stderr: Any = _Output(self.stderr, self)
        if name := getattr(_thread, "host", None):
            _running[name] = self


def bound(connection: Any) -> None:
    """Bound what a connection reads from now on; other plugins than ssh are left as they are."""
    module: Any = sys.modules[type(connection).__module__]
    if connection.transport == "ssh" and hasattr(module, "subprocess"):
        module.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _Client})


def work_for(host: str) -> None:
    """Remember that this thread's clients, until further notice, talk to a host."""
    _thread.host = host


def end(host: str) -> None:
    """End the client that talks to a host, if there is one."""
    client = _running.pop(host, None)
    if client is not None and client.poll() is None:
        client.terminate()
