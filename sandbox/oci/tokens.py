"""JSON web tokens as OCI issues them: RS256, with the public key of a session inside."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

Claims = dict[str, Any]


def issue(key: rsa.RSAPrivateKey, claims: Mapping[str, Any]) -> str:
    """Make a token."""
    head = _packed({"alg": "RS256", "typ": "JWT", "kid": "sandbox"})
    text = f"{head}.{_packed(claims)}"
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{_encoded(signature)}"


def read(token: str, key: rsa.RSAPublicKey, now: float) -> Claims | None:
    """Return the claims of a token; None when it is forged, expired or none at all.

    Args:
        token: what was presented.
        key: of who should have issued it.
        now: seconds since the epoch.

    """
    text, _, signature = token.rpartition(".")
    try:
        key.verify(_decoded(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims: Claims = json.loads(_decoded(text.split(".")[1]))
    except (InvalidSignature, binascii.Error, IndexError, ValueError):
        return None
    return claims if claims["exp"] > now else None


def jwk(key: rsa.RSAPublicKey) -> str:
    """Describe a session's public key for its token; a JSON text, as in OCI's tokens."""
    numbers = key.public_numbers()
    size = (key.key_size + 7) // 8
    return json.dumps(
        {
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "n": _encoded(numbers.n.to_bytes(size, "big")),
            "e": _encoded(numbers.e.to_bytes(3, "big")),
        }
    )


def key_of(claims: Claims) -> rsa.RSAPublicKey:
    """Return the session's public key that a token is bound to."""
    found = json.loads(claims["jwk"])
    n, e = (int.from_bytes(_decoded(found[name]), "big") for name in ("n", "e"))
    return rsa.RSAPublicNumbers(e, n).public_key()


def _packed(value: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
