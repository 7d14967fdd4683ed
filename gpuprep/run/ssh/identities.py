"""The keys that ssh would offer to a host, in the order in which it would."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.run.ssh.library import asyncssh

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPEN = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class _Identity:
    """A file of an identity.

    Attributes:
        public: the key's public half, None where only its passphrase would tell.
        key: the key itself, None where it cannot be used without its passphrase.
        certificates: of the key.

    """

    public: bytes | None
    key: asyncssh.SSHKey | None
    certificates: tuple[asyncssh.SSHCertificate, ...]

    def pairs(self) -> list[asyncssh.SSHKeyPair]:
        """Return what can be offered: anew for each connection, since offering changes it."""
        if self.key is None:
            return []
        pairs: list[asyncssh.SSHKeyPair] = []
        for certificate in self.certificates:
            pairs += asyncssh.load_keypairs([(self.key, certificate)])[:1]
        return [*pairs, *asyncssh.load_keypairs([self.key])]


class Identities:
    """Files of identities; each is read again when it has changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, _Identity]] = {}
        self._lock = threading.Lock()

    def read(self, path: str) -> _Identity:
        """Return what is in a file, and in those beside it that belong to it."""
        mark = tuple(map(_mark, (path, f"{path}.pub", f"{path}-cert.pub")))
        with self._lock:
            known = self._known.get(path)
            if known is None or known[0] != mark:
                known = self._known[path] = mark, _read(path)
            return known[1]

    def offered(
        self, files: Sequence[str], agents: Sequence[asyncssh.SSHKeyPair], *, only: bool
    ) -> list[asyncssh.SSHKeyPair]:
        """Return the keys to offer.

        Args:
            files: of identities, in their order.
            agents: the keys of the agent, in its order.
            only: whether those of the agent that no file names are left out.

        """
        read = [self.read(path) for path in files]
        held = {each.public_data: each for each in agents}
        named = [held.pop(each.public) for each in read if each.public in held and each.public]
        taken = {each.public_data for each in named}
        rest = [] if only else [each for each in agents if each.public_data not in taken]
        own = (pair for each in read if each.public not in taken for pair in each.pairs())
        return [*named, *rest, *own]


def _mark(path: str) -> object:
    with contextlib.suppress(OSError):
        info = Path(path).stat()
        return info.st_ino, info.st_mtime_ns, info.st_size, info.st_mode
    return None


def _read(path: str) -> _Identity:
    key, public = None, None
    certificates: tuple[asyncssh.SSHCertificate, ...] = ()
    errors = (OSError, ValueError)  # asyncssh's own are of the latter kind
    with contextlib.suppress(*errors):
        if _is_file(path) and not _is_exposed(path):
            key = asyncssh.read_private_key(path)
            public = key.public_data
    for beside in (f"{path}.pub", path):
        if public is None and _is_file(beside):
            with contextlib.suppress(*errors):
                public = asyncssh.read_public_key(beside).public_data
    if _is_file(f"{path}-cert.pub"):
        with contextlib.suppress(*errors):
            certificates = (asyncssh.read_certificate(f"{path}-cert.pub"),)
    return _Identity(public, key, certificates)


def _is_file(path: str) -> bool:
    """Return whether a path is no pipe: that would be waited for, and all hosts with it."""
    return Path(path).is_file()


def _is_exposed(path: str) -> bool:
    """Return whether ssh ignores a private key, because others may read it."""
    info = Path(path).stat()
    return info.st_uid == os.getuid() and bool(info.st_mode & _OPEN)
