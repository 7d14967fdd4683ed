"""The emulator: HTTP on loopback in front of ``Api``, with signatures, faults and counters."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from sandbox.oci.api import Api, RefusedError
from sandbox.oci.faults import Bucket, Fault
from sandbox.oci.signature import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from sandbox.oci.tenancy import Tenancy

# http://127.0.0.1:PORT/20160918/... is the home region, .../us-phoenix-1/20160918/... another
_TARGET: Final = re.compile(r"^(?:/(?P<region>[a-z]+(?:-[a-z0-9]+)+))?/20160918(?P<rest>/.*)$")
_HANG_SECONDS: Final = 30


class Stats:
    """Counts of what was asked."""

    def __init__(self) -> None:
        self.routes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.verified = 0
        self.most_at_once = 0
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """Requests answered or refused."""
        return sum(self.routes.values())

    def enter(self) -> None:
        """Count a request in."""
        with self._lock:
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)

    def leave(self, route: str, status: int, *, verified: bool) -> None:
        """Count a request out."""
        with self._lock:
            self._inside -= 1
            self.routes[route] += 1
            self.statuses[status] += 1
            self.verified += verified

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON types."""
        return {
            "total": self.total,
            "verified": self.verified,
            "most_at_once": self.most_at_once,
            "routes": dict(self.routes),
            "statuses": {str(key): value for key, value in self.statuses.items()},
        }


@dataclass(frozen=True, slots=True)
class Knobs:
    """How the service behaves.

    Attributes:
        latency: seconds before each answer.
        rate: requests per second before it answers 429; None = any number.
        clock_offset: seconds its clock is ahead of this machine's.
        port: 0 = a free one.

    """

    latency: float = 0.0
    rate: float | None = None
    clock_offset: float = 0.0
    port: int = 0


class Emulator:
    """A running substitute; a context manager.

    Args:
        tenancy: what it shows.
        keys: public keys by key id.
        knobs: how it behaves.

    """

    def __init__(
        self, tenancy: Tenancy, keys: Mapping[str, RSAPublicKey], knobs: Knobs | None = None
    ) -> None:
        knobs = knobs or Knobs()
        self.api = Api(tenancy)
        self.verifier = Verifier(keys, knobs.clock_offset)
        self.latency = knobs.latency
        self.bucket = Bucket(knobs.rate) if knobs.rate else None
        self.faults: list[Fault] = []
        self.stats = Stats()
        self.released = threading.Event()  # ends hanging answers
        self._triggers: list[tuple[str, Callable[[], None]]] = []
        self._server = _Server(("127.0.0.1", knobs.port), _Handler)
        self._server.emulator = self
        self._thread = threading.Thread(target=self.serve, daemon=True)

    @property
    def url(self) -> str:
        """Value for the option ``service_endpoint``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url_by_region(self) -> str:
        """The same for tenancies with several regions."""
        return self.url + "/{region}"

    def once(self, route: str, action: Callable[[], None]) -> None:
        """Do something, once, just before a matching request is answered."""
        self._triggers.append((route, action))

    def pull_triggers(self, target: str) -> None:
        """Run the actions that wait for this request."""
        for trigger in list(self._triggers):
            if re.search(trigger[0], target):
                self._triggers.remove(trigger)
                trigger[1]()

    def reset_stats(self) -> Stats:
        """Start counting anew; gives the old counts."""
        old, self.stats = self.stats, Stats()
        return old

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def serve(self) -> None:
        """Serve in this thread until interrupted."""
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        """Stop serving."""
        self.released.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    emulator: Emulator


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path.startswith("/_stats"):
            self._control()
            return
        emulator = self.server.emulator
        stats = emulator.stats
        stats.enter()
        route, status, verified = "unknown", 0, False
        try:
            try:
                route, target, region = self._target()
                verified = self._verify()
                self._afflict(target)
                body, following = self._answer(target, region)
                status = 200
            except RefusedError as error:
                status, following = error.status, None
                body = {"code": error.code, "message": error.message}
            except _SilenceError:
                self.close_connection = True
                return
        finally:
            stats.leave(route, status, verified=verified)
        cut = any(fault.what == "cut" and fault.hits(self.path) for fault in emulator.faults)
        self._send(status, body, following, cut=cut)

    def _target(self) -> tuple[str, str, str]:
        match = _TARGET.match(self.path)
        if not match:
            raise RefusedError(404)
        route, _ = self.server.emulator.api.route(urlsplit(match["rest"]).path)
        return route, match["rest"], match["region"] or self._home

    @property
    def _home(self) -> str:
        return self.server.emulator.api.tenancy.regions[0]

    def _verify(self) -> bool:
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.server.emulator.verifier.fault(self.command, self.path, headers)
        if fault:
            raise RefusedError(401, fault)
        return True

    def _afflict(self, target: str) -> None:
        """Be slow, busy or broken, as was asked for."""
        emulator = self.server.emulator
        time.sleep(emulator.latency)
        if emulator.bucket and not emulator.bucket.take():
            raise RefusedError(429)
        for fault in emulator.faults:
            if fault.what == "cut" or not fault.hits(target):
                continue
            if isinstance(fault.what, int):
                raise RefusedError(fault.what)
            if fault.what == "hang":
                emulator.released.wait(_HANG_SECONDS)
            raise _SilenceError

    def _answer(self, target: str, region: str) -> tuple[Any, str | None]:
        emulator = self.server.emulator
        emulator.pull_triggers(target)
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        _, function = emulator.api.route(parts.path)
        return function(region, query).page(query)

    def _send(self, status: int, body: Any, following: str | None, *, cut: bool) -> None:  # noqa: ANN401 - JSON
        data = json.dumps(body, separators=(",", ":")).encode()
        if cut:
            data = data[: len(data) // 2]
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        asked = self.headers.get("opc-request-id") or uuid.uuid4().hex.upper()
        self.send_header("opc-request-id", f"{asked}/{uuid.uuid4().hex.upper()}")
        if following:
            self.send_header("opc-next-page", following)
        self.end_headers()
        self.wfile.write(data)

    def _control(self) -> None:
        """Tell the counts and start anew; not part of OCI."""
        self._send(200, self.server.emulator.reset_stats().to_dict(), None, cut=False)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Give the Date header by the emulator's clock."""
        del timestamp
        return format_datetime(self.server.emulator.verifier.now(), usegmt=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing; the counters tell."""

    def setup(self) -> None:
        """Send small answers at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _SilenceError(Exception):
    """Close the connection without an answer."""
