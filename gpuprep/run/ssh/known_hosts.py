"""Files of known hosts, read as ssh reads them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AUTHORITY: Final = "@cert-authority"
REVOKED: Final = "@revoked"
_HASHED: Final = "|1|"


@dataclass(frozen=True, slots=True)
class Keys:
    """Public keys, each as ``TYPE BASE64``.

    Attributes:
        own: of the host itself.
        authorities: that certify its keys.
        revoked: that must not be taken.

    """

    own: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    marker: str
    names: str
    key: str

    def is_of(self, name: str) -> bool:
        """Return whether the entry speaks of a host."""
        if self.names.startswith("|"):
            return _is_hash_of(self.names, name)
        return _matches(name, self.names)


class _File:
    """One file; what is plainly named is found without looking at all of it."""

    def __init__(self, text: str) -> None:
        self._plain: dict[str, list[_Entry]] = {}
        self._others: list[_Entry] = []
        for entry in _entries(text):
            names = entry.names.lower().split(",")
            if any(sign in entry.names for sign in "|*?!"):
                self._others.append(entry)
                continue
            for name in names:
                self._plain.setdefault(name, []).append(entry)

    def entries(self, name: str) -> Iterator[_Entry]:
        """Return the entries that speak of a host."""
        yield from self._plain.get(name, ())
        yield from (entry for entry in self._others if entry.is_of(name))


class KnownHosts:
    """All that some files say; each is read again when it has changed."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[tuple[int, ...], _File]] = {}
        self._lock = threading.Lock()

    def keys(self, files: Iterable[str], names: Iterable[str]) -> Keys:
        """Return the keys under the first name of a host that there are any for.

        Args:
            files: their paths; what is not there says nothing.
            names: of the host, as ssh looks for them: with its port, and without.

        """
        read = [file for path in files if (file := self._file(path))]
        own: tuple[str, ...] = ()
        authorities: tuple[str, ...] = ()
        revoked: list[str] = []
        for name in map(str.lower, names):
            found = [entry for file in read for entry in file.entries(name)]
            revoked += [entry.key for entry in found if entry.marker == REVOKED]
            if not own and not authorities:
                own = tuple(entry.key for entry in found if not entry.marker)
                authorities = tuple(e.key for e in found if e.marker == AUTHORITY)
        return Keys(own, authorities, tuple(revoked))

    def _file(self, path: str) -> _File | None:
        with contextlib.suppress(OSError):
            place = Path(path)
            info = place.stat()
            mark = (info.st_ino, info.st_mtime_ns, info.st_size)
            with self._lock:
                known = self._files.get(path)
                if known is None or known[0] != mark:
                    text = place.read_text(encoding="utf-8", errors="surrogateescape")
                    known = self._files[path] = mark, _File(text)
                return known[1]
        return None


def _entries(text: str) -> Iterator[_Entry]:
    for line in text.split("\n"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) < 3 or marker not in {"", AUTHORITY, REVOKED}:  # noqa: PLR2004 - names, type, key
            continue
        yield _Entry(marker, words[0], f"{words[1]} {words[2]}")


def _is_hash_of(text: str, name: str) -> bool:
    if not text.startswith(_HASHED):
        return False
    salt, digest = _hash(text)
    return bool(digest) and hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


@lru_cache(maxsize=1 << 16)
def _hash(text: str) -> tuple[bytes, bytes]:
    try:
        salt, digest = (base64.b64decode(part) for part in text[len(_HASHED) :].split("|"))
    except (ValueError, binascii.Error):
        return b"", b""
    return salt, digest


def _matches(name: str, patterns: str) -> bool:
    """Return whether a name is one of a list of patterns, and none of those that are excluded.

    >>> _matches("a.example", "*.example,!b.example"), _matches("b.example", "*.example,!b.example")
    (True, False)
    """
    found = False
    for pattern in patterns.lower().split(","):
        if _pattern(pattern.removeprefix("!")).fullmatch(name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


@lru_cache(maxsize=1 << 12)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."))
