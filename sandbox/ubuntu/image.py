"""What turns a Debian root into an Ubuntu host."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.nvrepo import build as nvrepo
from sandbox.nvrepo import compiled
from sandbox.nvrepo.deb import build_all
from sandbox.ubuntu import archive, build, kernels

if TYPE_CHECKING:
    from sandbox.ubuntu.systems import System

SCRIPT: Final = "/sandbox/become.sh"
SOURCES: Final = Path(__file__).parent / "src"
_SHARED: Final = Path(__file__).parents[1] / "el" / "src"
_FILES: Final = {
    "20auto-upgrades": "etc/apt/apt.conf.d/20auto-upgrades",
    "50unattended-upgrades": "etc/apt/apt.conf.d/50unattended-upgrades",
    "kernel.service": "etc/systemd/system/sandbox-kernel.service",
}


def digest(system: System, keys: Path) -> str:
    """Return a short name for what the layer of `system` is made from."""
    key = build.archive_key(keys).fingerprint()
    text = nvrepo.sources(
        "image.py", "headers.py", "kernels.py", "systems.py", "src/*", here=build.HERE
    )
    text += nvrepo.sources("compiled.py", "src/module.c")
    text += nvrepo.sources("uname.c", here=_SHARED)
    return nvrepo.digest(f"{text}{system}{key}")[:12]


def layer(system: System, keys: Path) -> tuple[bytes, dict[str, str]]:
    """Return what makes a root into `system`: a tar stream, and variables for `SCRIPT`."""
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=stream, mode="w") as tar:
        work = Path(folder)
        shim = compiled.library(
            "uname.c", work / "uname.so", soname="sandbox-uname.so", home=_SHARED
        )
        keyring = build.archive_key(keys).write_keyring(work / "keyring.gpg")
        _add(tar, SCRIPT, (SOURCES / "become.sh").read_bytes(), 0o755)
        _add(tar, archive.KEYRING, keyring.read_bytes())
        _add(tar, "usr/lib/sandbox-uname.so", shim.read_bytes(), 0o755)
        for name, path in _FILES.items():
            _add(tar, path, (SOURCES / name).read_bytes())
        for deb in build_all(kernels.installed(system.kernel, work), work / "debs"):
            _add(tar, f"sandbox/{deb.name}", deb.read_bytes())
    title, codename = system.title, system.codename
    variables = {"VERSION": system.version, "TITLE": title, "CODENAME": codename}
    return stream.getvalue(), variables


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
