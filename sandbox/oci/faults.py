"""Things that go wrong on purpose: refusals, throttling, silence, answers cut short."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass

CODES = {
    400: ("InvalidParameter", "The parameter is not valid."),
    401: ("NotAuthenticated", "Failed to verify the HTTP(S) Signature"),
    404: ("NotAuthorizedOrNotFound", "Authorization failed or requested resource not found."),
    409: ("IncorrectState", "The resource is in a state that conflicts with the request."),
    429: ("TooManyRequests", "Too many requests for the user"),
    500: ("InternalServerError", "Internal Server Error"),
    503: ("ServiceUnavailable", "Service unavailable"),
}

_FORM = re.compile(r"^(?P<route>.+)=(?P<what>\d{3}|hang|cut|drop)(?:\*(?P<times>\d+))?$")


@dataclass(slots=True)
class Fault:
    """A fault for requests whose path and query match.

    Attributes:
        route: regular expression, searched in ``/privateIps?subnetId=...``.
        what: HTTP status, or ``hang`` (no answer until the client gives up), ``cut`` (half of
            the answer), ``drop`` (connection closed).
        times: how often; None = always.

    """

    route: str
    what: int | str
    times: int | None = None

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``ROUTE=404``, ``ROUTE=429*3``, ``ROUTE=hang``.

        Raises:
            ValueError: it has another form.

        """
        match = _FORM.match(text)
        if not match:
            raise ValueError(f"{text!r}: a fault is ROUTE=STATUS or ROUTE=hang, cut or drop")
        route, what, times = match.groups()
        number = int(times) if times else None
        return cls(route, int(what) if what.isdigit() else what, number)

    def hits(self, target: str) -> bool:
        """Return whether it strikes now; counts down."""
        if self.times == 0 or not re.search(self.route, target):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Bucket:
    """A token bucket: so many requests a second, and as many at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a token; False when there is none."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
