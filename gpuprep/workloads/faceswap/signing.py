"""Content Credentials (C2PA): a signed statement inside the video that it is synthetic.

Made on the controller: the private key never reaches a host. No time-stamp service is asked.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final

from gpuprep.workloads.faceswap.description import TERMS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gpuprep.workloads.faceswap.jobs import C2pa

_FORMAT: Final = "video/mp4"
_GOOD: Final = frozenset({"Valid", "Trusted"})


class SigningError(Exception):
    """A video cannot be signed, or its signature does not verify."""


def manifest(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stated about a video, from its sidecar."""
    tool = str(provenance["tool"])
    name, _, version = tool.partition(" ")
    return {
        "claim_generator_info": [{"name": name, "version": version or "0"}],
        "title": provenance["video"]["name"],
        "format": _FORMAT,
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": TERMS["digital_source_type"],
                            "softwareAgent": {
                                "name": f"Faceswap {provenance['faceswap']['commit']}"
                            },
                        }
                    ]
                },
            }
        ],
    }


def sign(source: Path, target: Path, c2pa: C2pa, provenance: Mapping[str, Any]) -> None:
    """Write a signed copy of a video, and verify it.

    Args:
        source: the video.
        target: its copy.
        c2pa: certificate chain and key.
        provenance: its sidecar.

    Raises:
        SigningError: the package c2pa-python is missing, certificate or key are unfit, or the
            signature does not verify.

    """
    try:
        import c2pa as library  # noqa: PLC0415 - an extra, and large
    except ImportError as error:
        told = "signing needs the package c2pa-python (the extra c2pa)"
        raise SigningError(told) from error
    try:
        info = library.C2paSignerInfo(
            algorithm(c2pa.certificate.read_bytes()).encode(),
            c2pa.certificate.read_bytes(),
            c2pa.key.read_bytes(),
            None,
        )
        with (
            library.Signer.from_info(info) as signer,
            library.Builder(json.dumps(manifest(provenance))) as builder,
            source.open("rb") as before,
            target.open("w+b") as after,
        ):
            builder.sign(signer, _FORMAT, before, after)
    except (library.C2paError, OSError, ValueError) as error:
        raise SigningError(f"the video cannot be signed: {error}") from error
    state = verify(target)
    if state not in _GOOD:
        raise SigningError(f"the signature does not verify: {state}")


def verify(video: Path) -> str:
    """Return the state of a video's signature: ``Valid``, ``Trusted``, ``Invalid``.

    Raises:
        SigningError: there is none that can be read.

    """
    import c2pa as library  # noqa: PLC0415 - an extra, and large

    try:
        with video.open("rb") as handle, library.Reader(_FORMAT, handle) as reader:
            found = json.loads(reader.json())
    except (library.C2paError, OSError, ValueError) as error:
        raise SigningError(f"the signature cannot be read: {error}") from error
    return str(found.get("validation_state"))


def algorithm(certificate: bytes) -> str:
    """Return C2PA's name for the signature algorithm of a certificate's key, by its curve.

    The first certificate of a chain is the one that signs.

    Raises:
        SigningError: it is no PEM certificate, or of a kind of key that C2PA does not know.

    """
    pem = re.search(
        rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", certificate, re.DOTALL
    )
    if pem is None:
        raise SigningError("the certificate is no PEM certificate")
    der = base64.b64decode(b"".join(pem.group(1).split()))
    # Object identifiers, as DER writes them: of the named curves, of Ed25519, of RSA keys.
    known = {
        bytes.fromhex("06082a8648ce3d030107"): "es256",
        bytes.fromhex("06052b81040022"): "es384",
        bytes.fromhex("06052b81040023"): "es512",
        bytes.fromhex("06092a864886f70d010101"): "ps256",
    }
    for mark, name in known.items():
        if mark in der:
            return name
    if bytes.fromhex("06032b6570") in der:
        return "ed25519"
    raise SigningError("the certificate's key is of a kind that C2PA does not know")
