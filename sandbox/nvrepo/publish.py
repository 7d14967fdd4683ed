"""Index and sign flat apt repositories."""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

IDENTITY = "gpuprep sandbox repository <sandbox@gpuprep.invalid>"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair made for this sandbox, kept in a GnuPG home of its own."""

    home: Path

    @classmethod
    def ensure(cls, home: Path) -> SigningKey:
        """Use the key in `home`; make one on first use."""
        key = cls(home)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with key._alone():
            if not (home / "pubring.kbx").exists():
                parameters = ("--passphrase", "", "--quick-generate-key", IDENTITY, "rsa3072")
                key._gpg(*parameters, "sign", "never")
        return key

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from the agent that gpg starts; it ends with the work."""
        with (self.home / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                agent = ["gpgconf", "--homedir", str(self.home), "--kill", "gpg-agent"]
                subprocess.run(agent, check=True, capture_output=True)

    def _gpg(self, *arguments: str) -> str:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--no-tty", "--quiet"]
        options = ["--pinentry-mode", "loopback"]
        done = subprocess.run(
            [*command, *options, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout

    def fingerprint(self) -> str:
        """Return the full fingerprint, 40 hexadecimal digits."""
        listing = self._gpg("--with-colons", "--list-keys")
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def public(self) -> str:
        """Return the public key, ASCII-armoured."""
        return self._gpg("--export", "--armor")

    def write_keyring(self, target: Path) -> Path:
        """Write the public key in binary form, as apt's keyrings are."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        self._gpg("--export", "--output", str(target))
        return target

    def secret(self) -> bytes:
        """Return the whole key pair, ASCII-armoured."""
        with self._alone():
            return self._gpg("--export-secret-keys", "--armor").encode()

    def sign(self, release: Path) -> None:
        """Write InRelease and Release.gpg beside `release`."""
        with self._alone():
            self._sign(release, "InRelease", "--clear-sign")
            self._sign(release, "Release.gpg", "--armor", "--detach-sign")

    def sign_detached(self, index: Path) -> None:
        """Write the signature of `index` beside it, as dnf looks for it."""
        with self._alone():
            self._sign(index, f"{index.name}.asc", "--armor", "--detach-sign")

    def _sign(self, file: Path, name: str, *mode: str) -> None:
        options = ("--yes", "--digest-algo", "SHA512", "--output", str(file.with_name(name)))
        self._gpg(*options, *mode, str(file))


@dataclass(frozen=True, slots=True)
class Naming:
    """What a repository calls itself, and the file name of its public key."""

    label: str
    key: str


def flat_repository(directory: Path, debs: Iterable[Path], key: SigningKey, names: Naming) -> None:
    """Fill `directory` with the packages, their signed index and the public key.

    The directory is replaced as a whole, so that no reader meets half of a new one.
    """
    stage = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    for deb in debs:
        os.link(deb, stage / deb.name)
    hashes = [f"APT::FTPArchive::{name}=false" for name in ("MD5", "SHA1", "SHA512")]
    options = [part for choice in hashes for part in ("-o", choice)]
    packages = _archive(stage, *options, "packages", ".")
    (stage / "Packages").write_bytes(packages)
    (stage / "Packages.gz").write_bytes(gzip.compress(packages, mtime=0))
    fields = {"Origin": "NVIDIA", "Label": names.label, "Architectures": "amd64"}
    settings = [
        part
        for name, value in fields.items()
        for part in ("-o", f"APT::FTPArchive::Release::{name}={value}")
    ]
    (stage / "Release").write_bytes(_archive(stage, *settings, "release", "."))
    key.sign(stage / "Release")
    (stage / names.key).write_text(key.public())
    shutil.rmtree(directory, ignore_errors=True)
    stage.rename(directory)


def _archive(directory: Path, *arguments: str) -> bytes:
    command = ["apt-ftparchive", "-q", *arguments]
    return subprocess.run(command, check=True, capture_output=True, cwd=directory).stdout
