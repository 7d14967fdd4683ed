"""A substitute for OCI's sign-in service and for the metadata service of one instance.

The instance proves itself with a certificate and gets a token for a key that it has just made.
Keys and certificates are made when they are first needed, and live as long as the emulator.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sandbox.oci import keys, signature, tokens
from sandbox.oci.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTANCE: Final = "ocid1.instance.oc1.iad.sandboxcontroller"
FUNCTION: Final = "ocid1.fnfunc.oc1.iad.sandboxfunction"
COMPARTMENT: Final = "ocid1.compartment.oc1..sandboxcontrollers"
_SIGNED: Final = {
    "date", "(request-target)", "content-length", "content-type", "x-content-sha256"
}  # fmt: skip
# The metadata service abbreviates the oldest regions. Source: oci.regions (oci 2.189).
_SHORT: Final = {"us-ashburn-1": "iad", "us-phoenix-1": "phx"}


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def pem(self) -> bytes:
        """Return the certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the private key."""
        return keys.pem(self.key)


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates from the one that signs itself, and all tokens, down to the instance's."""

    root: Certified
    intermediate: Certified
    leaf: Certified


class Authority:
    """Knows one tenancy and one of its instances.

    Attributes:
        lifetime: seconds that a token is good for.
        delegates_only: whether the instance may do nothing but act for a user.

    """

    def __init__(self, tenancy: str, user: str, region: str) -> None:
        self.lifetime = 20 * 60.0
        self.delegates_only = False
        self._tenancy, self._user, self._region = tenancy, user, region
        self._chain: Chain | None = None
        self._making = threading.Lock()

    # --- the metadata service ------------------------------------------------------------------

    def metadata(self, path: str, headers: Mapping[str, str]) -> bytes:
        """Answer a request to the instance's metadata service, version 2.

        Raises:
            RefusedError: the header against forged requests is missing, or there is no such path.

        """
        if headers.get("authorization") != "Bearer Oracle":
            raise RefusedError(401, "the header Authorization: Bearer Oracle is missing")
        if path == "/opc/v2/instance/region":
            return _SHORT.get(self._region, self._region).encode()
        chain = self.chain
        found = {
            "/opc/v2/identity/cert.pem": chain.leaf.pem,
            "/opc/v2/identity/key.pem": chain.leaf.key_pem,
            "/opc/v2/identity/intermediate.pem": chain.intermediate.pem,
        }.get(path)
        if found is None:
            raise RefusedError(404)
        return found()

    # --- the sign-in service -------------------------------------------------------------------

    def federate(self, request: signature.Request, now: datetime) -> str:
        """Give the instance a token for the session key that it sends.

        Raises:
            RefusedError: the request is not signed by an instance of this tenancy.

        """
        found = signature.read(request, now)
        leaf, chain, session = _asked(request.body)
        digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
        print_ = leaf.fingerprint(hashes.SHA1()).hex(":").upper()  # noqa: S303 - OCI's key id
        if (
            request.headers.get("x-content-sha256") != digest
            or found.key_id != f"{self._tenancy}/fed-x509/{print_}"
            or not self._trusts(leaf, chain, now)
        ):
            raise RefusedError(401, signature.WRONG)
        signature.check(found, request, _rsa(leaf.public_key()), _SIGNED)
        return self._token(
            now,
            sub=INSTANCE,
            ptype="instance",
            jwk=tokens.jwk(session),
            **{"opc-instance": INSTANCE, "opc-compartment": COMPARTMENT},
        )

    def resource_token(self, session: rsa.RSAPublicKey, now: datetime) -> str:
        """Give a resource its session token, as the platform that runs it does."""
        return self._token(
            now,
            sub=FUNCTION,
            ptype="resource",
            jwk=tokens.jwk(session),
            res_id=FUNCTION,
            res_type="fnfunc",
            res_tenant=self._tenancy,
            res_compartment=COMPARTMENT,
        )

    def delegation_token(self, now: datetime) -> str:
        """Return the token by which an instance may act for the user."""
        return self._token(now, sub=self._user, ptype="delegation", delegate=INSTANCE)

    def claims(self, token: str, now: datetime) -> tokens.Claims | None:
        """Return the claims of a token that was issued here and is still good."""
        return tokens.read(token, self.chain.root.key.public_key(), now.timestamp())

    def _token(self, now: datetime, **claims: str) -> str:
        issued = now.timestamp()
        common = {
            "iss": "authService.oracle.com",
            "aud": "oci",
            "tenant": self._tenancy,
            "iat": int(issued),
            "exp": int(issued + self.lifetime),
        }
        return tokens.issue(self.chain.root.key, common | claims)

    # --- certificates --------------------------------------------------------------------------

    @property
    def chain(self) -> Chain:
        """The instance's certificate and those above it."""
        with self._making:
            if self._chain is None:
                units = ("opc-certtype:instance", f"opc-compartment:{COMPARTMENT}",
                         f"opc-instance:{INSTANCE}", f"opc-tenant:{self._tenancy}")  # fmt: skip
                root = certified("sandbox root", None)
                intermediate = certified("PKISVC Identity Intermediate sandbox", root)
                self._chain = Chain(root, intermediate, certified(INSTANCE, intermediate, units))
            return self._chain

    def _trusts(self, leaf: x509.Certificate, chain: list[x509.Certificate], now: datetime) -> bool:
        links = [leaf, *chain, self.chain.root.certificate]
        try:
            for one, above in pairwise(links):
                one.verify_directly_issued_by(above)
        except (InvalidSignature, TypeError, ValueError):
            return False
        units = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return f"opc-tenant:{self._tenancy}" in {one.value for one in units} and all(
            one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in links
        )


def certified(
    name: str,
    issuer: Certified | None,
    units: tuple[str, ...] = (),
    days: int = 30,
) -> Certified:
    """Make a key and a certificate for it; without an issuer, one that signs itself."""
    key = keys.new()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            *(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .sign(issuer.key if issuer else key, hashes.SHA256())
    )
    return Certified(certificate, key)


def _asked(body: bytes) -> tuple[x509.Certificate, list[x509.Certificate], rsa.RSAPublicKey]:
    """Read what an instance sends: its certificate, those above it, and its session key."""
    try:
        asked = json.loads(body)
        leaf, *chain = (
            x509.load_der_x509_certificate(base64.b64decode(one))
            for one in (asked["certificate"], *asked["intermediateCertificates"])
        )
        key = serialization.load_der_public_key(base64.b64decode(asked["publicKey"]))
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise RefusedError(400, f"the request cannot be read: {error}") from None
    return leaf, chain, _rsa(key)


def _rsa(key: object) -> rsa.RSAPublicKey:
    if not isinstance(key, rsa.RSAPublicKey):
        raise RefusedError(400, "no RSA key")
    return key
