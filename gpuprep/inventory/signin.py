"""Sign in: from options and profile to something that signs requests.

Each thing that can be wrong with a key or token is found here, before the first request, and
has a message of its own. No message holds key material, a token or a passphrase.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.errors import ConfigError, InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from gpuprep.inventory.options import Options
    from gpuprep.inventory.profile import Profile

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs the requests.

    Attributes:
        auth_type: how, as the option spells it.
        tenancy: OCID of the tenancy; None for principals that do not tell.
        region: home of the first request, e.g. ``us-ashburn-1``.
        signer: signs requests (an SDK object).
        config: what the SDK's client wants beside it.
        principal: as policies name it: ``group <group>`` or ``dynamic-group <dynamic group>``.
        warnings: what is not wrong enough to stop.

    """

    auth_type: str
    tenancy: str | None
    region: str | None
    signer: Any = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    principal: str
    warnings: tuple[str, ...] = ()


def sdk() -> ModuleType:
    """Import the OCI SDK.

    Raises:
        InventoryError: it is not installed for this interpreter.

    """
    # SDKs before lazy loading import 500 MB of service modules without this.
    os.environ.setdefault("OCI_PYTHON_SDK_NO_SERVICE_IMPORTS", "1")
    try:
        import oci  # noqa: PLC0415 - heavy: only when a request is really needed
        import oci.auth.signers  # noqa: PLC0415
        import oci.base_client  # noqa: PLC0415
        import oci.signer  # noqa: PLC0415
    except ImportError as error:
        raise InventoryError(
            f"the OCI SDK is missing for {sys.executable} ({error}); "
            f"install it there: {sys.executable} -m pip install oci"
        ) from None
    module: ModuleType = oci
    return module


def kind_of(options: Options, profile: Profile) -> str:
    """Resolve ``auto``: a profile with a session token uses it, else the API key."""
    if options.auth_type != "auto":
        return options.auth_type
    return "security_token" if profile.values.get("security_token_file") else "api_key"


def sign_in(options: Options, profile: Profile) -> Identity:
    """Make an identity.

    Raises:
        ConfigError: a key, token, file or fingerprint is wrong; says which.
        InventoryError: the SDK is missing, or the principal's own service does not answer.

    """
    kind = kind_of(options, profile)
    if kind in {"api_key", "security_token"}:
        _need_file(profile)
        return _api_key(profile) if kind == "api_key" else _security_token(profile)
    return _principal(kind, profile)


