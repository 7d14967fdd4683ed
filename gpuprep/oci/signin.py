"""Sign in: from options and profile to something that signs requests.

Each thing that can be wrong with a key or token is found here, before the first request, and
has a message of its own. No message holds key material, a token or a passphrase.
"""

from __future__ import annotations

import hashlib
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError
from gpuprep.oci import principals
from gpuprep.oci.sdk import sdk
from gpuprep.oci.tokens import refuse_expired, seconds_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gpuprep.oci.options import Options
    from gpuprep.oci.profile import Profile

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
        proof: what signing in has shown, in words.

    """

    auth_type: str
    tenancy: str | None
    region: str | None
    signer: Any = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    principal: str
    warnings: tuple[str, ...] = ()
    proof: str = "can sign requests"


_OF_PROFILES: Final = frozenset({"api_key", "security_token"})


def lacks_file(options: Options, profile: Profile) -> bool:
    """Return whether the file of the profile is missing, and nothing stands for it."""
    is_needed = kind_of(options, profile) in _OF_PROFILES and not profile.values.get("key_file")
    return is_needed and not profile.found


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
    if kind in _OF_PROFILES:
        _need_file(profile)
        return _api_key(profile) if kind == "api_key" else _security_token(profile)
    return _principal(kind, options, profile)


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
    path, content = profile.read("security_token_file", "security_token_file")
    token = content.decode("ascii", "replace").strip()
    refuse_expired(token, f"the session token {path}", "run: oci session authenticate")
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


def _principal(kind: str, options: Options, profile: Profile) -> Identity:
    signer = principals.sign_in(kind, options, profile)
    tenancy = getattr(signer, "tenancy_id", None) or profile.values.get("tenancy")
    region = profile.values.get("region") or getattr(signer, "region", None)
    left = seconds_left(str(getattr(signer, "api_key", "")))
    lasting = "" if left is None else f" good for {left / 60:.0f} minutes"
    whose = "group <group>" if kind == "instance_obo_user" else "dynamic-group <dynamic group>"
    return Identity(
        kind,
        tenancy,
        region,
        signer,
        {"region": region},
        whose,
        proof=f"has a token{lasting}; tenancy {tenancy}, region {region}",
    )


def _key_file(profile: Profile) -> tuple[Path, bytes]:
    path, content = profile.read("key_file", "api_user_key_file")
    return path, content.strip()


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


def _open_to_others(path: Path) -> tuple[str, ...]:
    mode = path.stat().st_mode
    if not mode & _OTHERS:
        return ()
    return (f"{path} can be read by others (mode {mode & 0o777:04o}); run: chmod 600 {path}",)
