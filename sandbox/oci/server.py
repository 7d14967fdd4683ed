"""The emulator: HTTP on loopback in front of ``Api``, with signatures, faults and counters."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from sandbox.oci import bodies
from sandbox.oci.api import Api
from sandbox.oci.authority import Authority
from sandbox.oci.faults import Bucket, Fault
from sandbox.oci.keys import USER
from sandbox.oci.refusals import USUAL, RefusedError
from sandbox.oci.routes import Sent
from sandbox.oci.signature import Request
from sandbox.oci.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from sandbox.oci.tenancy import Tenancy

# http://127.0.0.1:PORT/20160918/... is the home region, .../us-phoenix-1/20160918/... another
_TARGET: Final = re.compile(
    r"^(?:/(?P<region>[a-z]+(?:-[a-z0-9]+)+))?/(?P<version>20160918|20190729)(?P<rest>/.*)$"
)
_FEDERATION: Final = "/v1/x509"
_HANG_SECONDS: Final = 30
_LARGEST_BODY: Final = 1 << 20


class Stats:
    """Counts of what was asked."""

    def __init__(self) -> None:
        self.routes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.principals: Counter[str] = Counter()  # whose signatures were right
        self.most_at_once = 0
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """Requests answered or refused."""
        return self.routes.total()

    @property
    def verified(self) -> int:
        """Requests whose signature was right."""
        return self.principals.total()

    def enter(self) -> None:
        """Count a request in."""
        with self._lock:
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)

    def leave(self, route: str, status: int, principal: str | None) -> None:
        """Count a request out."""
        with self._lock:
            self._inside -= 1
            self.routes[route] += 1
            self.statuses[status] += 1
            if principal:
                self.principals[principal] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "total": self.total,
            "verified": self.verified,
            "principals": dict(self.principals),
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
        boot: seconds that an instance takes to start, stop or go.

    """

    latency: float = 0.0
    rate: float | None = None
    clock_offset: float = 0.0
    port: int = 0
    boot: float = 0.0


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
        self.api.compute.boot_seconds = knobs.boot
        self.authority = Authority(tenancy.ocid, USER, tenancy.regions[0])
        self.verifier = Verifier(keys, self.authority, knobs.clock_offset)
        self.latency = knobs.latency
        self.bucket = Bucket(knobs.rate) if knobs.rate else None
        self.faults: list[Fault] = []
        self.stats = Stats()
        self.released = threading.Event()  # ends hanging answers
        self.kept: Path | None = None  # where the tenancy is kept while it serves
        self._triggers: list[tuple[str, Callable[[], None]]] = []
        self._server = _Server(("127.0.0.1", knobs.port), _Handler)
        self._server.emulator = self
        self._thread = threading.Thread(target=self.serve, daemon=True)

    @property
    def url(self) -> str:
        """Value for the option ``service_endpoint``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def metadata_url(self) -> str:
        """Value for the SDK's variable ``OCI_METADATA_BASE_URL``."""
        return f"{self.url}/opc/v2"

    @property
    def federation_url(self) -> str:
        """Value for the option ``federation_endpoint``."""
        return self.url + _FEDERATION

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

    def changed(self, method: str) -> None:
        """Keep the tenancy, when a request may have changed it."""
        if self.kept is None or method == "GET":
            return
        with self.api.compute.lock:
            text = json.dumps(self.api.tenancy.to_dict())
            pending = self.kept.with_name(f".{self.kept.name}.new")
            pending.write_text(text)
            pending.replace(self.kept)

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
        _trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    emulator: Emulator