def fingerprint_of(public_der: bytes) -> str:
    """Fingerprint as the console shows it: MD5 over the public key in DER, with colons."""
    digest = hashlib.md5(public_der, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def _need_file(profile: Profile) -> None:
    if profile.found or profile.values.get("key_file"):
        return
    raise ConfigError(
        f"{profile.source}: no such file. Run `oci setup config`, set config_file or "
        "OCI_CONFIG_FILE, or use auth_type: instance_principal on an OCI instance"
    )


def _api_key(profile: Profile) -> Identity:
    user = profile.need("user", "api_user")
    tenancy = profile.need("tenancy", "tenancy")
    claimed = profile.need("fingerprint", "api_user_fingerprint").strip().lower()
    region = profile.need("region", "region")
    path, pem = _key_file(profile)
    with _explained(pem, path):
        signer = sdk().signer.Signer(
            tenancy, user, claimed, None, profile.values.get("pass_phrase"), pem.decode("ascii")
        )
    real = fingerprint_of(_public_der(signer.private_key))
    if claimed != real:
        raise ConfigError(
            f"{profile.source}: fingerprint is {claimed}, but the key in {path} has {real}. "
            "Correct the one that is outdated; the console lists the uploaded keys under "
            "My profile, API keys"
        )
    config = {
        "tenancy": tenancy,
        "user": user,
        "fingerprint": claimed,
        "key_file": str(path),
        "region": region,
    }
    whose = "group <group>"
    return Identity("api_key", tenancy, region, signer, config, whose, _open_to_others(path))


def _security_token(profile: Profile) -> Identity:
    region = profile.need("region", "region")
    path = Path(profile.need("security_token_file", "security_token_file")).expanduser()
    token = _read(path, "security_token_file", profile).decode("ascii", "replace").strip()
    _check_expiry(token, path)
    key_path, pem = _key_file(profile)
    with _explained(pem, key_path):
        key = sdk().signer.load_private_key(pem, profile.values.get("pass_phrase"))
    signer = sdk().auth.signers.SecurityTokenSigner(token, key)
    return Identity(
        "security_token",
        profile.values.get("tenancy"),
        region,
        signer,
        {"region": region},
        "group <group>",
        (*_open_to_others(path), *_open_to_others(key_path)),
    )


def _principal(kind: str, profile: Profile) -> Identity:
    try:
        signer = _principal_signer(kind, profile)
    except (ConfigError, InventoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the SDK raises anything here
        reason = type(error).__name__ + (f": {error.args[0]}" if error.args else "")
        place = "instance" if kind.startswith("instance") else "resource"
        raise InventoryError(
            f"auth_type {kind} does not work here ({reason}). It needs an OCI {place} that "
            "belongs to a dynamic group; elsewhere use auth_type: api_key"
        ) from None
    tenancy = getattr(signer, "tenancy_id", None) or profile.values.get("tenancy")
    region = profile.values.get("region") or getattr(signer, "region", None)
    whose = "group <group>" if kind == "instance_obo_user" else "dynamic-group <dynamic group>"
    return Identity(kind, tenancy, region, signer, {"region": region}, whose)


def _principal_signer(kind: str, profile: Profile) -> Any:  # noqa: ANN401 - an SDK object
    signers = sdk().auth.signers
    if kind == "instance_principal":
        return signers.InstancePrincipalsSecurityTokenSigner()
    if kind == "resource_principal":
        return signers.get_resource_principals_signer()
    if kind == "oke_workload_identity":
        return signers.get_oke_workload_identity_resource_principal_signer()
    path = Path(profile.need("delegation_token_file", "delegation_token_file")).expanduser()
    token = _read(path, "delegation_token_file", profile).decode("ascii", "replace").strip()
    return signers.InstancePrincipalsDelegationTokenSigner(delegation_token=token)


def _key_file(profile: Profile) -> tuple[Path, bytes]:
    path = Path(profile.need("key_file", "api_user_key_file")).expanduser()
    return path, _read(path, "key_file", profile).strip()


@contextmanager
def _explained(pem: bytes, path: Path) -> Iterator[None]:
    """Say which of the things that can be wrong with a key is wrong."""
    errors = sdk().exceptions
    try:
        yield
    except errors.MissingPrivateKeyPassphrase:
        raise ConfigError(
            f"the key {path} is encrypted and no passphrase was given; set "
            "api_user_key_pass_phrase or OCI_USER_KEY_PASS_PHRASE"
        ) from None
    except (errors.InvalidPrivateKey, ValueError, TypeError):
        raise ConfigError(_wrong_key(pem, path)) from None


def _wrong_key(pem: bytes, path: Path) -> str:
    if b"PUBLIC KEY" in pem or pem.startswith(b"ssh-"):
        return f"{path} holds a public key; key_file must name the private one (PEM)"
    if b"ENCRYPTED" in pem:
        return f"the passphrase for the key {path} is wrong"
    return f"{path} holds no private key in PEM form"


def _public_der(key: Any) -> bytes:  # noqa: ANN401 - a key of the cryptography package
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - comes with the SDK

    der: bytes = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def _read(path: Path, key: str, profile: Profile) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{profile.source}: {key} names {path}, which does not exist") from None
    except OSError as error:
        raise ConfigError(f"{profile.source}: {key} {path}: {error.strerror}") from None


def _open_to_others(path: Path) -> tuple[str, ...]:
    mode = path.stat().st_mode
    if not mode & _OTHERS:
        return ()
    return (f"{path} can be read by others (mode {mode & 0o777:04o}); run: chmod 600 {path}",)


def _check_expiry(token: str, path: Path) -> None:
    """Refuse a token whose time is over; one that is no JWT is left to the service to judge."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expires = float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return
    if expires < time.time():
        ago = int((time.time() - expires) / 60)
        raise ConfigError(
            f"the session token {path} expired {ago} minutes ago; run: oci session authenticate"
        )
