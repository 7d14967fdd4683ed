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
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import FileIO

IP_FREEBIND = 15
"""From linux/in.h; Python's socket module does not name it."""


class Handler(SimpleHTTPRequestHandler):
    """Serves files with keep-alive and writes one JSON line per answer."""

    protocol_version = "HTTP/1.1"
    server: Server
    path = ""
    """What a request that could not be read asked for."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the log to `end_headers`, which knows the size."""
        del size
        self.status, self.announced = int(code), 0

    def send_header(self, keyword: str, value: str) -> None:
        """Send a header and remember the announced size."""
        if keyword.lower() == "content-length":
            self.announced = int(value)
        super().send_header(keyword, value)

    def end_headers(self) -> None:
        """Log the answer before it leaves, so that whoever has it finds it in the log."""
        file_sent = self.command == "GET" and self.status == HTTPStatus.OK
        self.server.record(
            client=self.client_address[0],
            method=self.command or "",
            path=self.path,
            status=self.status,
            bytes=self.announced if file_sent else 0,
        )
        super().end_headers()


class Server(ThreadingHTTPServer):
    """A threaded server with a log of its own."""

    daemon_threads = True
    request_queue_size = 128  # hosts come all at once
    log: FileIO
    """Opened unbuffered for appending: each line is one write, whole among other threads' lines."""

    def server_bind(self) -> None:
        """Bind, also to an address that comes later: a bridge has none before its first host."""
        self.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        super().server_bind()

    def record(self, **fields: str | int) -> None:
        """Append one line to the log."""
        line = json.dumps({"time": round(time.time(), 3), **fields})
        self.log.write(f"{line}\n".encode())


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
    with (run / "access.jsonl").open("ab", buffering=0) as server.log:
        record = {"pid": os.getpid(), "gateway": address, "port": server.server_port}
        pending = run / ".servers.json.new"
        pending.write_text(json.dumps(record))
        pending.rename(run / "servers.json")
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