@dataclass(frozen=True, slots=True)
class _Reply:
    """What is sent: a status, a body, and the token of the next page."""

    status: int
    data: bytes
    kind: str = "application/json"
    following: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, body: Any, status: int = 200, following: str | None = None) -> Self:  # noqa: ANN401 - JSON
        return cls(status, json.dumps(body, separators=(",", ":")).encode(), following=following)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _body: bytes
    _route: str
    _principal: str | None

    def do_GET(self) -> None:
        """Answer one request."""
        self._body = b""
        if self.path.startswith("/_stats"):
            self._send(_Reply.json(self.server.emulator.reset_stats().to_dict()))  # not of OCI
        elif self.path.startswith("/opc/"):
            self._serve(self._metadata)
        else:
            self._serve(self._ask_api)

    def do_POST(self) -> None:
        """Answer a request that brings a body."""
        if self._read_body():
            self._serve(self._federate if self.path == _FEDERATION else self._ask_api)

    def do_PUT(self) -> None:
        """Answer a request that changes something."""
        if self._read_body():
            self._serve(self._ask_api)

    def do_DELETE(self) -> None:
        """Answer a request that removes something."""
        if self._read_body():
            self._serve(self._ask_api)

    def _read_body(self) -> bool:
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > _LARGEST_BODY:
            self.send_error(400, "content-length is no number, or too large")
            return False
        self._body = self.rfile.read(int(length))
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse in JSON what is no request of a kind that is answered at all."""
        del explain
        self.close_connection = True  # what follows is no request
        name, usual = USUAL.get(code, USUAL[501])
        self._send(_Reply.json({"code": name, "message": message or usual}, code))

    def _serve(self, answer: Callable[[], _Reply]) -> None:
        emulator = self.server.emulator
        stats = emulator.stats
        stats.enter()
        self._route, self._principal, status = "unknown", None, 0
        try:
            try:
                reply = answer()
            except RefusedError as error:
                body = {"code": error.code, "message": error.message}
                reply = _Reply.json(body, error.status)
            status = reply.status
        except _SilenceError:
            self.close_connection = True
            return
        finally:
            stats.leave(self._route, status, self._principal)
        if self._struck("lost"):
            self.close_connection = True
            return
        if self._struck("cut"):
            reply = replace(reply, data=reply.data[: len(reply.data) // 2])
        self._send(reply)

    def _ask_api(self) -> _Reply:
        emulator = self.server.emulator
        match = _TARGET.match(self.path)
        if not match:
            raise _no_route(self.command, self.path)
        regions = emulator.api.tenancy.regions
        parts, region = urlsplit(match["rest"]), match["region"] or regions[0]
        route = emulator.api.route(self.command, parts.path, match["version"])
        self._route = _shown(self.command, route.name) if route else "unknown"
        self._principal = emulator.verifier.principal(self._request())
        if route is None:
            raise _no_route(self.command, parts.path)
        if region not in regions:
            raise RefusedError(404, f"the tenancy is not subscribed to the region {region}")
        self._afflict(match["rest"])
        emulator.pull_triggers(f"{self.command} {match['rest']}")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        brought = {} if self.command == "GET" else bodies.parsed(self._body)
        sent = Sent(region, query, brought, self.headers.get("opc-retry-token"))
        result, body, following = emulator.api.answer(route, parts.path, sent)
        emulator.changed(self.command)
        if result.empty:
            return _Reply(204, b"", headers=result.headers)
        if result.text is not None:
            return _Reply(200, result.text.encode(), "text/plain", headers=result.headers)
        return replace(_Reply.json(body, following=following), headers=result.headers)

    def _metadata(self) -> _Reply:
        self._route = self.path
        self._afflict(self.path)
        found = self.server.emulator.authority.metadata(self.path, self._request().headers)
        return _Reply(200, found, "text/plain")

    def _federate(self) -> _Reply:
        self._route = self.path
        self._afflict(self.path)
        emulator = self.server.emulator
        token = emulator.authority.federate(self._request(), emulator.verifier.now())
        self._principal = "certificate"
        return _Reply.json({"token": token})

    def _request(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, headers, self._body)

    def _afflict(self, target: str) -> None:
        """Be slow, busy or broken, as was asked for."""
        emulator = self.server.emulator
        time.sleep(emulator.latency)
        if emulator.bucket and not emulator.bucket.take():
            raise RefusedError(429)
        for fault in emulator.faults:
            if fault.what in {"cut", "lost"} or not fault.hits(f"{self.command} {target}"):
                continue
            if isinstance(fault.what, int):
                raise fault.refusal
            if fault.what == "hang":
                emulator.released.wait(_HANG_SECONDS)
            raise _SilenceError

    def _struck(self, kind: str) -> bool:
        """Return whether a fault of a kind that comes after the work strikes now."""
        match = _TARGET.match(self.path)
        target = f"{self.command} {match['rest'] if match else self.path}"
        faults = self.server.emulator.faults
        return any(fault.what == kind and fault.hits(target) for fault in faults)

    def _send(self, reply: _Reply) -> None:
        self.send_response(reply.status)
        self.send_header("content-type", reply.kind)
        self.send_header("content-length", str(len(reply.data)))
        headers = getattr(self, "headers", {})  # there are none of a request that is none
        asked = headers.get("opc-request-id") or uuid.uuid4().hex.upper()
        self.send_header("opc-request-id", f"{asked}/{uuid.uuid4().hex.upper()}")
        if reply.following:
            self.send_header("opc-next-page", reply.following)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.data)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the Date header by the emulator's clock."""
        del timestamp
        return format_datetime(self.server.emulator.verifier.now(), usegmt=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing; the counters tell."""

    def setup(self) -> None:
        """Send small answers at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _shown(method: str, name: str) -> str:
    """Return what counters call a route: by its path alone where it reads."""
    return name if method == "GET" else f"{method} {name}"


def _no_route(method: str, path: str) -> RefusedError:
    """Say whose fault it is: by its code alone, it would look like a missing policy."""
    return RefusedError(404, f"the emulator has no route {method} {path}")


class _SilenceError(Exception):
    """Close the connection without an answer."""
