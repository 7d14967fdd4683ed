"""Who signed a request to the API: a user, an instance, an instance for a user, a resource."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sandbox.oci import signature, tokens
from sandbox.oci.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from sandbox.oci.authority import Authority

_REQUIRED: Final = {"date", "(request-target)", "host"}
_OF_BODIES: Final = {"content-length", "content-type", "x-content-sha256"}
_DELEGATION: Final = "opc-obo-token"


@dataclass(frozen=True, slots=True)
class Verifier:
    """Knows the keys that may sign.

    Attributes:
        keys: public keys by key id: ``tenancy/user/fingerprint``, or ``ST$token``.
        authority: issued the tokens that are not among the keys.
        clock_offset: seconds that the service's clock is ahead of this machine's.

    """

    keys: Mapping[str, RSAPublicKey]
    authority: Authority
    clock_offset: float = 0.0

    def now(self) -> datetime:
        """Return the service's time."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset)

    def principal(self, request: signature.Request) -> str:
        """Return who signed a request: ``user``, ``instance``, ``delegate`` or ``resource``.

        Raises:
            RefusedError: nobody who may.

        """
        found = signature.read(request, self.now())
        claims = self._session(found.key_id)
        key = tokens.key_of(claims) if claims else self.keys.get(found.key_id)
        if key is None:
            raise RefusedError(401, signature.WRONG)
        bodied = request.method in {"POST", "PUT", "PATCH"}
        signature.check(found, request, key, _REQUIRED | _OF_BODIES if bodied else _REQUIRED)
        if bodied:
            _check_body(request)
        who = str(claims["ptype"]) if claims else "user"
        return self._as_delegate(found, request) if who == "instance" else who

    def _session(self, key_id: str) -> tokens.Claims | None:
        if key_id in self.keys or not key_id.startswith("ST$"):
            return None
        claims = self.authority.claims(key_id.removeprefix("ST$"), self.now())
        return claims if claims and "jwk" in claims else None

    def _as_delegate(self, found: signature.Signature, request: signature.Request) -> str:
        """Check the token by which an instance acts for a user, if there is one."""
        token = request.headers.get(_DELEGATION)
        if token is None:
            if self.authority.delegates_only:
                raise RefusedError(404)  # the instance itself has no policy
            return "instance"
        claims = self.authority.claims(token, self.now())
        signed = _DELEGATION in found.names
        if not signed or claims is None or claims["ptype"] != "delegation":
            raise RefusedError(401, signature.WRONG)
        return "delegate"


def _check_body(request: signature.Request) -> None:
    """Check that the body is the one whose digest was signed."""
    digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
    if request.headers.get("x-content-sha256") != digest:
        raise RefusedError(401, signature.FORGED)
    if request.headers.get("content-length") != str(len(request.body)):
        raise RefusedError(401, signature.FORGED)
