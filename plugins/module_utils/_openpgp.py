"""Fingerprints of OpenPGP public keys, without gpg (a bare host need not have it).

Private to the collection. Standard library only, Python 3.6 or newer; the observation script
carries this text as well.
"""

import base64
import hashlib
import re

PUBLIC_KEY = 6  # packet tag, RFC 9580 section 5
VERSION_4 = 4


def dearmor(data):
    """Binary form of a key that may be ASCII-armoured."""
    text = data.decode("ascii", "ignore")
    block = re.search(
        r"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----",
        text,
        re.S,
    )
    if block is None:
        return data
    body = block.group(1).replace("\r", "")
    if "\n\n" in body:
        body = body.split("\n\n", 1)[1]  # drop armour headers such as Version:
    lines = [line for line in body.split("\n") if line and not line.startswith("=")]
    return base64.b64decode("".join(lines))


def packets(data):
    """Yield (tag, body) of each packet; ValueError when the framing is broken."""
    position = 0
    while position < len(data):
        first = data[position]
        if not first & 0x80:
            raise ValueError("not an OpenPGP packet at byte %d" % position)
        if first & 0x40:
            tag = first & 0x3F
            length = data[position + 1]
            start = position + 2
            if 192 <= length < 224:
                length = ((length - 192) << 8) + data[position + 2] + 192
                start = position + 3
            elif length == 255:
                length = int.from_bytes(data[position + 2 : position + 6], "big")
                start = position + 6
            elif length >= 224:
                raise ValueError("a packet of unknown length at byte %d" % position)
        else:
            tag = first >> 2 & 0x0F
            size = 1 << (first & 3)
            if size == 8:
                raise ValueError("a packet of unknown length at byte %d" % position)
            length = int.from_bytes(data[position + 1 : position + 1 + size], "big")
            start = position + 1 + size
        if start + length > len(data):
            raise ValueError("the key ends in the middle of a packet")
        yield tag, data[start : start + length]
        position = start + length


def _sha1(data):
    """What version 4 fingerprints are made with, RFC 9580 section 5.5.4.2."""
    return hashlib.sha1(data).hexdigest().upper()  # noqa: S324


def fingerprints(data):
    """Upper-case hexadecimal fingerprints of all primary keys (version 4) in a key file.

    Raises ValueError when the data holds no OpenPGP public key.
    """
    try:
        found = [
            _sha1(b"\x99" + len(body).to_bytes(2, "big") + body)
            for tag, body in packets(dearmor(data))
            if tag == PUBLIC_KEY and body[0] == VERSION_4
        ]
    except IndexError:
        raise ValueError("the key ends in the middle of a packet") from None
    if not found:
        raise ValueError("no OpenPGP version 4 public key in the file")
    return found
