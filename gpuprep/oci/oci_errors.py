"""What lies behind a failed request: the network, this machine's clock, or no host that is free."""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime
from typing import Final

_NO_CAPACITY: Final = re.compile(r"\bout\s?of\s?(host\s?)?capacity", re.IGNORECASE)
_ALLOWED_SKEW: Final = 240  # seconds; OCI allows 300


def network_reason(error: Exception) -> str:
    """Return the cause in short; the SDK's own text repeats the URL several times."""
    words = {
        "ReadTimeout": "timed out waiting for the answer; raise the option timeout if it is slow",
        "ConnectTimeout": "could not connect in time: check proxy, firewall and region",
        "ConnectionError": "could not connect: check DNS, proxy, firewall and region",
        "SSLError": "TLS failed: check the clock and the proxy's certificate",
        "ProxyError": "the proxy does not answer: check https_proxy and no_proxy",
        "ChunkedEncodingError": "connection broke while the answer came",
        "ProtocolError": "connection broke before the answer came: check proxy and firewall",
    }
    # The SDK's errors wrap those of its HTTP library, which wrap those of the layer below.
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    kinds = [type(one).__name__ for one in (inner, error)]
    return next((words[kind] for kind in kinds if kind in words), kinds[0])


def clock_skew(date: str | None) -> float | None:
    """Seconds this machine is ahead of the answer's Date header; None when there is none."""
    try:
        server = email.utils.parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return (datetime.now(UTC) - server).total_seconds()


def clock_advice(date: str | None) -> str | None:
    """Return what to do about a clock that is so wrong that OCI refuses; see ``clock_skew``."""
    skew = clock_skew(date)
    if skew is None or abs(skew) <= _ALLOWED_SKEW:
        return None
    way = "ahead" if skew > 0 else "behind"
    return f"This machine's clock is {abs(skew):.0f} s {way}: set it (chrony, ntpd)"


def no_capacity(code: str, text: str) -> bool:
    """Return whether OCI says that no host is free: as a 500, which looks like a passing fault."""
    return bool(_NO_CAPACITY.search(text) or _NO_CAPACITY.search(code))
