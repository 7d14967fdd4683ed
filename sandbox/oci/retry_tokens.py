"""Retry tokens: the same request twice is one resource.

As OCI documents them: a token lasts 24 hours, a request that changed nothing does not use it up,
and a token whose resource is gone is refused (409 InvalidatedRetryToken). That another body is
refused in the same way is the emulator's reading of that code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox.oci.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIFETIME: Final = 24 * 3600.0
_LONGEST: Final = 64
_INVALID: Final = (
    "The provided retry token was used in an earlier request that resulted in a system update, "
    "but a subsequent operation invalidated the token."
)


@dataclass(slots=True)
class Tokens:
    """The tokens that were used: digest of the body, OCID of the resource, when."""

    used: dict[str, tuple[str, str, float]] = field(default_factory=dict)

    def earlier(self, token: str | None, body: Mapping[str, Any], now: float) -> str | None:
        """Return the OCID that this very request made before; None when it is new.

        Raises:
            RefusedError: the token is too long, or was used for something else.

        """
        if token is None:
            return None
        if len(token) > _LONGEST:
            raise RefusedError(400, f"opc-retry-token is longer than {_LONGEST} characters")
        digest, ocid, when = self.used.get(token, ("", "", 0.0))
        if not ocid or now - when > _LIFETIME:
            return None
        if digest != _digest(body):
            raise invalidated()
        return ocid

    def use(self, token: str | None, body: Mapping[str, Any], ocid: str, now: float) -> None:
        """Remember what a request made."""
        if token is not None:
            self.used[token] = (_digest(body), ocid, now)


def invalidated() -> RefusedError:
    """Return the refusal of a token that cannot be used again."""
    return RefusedError(409, _INVALID, "InvalidatedRetryToken")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
