"""Read the tokens that OCI issues (JSON web tokens), to tell when their time is over."""

from __future__ import annotations

import base64
import binascii
import json
import time

from gpuprep.errors import ConfigError


def seconds_left(token: str) -> float | None:
    """Return how long a token is good for, negative when it is over.

    None for one that is no JWT: the service may judge it.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"]) - time.time()
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None


def refuse_expired(token: str, what: str, remedy: str) -> None:
    """Refuse a token whose time is over.

    Args:
        token: as OCI issued it.
        what: its name in messages.
        remedy: how to get a new one.

    Raises:
        ConfigError: it has expired.

    """
    left = seconds_left(token)
    if left is not None and left < 0:
        raise ConfigError(f"{what} expired {int(-left / 60)} minutes ago; {remedy}")
