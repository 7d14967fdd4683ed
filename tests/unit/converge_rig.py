"""What the tests of the converge program share: its parts, run here on a tree of their own."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from typing import TYPE_CHECKING, Any

from gpuprep.on_host.converge import base

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CONTEXT = base.Context("deb", 1, check=False)
LOOKING = CONTEXT._replace(check=True)


class Commands:
    """Stands for the host's commands: answers by their beginning, and remembers them all."""

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.lines: list[str] = []

    def __call__(
        self, argv: list[str], environment: Mapping[str, str] | None = None, **_: Any
    ) -> Any:
        del environment
        line = " ".join(argv)
        self.lines.append(line)
        fitting = [begin for begin in self.answers if line.startswith(begin)]
        answer = self.answers[max(fitting, key=len)] if fitting else ""
        if callable(answer):
            answer = answer(argv)
        return answer if isinstance(answer, base.Outcome) else base.Outcome(0, answer, "")


def names(folder: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(path.name for path in folder.iterdir())


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a directory over http; give its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
