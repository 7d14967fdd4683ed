"""Whether a text is a public key of OpenSSH, and a whole one. Pure."""

from __future__ import annotations

import base64
import binascii


def is_public_key(kind: str, blob: str) -> bool:
    """Return whether a blob is a key of its kind: fields to its very end, the first its kind."""
    try:
        content = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    fields, at = [], 0
    while at + 4 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        fields.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return at == len(content) and len(fields) > 1 and fields[0] == kind.encode()
