"""Keys and tokens: each thing that can be wrong has a message of its own, before any request."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

import pytest

from gpuprep.errors import ConfigError, InventoryError
from gpuprep.oci import Options, profiles
from gpuprep.oci.signin import sign_in
from sandbox.oci import keys
from sandbox.oci.tenancy import REGION, TENANCY

if TYPE_CHECKING:
    from pathlib import Path

    from gpuprep.oci.signin import Identity

PASSPHRASE = "PASSMARKER"  # noqa: S105 - generated keys only


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return keys.create(tmp_path_factory.mktemp("enc"), TENANCY, REGION, passphrase=PASSPHRASE)


@pytest.fixture
def plain(tmp_path: Path) -> keys.Credentials:
    return keys.create(tmp_path / "plain", TENANCY, REGION)


def enter(credentials: keys.Credentials, **more: str) -> Identity:
    options = Options.from_mapping({"config_file": str(credentials.config), **more})
    return sign_in(options, profiles.load(options))


def edit(credentials: keys.Credentials, old: str, new: str) -> None:
    text = credentials.config.read_text()
    assert old in text
    credentials.config.write_text(text.replace(old, new))


def refusal(credentials: keys.Credentials, **more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        enter(credentials, **more)
    text = str(caught.value)
    assert PASSPHRASE not in text
    assert "PRIVATE KEY" not in text
    return text


def test_a_right_key_signs_in_quietly(plain: keys.Credentials) -> None:
    identity = enter(plain)
    assert identity.auth_type == "api_key"
    assert identity.tenancy == TENANCY
    assert identity.warnings == ()
    assert identity.signer.api_key == plain.key_id


def test_what_windows_and_consoles_add_to_files_does_no_harm(plain: keys.Credentials) -> None:
    """Lines that end in CRLF, a label behind the key, a comment behind a profile's name."""
    key = plain.key_file.read_text().rstrip()
    plain.key_file.write_bytes(f"{key}\nOCI_API_KEY\n".replace("\n", "\r\n").encode())
    edit(plain, "[DEFAULT]", "[DEFAULT] # prod")
    plain.config.write_bytes(plain.config.read_text().replace("\n", "\r\n").encode())
    identity = enter(plain)
    assert (identity.tenancy, identity.region) == (TENANCY, REGION)
    assert identity.signer.api_key == plain.key_id


def test_a_comment_behind_a_value_is_part_of_it_and_shown(plain: keys.Credentials) -> None:
    edit(plain, f"key_file={plain.key_file}", f"key_file={plain.key_file} # mine")
    assert f"key_file names {plain.key_file} # mine, which does not exist" in refusal(plain)


def test_an_encrypted_key_needs_its_passphrase(encrypted: keys.Credentials) -> None:
    assert enter(encrypted, api_user_key_pass_phrase=PASSPHRASE).tenancy == TENANCY
    assert "no passphrase was given" in refusal(encrypted)
    wrong = refusal(encrypted, api_user_key_pass_phrase=PASSPHRASE + "X")
    assert f"the passphrase for the key {encrypted.key_file} is wrong" in wrong


def test_a_missing_key_file_is_named(plain: keys.Credentials) -> None:
    plain.key_file.unlink()
    assert f"key_file names {plain.key_file}, which does not exist" in refusal(plain)


def test_a_key_others_can_read_is_told(plain: keys.Credentials) -> None:
    plain.key_file.chmod(0o644)
    (warning,) = enter(plain).warnings
    assert f"{plain.key_file} can be read by others (mode 0644)" in warning


def test_a_wrong_fingerprint_names_both(plain: keys.Credentials) -> None:
    real = plain.key_id.rsplit("/", 1)[1]
    fake = ":".join(["00"] * 16)
    edit(plain, real, fake)
    text = refusal(plain)
    assert f"fingerprint is {fake}" in text
    assert f"has {real}" in text


def test_a_public_key_is_told_from_a_private_one(plain: keys.Credentials) -> None:
    plain.key_file.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    assert "holds a public key" in refusal(plain)


def test_something_else_is_no_key(plain: keys.Credentials) -> None:
    plain.key_file.write_text("hello\n")
    assert "no private key in PEM form" in refusal(plain)


@pytest.mark.parametrize("key", ["user", "tenancy", "region", "fingerprint", "key_file"])
def test_a_missing_entry_is_named_with_its_option(plain: keys.Credentials, key: str) -> None:
    edit(plain, f"\n{key}=", f"\nx_{key}=")
    text = refusal(plain)
    assert f"{key} is missing" in text
    assert "or set " in text


def test_no_configuration_at_all_says_what_to_do(plain: keys.Credentials) -> None:
    plain.config.unlink()
    text = refusal(plain)
    assert "no such file" in text
    assert "oci setup config" in text
    assert "instance_principal" in text


def session(credentials: keys.Credentials, folder: Path, claims: dict[str, float]) -> None:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    (folder / "token").write_text(f"TOKENHEAD.{body}.TOKENTAIL")
    (folder / "token").chmod(0o600)
    credentials.config.write_text(
        credentials.config.read_text() + f"security_token_file={folder / 'token'}\n"
    )


def test_a_session_token_is_used_when_there_is_one(plain: keys.Credentials, tmp_path: Path) -> None:
    session(plain, tmp_path, {"exp": time.time() + 600})
    identity = enter(plain)
    assert identity.auth_type == "security_token"
    assert identity.signer.api_key.startswith("ST$TOKENHEAD.")
    assert enter(plain, auth_type="api_key").auth_type == "api_key"


def test_an_expired_session_says_how_to_renew_it(plain: keys.Credentials, tmp_path: Path) -> None:
    session(plain, tmp_path, {"exp": time.time() - 600})
    text = refusal(plain)
    assert "expired 10 minutes ago; run: oci session authenticate" in text
    assert "TOKENHEAD" not in text


@pytest.mark.parametrize("kind", ["resource_principal", "oke_workload_identity"])
def test_a_principal_off_the_cloud_says_where_it_works(
    plain: keys.Credentials, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OCI_RESOURCE_PRINCIPAL_VERSION", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InventoryError, match=f"auth_type {kind} does not work here"):
        enter(plain, auth_type=kind)


def test_a_delegation_token_must_be_named(plain: keys.Credentials) -> None:
    assert "delegation_token_file is missing" in refusal(plain, auth_type="instance_obo_user")
