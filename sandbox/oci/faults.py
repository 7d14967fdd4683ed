"""Things that go wrong on purpose: refusals, throttling, silence, answers cut short or lost."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass

from sandbox.oci.refusals import RefusedError

_FORM = re.compile(
    r"^(?P<route>.+)=(?P<what>\d{3}|hang|cut|drop|lost)"
    r"(?::(?P<code>[A-Za-z]+)(?::(?P<message>.*?))?)?(?:\*(?P<times>\d+))?$"
)


@dataclass(slots=True)
class Fault:
    """A fault for requests whose method, path and query match.

    Attributes:
        route: regular expression, searched in ``GET /privateIps?subnetId=...``.
        what: HTTP status, or ``hang`` (no answer until the client gives up), ``cut`` (half of
            the answer), ``drop`` (connection closed, nothing done), ``lost`` (done, and the
            connection closed instead of an answer).
        times: how often; None = always.
        code: OCI's error code; None = the usual one of the status.
        message: OCI's message; None = the usual one.

    """

    route: str
    what: int | str
    times: int | None = None
    code: str | None = None
    message: str | None = None

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``ROUTE=429*3``, ``ROUTE=500:InternalError:Out of host capacity.``, ``ROUTE=hang``.

        Raises:
            ValueError: it has another form.

        """
        match = _FORM.match(text)
        if not match or (match["code"] and not match["what"].isdigit()):
            raise ValueError(
                f"{text!r}: a fault is ROUTE=STATUS[:CODE[:MESSAGE]][*TIMES], or ROUTE=hang, cut, "
                "drop or lost"
            )
        route, what, code, message, times = match.groups()
        number = int(times) if times else None
        return cls(route, int(what) if what.isdigit() else what, number, code, message)

    @property
    def refusal(self) -> RefusedError:
        """The answer of a fault that is a status."""
        return RefusedError(int(self.what), self.message, self.code)

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
