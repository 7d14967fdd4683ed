"""Check request signatures as OCI does.

Scheme: docs.oracle.com/en-us/iaas/Content/API/Concepts/signingrequests.htm (draft-cavage HTTP
signatures, version 1, rsa-sha256).
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_ALLOWED_SKEW: Final = timedelta(minutes=5)
_REQUIRED: Final = {"date", "(request-target)", "host"}
_FIELD: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Verifier:
    """Knows the keys that may sign.

    Attributes:
        keys: public keys by key id: ``tenancy/user/fingerprint``, or ``ST$token``.
        clock_offset: seconds that the service's clock is ahead of this machine's.

    """

    keys: Mapping[str, RSAPublicKey]
    clock_offset: float = 0.0

    def now(self) -> datetime:
        """Give the service's time."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset)

    def fault(self, method: str, target: str, headers: Mapping[str, str]) -> str | None:
        """Say what is wrong with a request's signature; None when it is right."""
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        parts = dict(_FIELD.findall(rest))
        if scheme.lower() != "signature" or not {"keyId", "signature", "headers"} <= parts.keys():
            return "The required information to complete authentication was not provided."
        late = self._skew(headers.get("date", ""))
        if late:
            return late
        signed = parts["headers"].split()
        key = self.keys.get(parts["keyId"])
        if key is None or parts.get("algorithm") != "rsa-sha256" or not set(signed) >= _REQUIRED:
            return "The required information to complete authentication was incorrect."
        lines = {**headers, "(request-target)": f"{method.lower()} {target}"}
        text = "\n".join(f"{name}: {lines.get(name, '')}" for name in signed)
        try:
            key.verify(
                base64.b64decode(parts["signature"], validate=True),
                text.encode(),
                padding.PKCS1v15(),
                hashes.SHA256(),
            )
        except (InvalidSignature, binascii.Error):
            return "Failed to verify the HTTP(S) Signature"
        return None

    def _skew(self, date: str) -> str | None:
        try:
            sent = email.utils.parsedate_to_datetime(date)
        except ValueError:
            return "The required information to complete authentication was not provided."
        now = self.now()
        if abs(now - sent) <= _ALLOWED_SKEW:
            return None
        first, last = now - _ALLOWED_SKEW, now + _ALLOWED_SKEW
        return (
            f"Date '{_shown(sent)}' is not within allowed clock skew. Current '{_shown(now)}', "
            f"valid datetime range: ['{_shown(first)}', '{_shown(last)}']"
        )


def _shown(when: datetime) -> str:
    return when.strftime("%a, %d %b %Y %H:%M:%S UTC")
