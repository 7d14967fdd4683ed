"""Check request signatures as OCI does.

Scheme: docs.oracle.com/en-us/iaas/Content/API/Concepts/signingrequests.htm (draft-cavage HTTP
signatures, version 1, rsa-sha256).
"""

from __future__ import annotations

import base64
import email.utils
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from sandbox.oci.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_ALLOWED_SKEW: Final = timedelta(minutes=5)
_FIELD: Final = re.compile(r'(\w+)="([^"]*)"')
_ABSENT: Final = "The required information to complete authentication was not provided."
WRONG: Final = "The required information to complete authentication was incorrect."
FORGED: Final = "Failed to verify the HTTP(S) Signature"


@dataclass(frozen=True, slots=True)
class Request:
    """What was sent, as far as a signature covers it; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a request says about who signed it.

    Attributes:
        key_id: ``tenancy/user/fingerprint``, ``ST$token`` or ``tenancy/fed-x509/fingerprint``.
        names: the headers it covers.
        algorithm: ``rsa-sha256`` is the only one.
        value: the signature itself, base64.

    """

    key_id: str
    names: tuple[str, ...]
    algorithm: str
    value: str


def read(request: Request, now: datetime) -> Signature:
    """Read a request's signature without checking it.

    Raises:
        RefusedError: it has none, or is too old.

    """
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    parts = dict(_FIELD.findall(rest))
    if scheme.lower() != "signature" or not {"keyId", "signature", "headers"} <= parts.keys():
        raise RefusedError(401, _ABSENT)
    if parts.get("version") != "1":
        raise RefusedError(401, _ABSENT)
    _check_age(request.headers.get("x-date") or request.headers.get("date", ""), now)
    names = tuple(parts["headers"].split())
    return Signature(parts["keyId"], names, parts.get("algorithm", ""), parts["signature"])


def check(signature: Signature, request: Request, key: RSAPublicKey, required: set[str]) -> None:
    """Check that the owner of a key signed this request, and all the headers that count.

    Raises:
        RefusedError: no.

    """
    if "x-date" in request.headers:  # counts instead of the date, which clients cannot always set
        required = {"x-date", *(required - {"date"})}
    if signature.algorithm != "rsa-sha256" or not set(signature.names) >= required:
        raise RefusedError(401, WRONG)
    lines = {
        **request.headers,
        "(request-target)": f"{request.method.lower()} {request.target}",
    }
    text = "\n".join(f"{name}: {lines.get(name, '')}" for name in signature.names)
    try:
        key.verify(
            base64.b64decode(signature.value, validate=True),
            text.encode(),
            padding.PKCS1v15(),
            hashes.SHA256(),
        )
    except (InvalidSignature, ValueError):  # no base64, or not even ASCII
        raise RefusedError(401, FORGED) from None


def _check_age(date: str, now: datetime) -> None:
    try:
        sent = email.utils.parsedate_to_datetime(date)
    except ValueError:
        raise RefusedError(401, _ABSENT) from None
    if sent.tzinfo is None:  # "-0000"
        raise RefusedError(401, _ABSENT)
    if abs(now - sent) <= _ALLOWED_SKEW:
        return
    first, last = now - _ALLOWED_SKEW, now + _ALLOWED_SKEW
    raise RefusedError(
        401,
        f"Date '{_shown(sent)}' is not within allowed clock skew. Current '{_shown(now)}', "
        f"valid datetime range: ['{_shown(first)}', '{_shown(last)}']",
    )


def _shown(when: datetime) -> str:
    return when.strftime("%a, %d %b %Y %H:%M:%S UTC")
