"""OpenPGP public keys without gpg, which a bare host need not have.

Standard library only, Python 3.6 or newer. Package managers and this module must never read one
file differently: whatever is not exactly one block of public key packets is an error here.
"""

import base64
import binascii
import hashlib
import re

# Packet tags, RFC 9580 section 5.
SIGNATURE, PUBLIC_KEY, TRUST, USER_ID, PUBLIC_SUBKEY, USER_ATTRIBUTE = 2, 6, 12, 13, 14, 17
ALLOWED = (SIGNATURE, PUBLIC_KEY, TRUST, USER_ID, PUBLIC_SUBKEY, USER_ATTRIBUTE)
VERSION_4 = 4
LINE = 64  # characters of an armoured line

# Nothing may be before, between or behind: some readers take every block of a file, some the first.
_ARMOUR = re.compile(
    r"\s*-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
    r"(?:(?:Version|Comment|Hash|Charset): [^\n]*\n)*"
    r"\n"
    r"((?:[A-Za-z0-9+/]+={0,2}\n)+)"
    r"(?:=([A-Za-z0-9+/]{4})\n)?"
    r"-----END PGP PUBLIC KEY BLOCK-----\s*"
)


def dearmor(data):
    """Return the binary form of a key file that may be ASCII-armoured.

    Raises ValueError when it is neither binary nor exactly one armoured block.
    """
    if data[:1] >= b"\x80":
        return data
    try:
        text = data.decode("ascii").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ValueError("no OpenPGP version 4 public key in the file: it is not ASCII") from None
    block = _ARMOUR.fullmatch(text)
    if block is None:
        if text.count("-----BEGIN PGP ") > 1:
            raise ValueError("the file holds more than one OpenPGP block")
        raise ValueError("no OpenPGP version 4 public key in the file, or text around it")
    try:
        body = base64.b64decode(block.group(1).replace("\n", ""), validate=True)
    except binascii.Error as error:
        raise ValueError("the key's text is damaged: %s" % error) from None
    if block.group(2) and block.group(2) != _checksum(body):
        raise ValueError("the key's text does not agree with its checksum")
    return body


def armor(data):
    """Return key packets as ASCII-armoured bytes."""
    body = base64.b64encode(data).decode("ascii")
    lines = [body[start : start + LINE] for start in range(0, len(body), LINE)]
    head, tail = ("-----%s PGP PUBLIC KEY BLOCK-----" % word for word in ("BEGIN", "END"))
    return "\n".join([head, "", *lines, "=" + _checksum(data), tail, ""]).encode("ascii")


def _checksum(data):
    """Return the armour's CRC-24 as text, RFC 9580 section 6.1."""
    crc = 0xB704CE
    for byte in bytearray(data):
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return base64.b64encode((crc & 0xFFFFFF).to_bytes(3, "big")).decode("ascii")


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


def _packet(tag, body):
    """Return a packet with the shortest header that all readers know."""
    if tag < 16:
        size = 0 if len(body) < 1 << 8 else 1 if len(body) < 1 << 16 else 2
        return bytes((0x80 | tag << 2 | size,)) + len(body).to_bytes(1 << size, "big") + body
    return bytes((0xC0 | tag, 255)) + len(body).to_bytes(4, "big") + body


def _read(data):
    """Return the packets of a key file, all of them parts of version 4 public keys."""
    try:
        found = list(packets(dearmor(data)))
    except IndexError:
        raise ValueError("the key ends in the middle of a packet") from None
    tags = [tag for tag, _ in found]
    if PUBLIC_KEY not in tags or tags[0] != PUBLIC_KEY:
        raise ValueError("no OpenPGP version 4 public key in the file")
    if not set(tags) <= set(ALLOWED):
        raise ValueError("the file holds more than public keys")
    if any(body[:1] != bytes((VERSION_4,)) for tag, body in found if tag == PUBLIC_KEY):
        raise ValueError("no OpenPGP version 4 public key in the file, but another version")
    return found


def _fingerprint(body):
    """Return the fingerprint of a version 4 key, RFC 9580 section 5.5.4.2."""
    data = b"\x99" + len(body).to_bytes(2, "big") + body
    return hashlib.sha1(data).hexdigest().upper()  # noqa: S324


def fingerprints(data):
    """Return the upper-case hexadecimal fingerprints of all primary keys in a key file.

    Raises ValueError when the data is anything but one block of version 4 public keys.
    """
    found = [body for tag, body in _read(data) if tag == PUBLIC_KEY]
    if any(len(body) >= 1 << 16 for body in found):
        raise ValueError("no OpenPGP version 4 public key is that long")
    return [_fingerprint(body) for body in found]


def without_version(data):
    """Return an armoured key file without its lines ``Version: ...``, which vary by who made it."""
    lines = data.split(b"\n")
    return b"\n".join(line for line in lines if not line.startswith(b"Version"))


def file_with_sum(data, sha256):
    """Return a key file that has this checksum without its ``Version`` line, and no such line.

    Raises ValueError when it has another one, or holds anything but one primary key.
    """
    plain = without_version(data)
    found, held = hashlib.sha256(plain).hexdigest(), fingerprints(plain)
    if found != sha256:
        words = (found, sha256, ", ".join(held))
        raise ValueError("its file has the checksum %s, expected %s; it holds %s" % words)
    if len(held) != 1:
        raise ValueError("its file holds more than one key")
    return plain


def only_key(data, fingerprint):
    """Return the packets of a file that holds exactly this one primary key, written anew.

    Raises ValueError, with the fingerprints found, when it holds anything else.
    """
    found = fingerprints(data)
    if found != [fingerprint]:
        raise ValueError("it has fingerprint %s, expected %s" % (", ".join(found), fingerprint))
    return b"".join(_packet(tag, body) for tag, body in _read(data) if tag != TRUST)
