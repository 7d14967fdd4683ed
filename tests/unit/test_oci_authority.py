"""The emulator's sign-in service believes nobody: each part of a request counts."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.oci import keys, tokens
from sandbox.oci.authority import Authority, Certified, certified
from sandbox.oci.refusals import RefusedError
from sandbox.oci.signature import Request
from sandbox.oci.verifier import Verifier

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

TENANCY = "ocid1.tenancy.oc1..one"
GENERIC = ("date", "(request-target)", "host")
OBO = "opc-obo-token"
SESSION = keys.new()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(TENANCY, keys.USER, "us-ashburn-1")


@pytest.fixture(scope="module")
def verifier(authority: Authority) -> Verifier:
    return Verifier({}, authority)


def signed(request: Request, key_id: str, key: RSAPrivateKey, *names: str) -> Request:
    lines = {
        **request.headers,
        "(request-target)": f"{request.method.lower()} {request.target}",
    }
    text = "\n".join(f"{name}: {lines[name]}" for name in names)
    value = base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    scheme = (
        f'Signature algorithm="rsa-sha256",headers="{" ".join(names)}",keyId="{key_id}",'
        f'signature="{value}",version="1"'
    )
    return replace(request, headers={**request.headers, "authorization": scheme})


def asking(leaf: Certified, *above: Certified) -> Request:
    """What an instance sends, written down once more, without the SDK."""
    public = SESSION.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    packed = [
        base64.b64encode(one.certificate.public_bytes(Encoding.DER)).decode()
        for one in (leaf, *above)
    ]
    body = json.dumps(
        {
            "certificate": packed[0],
            "intermediateCertificates": packed[1:],
            "publicKey": base64.b64encode(public).decode(),
        }
    ).encode()
    headers = {
        "date": formatdate(usegmt=True),
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-content-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
    }
    print_ = leaf.certificate.fingerprint(hashes.SHA1()).hex(":").upper()  # noqa: S303 - OCI's
    names = ("date", "(request-target)", "content-length", "content-type", "x-content-sha256")
    request = Request("POST", "/v1/x509", headers, body)
    return signed(request, f"{TENANCY}/fed-x509/{print_}", leaf.key, *names)


def refused(authority: Authority, verifier: Verifier, request: Request) -> int:
    with pytest.raises(RefusedError) as caught:
        authority.federate(request, verifier.now())
    return caught.value.status


def test_an_instance_gets_a_token_for_its_session_key(
    authority: Authority, verifier: Verifier
) -> None:
    chain = authority.chain
    token = authority.federate(asking(chain.leaf, chain.intermediate), verifier.now())
    claims = authority.claims(token, verifier.now())
    assert claims is not None
    assert tokens.key_of(claims).public_numbers() == SESSION.public_key().public_numbers()
    assert claims["tenant"] == TENANCY
    assert claims["exp"] - claims["iat"] == authority.lifetime


def test_only_an_unbroken_chain_is_trusted(authority: Authority, verifier: Verifier) -> None:
    chain = authority.chain
    units = (f"opc-tenant:{TENANCY}",)
    stranger = certified("stranger", None)
    of_stranger = certified("instance", stranger, units)
    of_other_tenancy = certified("instance", chain.intermediate, ("opc-tenant:other",))
    outdated = certified("instance", chain.intermediate, units, days=0)
    for request in (
        asking(chain.leaf),
        asking(of_stranger, stranger),
        asking(of_stranger, chain.intermediate),
        asking(of_other_tenancy, chain.intermediate),
        asking(outdated, chain.intermediate),
    ):
        assert refused(authority, verifier, request) == 401


def test_what_was_changed_on_the_way_is_refused(authority: Authority, verifier: Verifier) -> None:
    chain = authority.chain
    good = asking(chain.leaf, chain.intermediate)
    theft = keys.new().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    asked = {**json.loads(good.body), "publicKey": base64.b64encode(theft).decode()}
    body = json.dumps(asked).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    redated = {**good.headers, "x-content-sha256": digest}
    assert refused(authority, verifier, replace(good, body=body)) == 401
    assert refused(authority, verifier, replace(good, body=body, headers=redated)) == 401
    assert refused(authority, verifier, replace(good, target="/v1/x508")) == 401
    assert refused(authority, verifier, replace(good, body=b"{}")) == 400


def test_the_key_stays_behind_its_header(authority: Authority) -> None:
    header = {"authorization": "Bearer Oracle"}
    path = "/opc/v2/identity/key.pem"
    assert b"PRIVATE KEY" in authority.metadata(path, header)
    assert authority.metadata("/opc/v2/instance/region", header) == b"iad"
    for path_, headers, status in ((path, {}, 401), ("/opc/v2/other", header, 404)):
        with pytest.raises(RefusedError) as caught:
            authority.metadata(path_, headers)
        assert caught.value.status == status


# --- requests to the API -----------------------------------------------------------------------


def token_of(authority: Authority, verifier: Verifier) -> str:
    chain = authority.chain
    return authority.federate(asking(chain.leaf, chain.intermediate), verifier.now())


def call(token: str, *names: str, key: RSAPrivateKey = SESSION, **headers: str) -> Request:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    common = {"date": formatdate(usegmt=True), "host": "127.0.0.1", **more}
    request = Request("GET", "/20160918/instances", common)
    return signed(request, f"ST${token}", key, *GENERIC, *names)


def status(verifier: Verifier, request: Request) -> int:
    with pytest.raises(RefusedError) as caught:
        verifier.principal(request)
    return caught.value.status


def test_a_token_is_good_with_its_own_key_only(authority: Authority, verifier: Verifier) -> None:
    token = token_of(authority, verifier)
    assert verifier.principal(call(token)) == "instance"
    assert status(verifier, call(token, key=keys.new())) == 401
    head, _, signature = token.rpartition(".")
    assert status(verifier, call(f"{head}.{signature[::-1]}")) == 401
    assert status(verifier, call("no token")) == 401


def test_a_token_ends(authority: Authority) -> None:
    early = Verifier({}, authority)
    token = token_of(authority, early)
    late = Verifier({}, authority, clock_offset=authority.lifetime + 1)
    ahead = formatdate(late.now().timestamp(), usegmt=True)
    assert early.principal(call(token)) == "instance"
    assert status(late, call(token, date=ahead)) == 401


def test_a_delegation_token_must_be_signed_along(authority: Authority, verifier: Verifier) -> None:
    token = token_of(authority, verifier)
    obo = authority.delegation_token(verifier.now())
    assert verifier.principal(call(token, OBO, opc_obo_token=obo)) == "delegate"
    assert status(verifier, call(token, opc_obo_token=obo)) == 401
    assert status(verifier, call(token, OBO, opc_obo_token=token)) == 401
    assert status(verifier, call(obo)) == 401  # names no key: signs nothing


def test_an_instance_without_rights_of_its_own_needs_a_delegation_token(verifier: Verifier) -> None:
    bound = Authority(TENANCY, keys.USER, "us-ashburn-1")
    bound.delegates_only = True
    seen = Verifier({}, bound)
    token = token_of(bound, seen)
    assert status(seen, call(token)) == 404
    obo = bound.delegation_token(seen.now())
    assert seen.principal(call(token, OBO, opc_obo_token=obo)) == "delegate"
    assert status(verifier, call(token)) == 401  # another service issued it


def test_a_resource_signs_with_the_key_it_was_given(
    authority: Authority, verifier: Verifier
) -> None:
    token = authority.resource_token(SESSION.public_key(), verifier.now())
    assert verifier.principal(call(token)) == "resource"
    assert status(verifier, call(token, key=keys.new())) == 401
