"""Modules that the archive has ready for a kernel: objects, signatures, and what joins them.

A signature is a real one, in the form that a kernel reads; only its key is the sandbox's own.
"""

from __future__ import annotations

import datetime as dt
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from sandbox.nvrepo import compiled
from sandbox.nvrepo import driver as debian
from sandbox.nvrepo.deb import Deb, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sandbox.nvrepo.driver import Flavour
    from sandbox.ubuntu.driver import Cut
    from sandbox.ubuntu.systems import Kernel

SIGNER = "Canonical Ltd. Kernel Module Signing"
_MAGIC = b"~Module signature appended~\n"
_PKCS7 = 2

_JOIN = """\
if [ "$1" = configure ]; then
    for object in {home}/bits/*.o; do
        name=$(basename "$object" .o)
        cat "$object" "{home}/signatures/$name.sig" > "{home}/$name.ko"
    done
    depmod {kernel}
fi
"""
_PART = """\
rm -f {home}/*.ko
depmod {kernel} || :
"""


class ModuleKey:
    """The key that signs modules, made on first use."""

    def __init__(self, home: Path, signer: str = SIGNER) -> None:
        """Use the key in `home`, or make one whose certificate names `signer`."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret, public = home / "module.key", home / "module.pem"
        if not public.exists():
            _make(secret, public, signer)
        loaded = serialization.load_pem_private_key(secret.read_bytes(), None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise TypeError(f"{secret}: no RSA key")
        self._key = loaded
        self.certificate = x509.load_pem_x509_certificate(public.read_bytes())

    def signature(self, module: bytes) -> bytes:
        """Return what is appended to a module: signature, its form and the mark."""
        options = [
            pkcs7.PKCS7Options.DetachedSignature,
            pkcs7.PKCS7Options.NoCerts,
            pkcs7.PKCS7Options.NoAttributes,
            pkcs7.PKCS7Options.Binary,
        ]
        message = (
            pkcs7.PKCS7SignatureBuilder()
            .set_data(module)
            .add_signer(self.certificate, self._key, hashes.SHA512())
            .sign(serialization.Encoding.DER, options)
        )
        return message + struct.pack(">5B3xI", 0, 0, _PKCS7, 0, 0, len(message)) + _MAGIC


def _make(secret: Path, public: Path, signer: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, signer)])
    now = dt.datetime.now(tz=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=3650))
        .sign(key, hashes.SHA512())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    secret.chmod(0o600)
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def packages(kernel: Kernel, cuts: Iterable[Cut], key: ModuleKey, work: Path) -> list[Deb]:
    """Describe the ready modules of drivers for a kernel, and the metas that follow the kernel."""
    found: list[Deb] = []
    signatures: dict[str, Entry] = {}
    for cut in cuts:
        for flavour in debian.FLAVOURS:
            objects = _objects(kernel, cut, flavour, work)
            home = _home(kernel, cut, flavour)
            signatures |= {
                f"{home}/signatures/{name}.sig": Entry(source=_signed(path, key))
                for name, path in objects.items()
            }
            found += _of_flavour(kernel, cut, flavour, objects)
    return [*found, _deb(kernel, f"linux-signatures-nvidia-{kernel.uname}", files=signatures)]


def _home(kernel: Kernel, cut: Cut, flavour: Flavour) -> str:
    end = "-open" if flavour == "open" else ""
    return f"usr/lib/modules/{kernel.uname}/kernel/{cut.modules}{end}"


def _objects(kernel: Kernel, cut: Cut, flavour: Flavour, work: Path) -> dict[str, Path]:
    """Compile the modules' files; a kernel's name is in them, as in those that DKMS makes."""
    found = {}
    for name, depends in debian.MODULES.items():
        macros = {"NAME": name, "DEPENDS": depends, "VERSION": cut.driver.version}
        macros["LICENSE"] = debian.LICENSE[flavour]
        target = work / f"{kernel.uname}-{cut.driver.version}-{flavour}" / f"{name}.o"
        path = compiled.relocatable("module.c", target, macros)
        start = debian.vermagic_offset(path)
        content = bytearray(path.read_bytes())
        text = f"{kernel.uname} SMP preempt mod_unload modversions ".encode()
        content[start : start + len(text)] = text
        path.write_bytes(content)
        found[name] = path
    return found


def _signed(path: Path, key: ModuleKey) -> Path:
    target = path.with_suffix(".sig")
    target.write_bytes(key.signature(path.read_bytes()))
    return target


def _deb(
    kernel: Kernel,
    name: str,
    depends: Iterable[str] = (),
    files: dict[str, Entry] | None = None,
    provides: Iterable[str] = (),
) -> Deb:
    image = f"linux-image-{kernel.uname} | linux-image-unsigned-{kernel.uname}"
    return Deb(
        name=name,
        version=_version(kernel),
        description=f"NVIDIA kernel modules for {kernel.uname}",
        source="linux-restricted-modules-oracle",
        section="restricted/kernel",
        relations={"Depends": (image, *depends), "Provides": tuple(provides)},
        files=files or {},
    )


def _version(kernel: Kernel) -> str:
    return f"{kernel.version}+1"


def _of_flavour(kernel: Kernel, cut: Cut, flavour: Flavour, objects: dict[str, Path]) -> list[Deb]:
    k, built = kernel.uname, _version(kernel)
    home = _home(kernel, cut, flavour)
    driver = cut.named("", flavour).lstrip("-")
    parts, whole = f"linux-objects-nvidia-{driver}-{k}", f"linux-modules-nvidia-{driver}-{k}"
    needs = (
        f"linux-signatures-nvidia-{k} (= {built})",
        f"{parts} (= {built})",
        *cut.about(cut.named("nvidia-kernel-common")),
    )
    dkms = f"{cut.named('nvidia-dkms', flavour)} (= {cut.driver.version}-1)"
    words = {"home": f"/{home}", "kernel": k}
    scripts = {"postinst": _JOIN.format(**words), "prerm": _PART.format(**words)}
    files = {f"{home}/bits/{name}.o": Entry(source=path) for name, path in objects.items()}
    return [
        _deb(kernel, parts, files=files),
        replace(
            _deb(kernel, whole, needs, provides=("nvidia-prebuilt-kernel", dkms)), scripts=scripts
        ),
        Deb(
            name=f"linux-modules-nvidia-{driver}-{kernel.flavour}",
            version=built,
            description=f"NVIDIA kernel modules for the newest {kernel.flavour} kernel",
            section="restricted/kernel",
            relations={
                "Depends": (f"{whole} (= {built})", needs[-2], needs[-1]),
                "Provides": (dkms,),
            },
        ),
    ]
