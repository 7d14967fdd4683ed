"""Serve a directory over HTTP and keep a log that tests can read.

Run as `python -m sandbox.httpd STATE ADDRESS PORT`; `sandbox.servers` does.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

IP_FREEBIND = 15
"""From linux/in.h; Python's socket module does not name it."""


class Handler(SimpleHTTPRequestHandler):
    """Serves files with keep-alive and writes one JSON line per answer."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the log to `handle_one_request`, which knows the size."""
        del size
        self.status = int(code)

    def handle_one_request(self) -> None:
        """Answer one request and log it."""
        self.status, self.sent = 0, 0
        super().handle_one_request()
        if self.status:
            self.server.record(
                client=self.client_address[0],
                method=self.command,
                path=self.path,
                status=self.status,
                bytes=self.sent,
            )

    def copyfile(self, source: Any, outputfile: Any) -> None:  # noqa: ANN401 - the base class's types
        """Send a file and count its bytes."""
        self.sent = os.fstat(source.fileno()).st_size if hasattr(source, "fileno") else 0
        super().copyfile(source, outputfile)


class Server(ThreadingHTTPServer):
    """A threaded server with a log of its own."""

    daemon_threads = True
    log: IO[str]

    def server_bind(self) -> None:
        """Bind, also to an address that comes later: a bridge has none before its first host."""
        self.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        super().server_bind()

    def record(self, **fields: str | int) -> None:
        """Append one line to the log."""
        self.log.write(json.dumps({"time": round(time.time(), 3), **fields}) + "\n")
        self.log.flush()


def bind(address: str, port: int, directory: Path) -> Server:
    """Listen on `port`, or on a free one when it is taken."""
    handler = partial(Handler, directory=str(directory))
    try:
        return Server((address, port), handler)
    except OSError:
        return Server((address, 0), handler)


def main(state: str, address: str, port: str) -> None:
    """Serve `STATE/www` until stopped by a signal."""
    run = Path(state) / "run"
    server = bind(address, int(port), Path(state) / "www")
    with (run / "access.jsonl").open("a") as server.log:
        record = {"pid": os.getpid(), "gateway": address, "port": server.server_port}
        pending = run / ".servers.json.new"
        pending.write_text(json.dumps(record))
        pending.rename(run / "servers.json")
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
