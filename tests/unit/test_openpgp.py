"""Fingerprints of repository keys, read without gpg; gpg itself is the judge."""

import base64
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).parents[2] / "gpuprep/on_host/openpgp.py"
ALGORITHMS = ("rsa2048", "ed25519")

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg judges here")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("openpgp", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


openpgp = load()


class Keyring:
    """A throw-away gpg home with one key per algorithm."""

    def __init__(self, home: Path) -> None:
        self._home = home
        home.mkdir(mode=0o700)
        for name in ALGORITHMS:
            self.gpg("--passphrase", "", "--quick-gen-key", f"{name} <{name}@x>", name, "sign")
            self.gpg("--passphrase", "", "--quick-add-key", self.fingerprint(name), name, "sign")

    def gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(self._home), "--batch", "--pinentry-mode", "loopback"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True)
        return done.stdout

    def fingerprint(self, name: str) -> str:
        lines = self.gpg("--with-colons", "--fingerprint", f"{name}@x").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def export(self, *names: str, armour: bool) -> bytes:
        form = ["--armor"] if armour else []
        return self.gpg(*form, "--export", *(f"{name}@x" for name in names))


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyring]:
    home = tmp_path_factory.mktemp("gpg") / "home"
    yield Keyring(home)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)


@pytest.mark.parametrize("armour", [True, False])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_primary_keys_fingerprint_is_gpgs(keyring: Keyring, name: str, *, armour: bool) -> None:
    data = keyring.export(name, armour=armour)
    assert openpgp.fingerprints(data) == [keyring.fingerprint(name)]  # the subkey's is not there


def test_all_keys_of_a_file_are_found(keyring: Keyring) -> None:
    data = keyring.export(*ALGORITHMS, armour=False)
    assert sorted(openpgp.fingerprints(data)) == sorted(map(keyring.fingerprint, ALGORITHMS))


def test_armour_with_headers_and_windows_line_ends(keyring: Keyring) -> None:
    text = keyring.export("rsa2048", armour=True).decode()
    head, rest = text.split("\n", 1)
    changed = f"{head}\nVersion: some\nComment: a: b\n{rest}".replace("\n", "\r\n")
    assert openpgp.fingerprints(changed.encode()) == [keyring.fingerprint("rsa2048")]


def test_another_keys_bits_give_another_fingerprint(keyring: Keyring) -> None:
    data = bytearray(keyring.export("rsa2048", armour=False))
    data[20] ^= 1
    assert openpgp.fingerprints(bytes(data)) != [keyring.fingerprint("rsa2048")]


def test_a_signature_or_a_secret_key_is_no_public_key(keyring: Keyring) -> None:
    secret = keyring.gpg("--passphrase", "", "--export-secret-keys", "rsa2048@x")
    with pytest.raises(ValueError, match="no OpenPGP version 4 public key"):
        openpgp.fingerprints(secret)


@pytest.mark.parametrize("data", [b"", b"<html>404 Not Found</html>", b"\x99\x01"])
def test_what_is_no_key_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each with its own words
        openpgp.fingerprints(data)


def test_a_cut_key_is_an_error(keyring: Keyring) -> None:
    data = keyring.export("rsa2048", armour=False)
    for length in (5, 50, len(data) - 1):
        with pytest.raises(ValueError, match="middle of a packet"):
            openpgp.fingerprints(data[:length])


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda raw: b"\x99\x00" + raw))
def test_no_input_makes_it_stumble(data: bytes) -> None:
    armoured = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n%s\n-----END PGP PUBLIC KEY BLOCK-----\n"
    for form in (data, armoured % base64.b64encode(data)):
        try:
            found = openpgp.fingerprints(form)
        except ValueError:
            continue
        assert all(len(one) == 40 for one in found)
