"""Keys and the SDK's configuration, generated afresh; nothing of it is ever a real secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from pathlib import Path

USER: Final = "ocid1.user.oc1..sandboxoperator"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and the configuration file that names it.

    Attributes:
        config: the SDK's configuration file.
        key_file: private key, PEM.
        key_id: as in signatures: ``tenancy/user/fingerprint``.
        public_key: what the emulator verifies with.

    """

    config: Path
    key_file: Path
    key_id: str
    public_key: rsa.RSAPublicKey


def fingerprint(key: rsa.RSAPublicKey) -> str:
    """Fingerprint as OCI's console shows it."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashlib.md5(der, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def create(folder: Path, tenancy: str, region: str, passphrase: str | None = None) -> Credentials:
    """Make a key and a configuration in the folder, or take the ones that are there.

    Args:
        folder: made when missing, for the owner only.
        tenancy: OCID.
        region: the profile's region.
        passphrase: encrypts the key; it is not written into the configuration.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file, config = folder / "api_key.pem", folder / "config"
    if not key_file.exists():
        write(key_file, pem(new(), passphrase))
    secret = passphrase.encode() if passphrase else None
    key = serialization.load_pem_private_key(key_file.read_bytes(), secret)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{key_file} holds no RSA key; remove it")
    print_ = fingerprint(key.public_key())
    write(
        config,
        f"[DEFAULT]\nuser={USER}\ntenancy={tenancy}\nregion={region}\n"
        f"fingerprint={print_}\nkey_file={key_file}\n".encode(),
    )
    return Credentials(config, key_file, f"{tenancy}/{USER}/{print_}", key.public_key())


def new() -> rsa.RSAPrivateKey:
    """Make a key of the kind that OCI wants."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey, passphrase: str | None = None) -> bytes:
    """Return a private key as a file holds it."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def write(path: Path, content: bytes) -> None:
    """Write a file for the owner only."""
    path.touch(mode=0o600)
    path.write_bytes(content)
