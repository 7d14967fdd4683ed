"""What turns a Debian root with dnf into a host of Enterprise Linux."""

from __future__ import annotations

import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rpm_rs

from sandbox.el import build, distribution, kernels, python
from sandbox.nvrepo import build as nvrepo
from sandbox.nvrepo import compiled, rpm

if TYPE_CHECKING:
    from sandbox.el.systems import System

SCRIPT: Final = "/sandbox/become.sh"
DRIVER_SCRIPT: Final = "/sandbox/with-driver.sh"
PYTHON_HOME: Final = "opt/sandbox-python"


@dataclass(frozen=True, slots=True)
class Layer:
    """What is added to a root: a tar stream to unpack over it, then `SCRIPT` to run in it."""

    archive: bytes
    environment: dict[str, str]


def digest(system: System, keys: Path) -> str:
    """Return a short name for what the layer of `system` is made from."""
    key = build.distribution_key(keys).fingerprint()
    text = nvrepo.sources("*.py", "src/*", here=build.HERE) + nvrepo.sources(
        "rpm.py", "compiled.py", "src/module.c"
    )
    return nvrepo.digest(f"{text}{system}{key}")[:12]


def layer(system: System, keys: Path) -> Layer:
    """Return what makes a root into `system`.

    Raises:
        SandboxError: the Python that the system has cannot be had.

    """
    stream = io.BytesIO()
    key = build.distribution_key(keys)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=stream, mode="w") as archive:
        work = Path(folder)
        shim = compiled.library(
            "uname.c", work / "uname.so", soname="sandbox-uname.so", home=distribution.SOURCES
        )
        installed = [
            distribution.identity(system),
            *distribution.base(system),
            distribution.boot(system),
            *(
                package
                for one in system.kernels
                for package in kernels.installed(
                    one, system.major, kernels.compiled_modules(one, work)
                )
            ),
        ]
        rpms = rpm.build_all(installed, work / "rpms", rpm_rs.Signer(key.secret()))
        _add(archive, SCRIPT, (distribution.SOURCES / "become.sh").read_bytes(), 0o755)
        _add(archive, f"etc/pki/rpm-gpg/{distribution.KEY}", key.public().encode())
        _add(archive, "usr/lib64/sandbox-uname.so", shim.read_bytes(), 0o755)
        for path in rpms:
            _add(archive, f"sandbox/{path.name}", path.read_bytes())
        if system.python:
            for path, name in python.files():
                archive.add(path, _placed(name), recursive=False, filter=_as_root)
    return Layer(stream.getvalue(), {"PYTHON": system.python} if system.python else {})


def driver_digest(base: str, system: System, version: str) -> str:
    """Return a short name for what an image with a driver is made from."""
    text = nvrepo.sources("*.py", "src/*", here=build.HERE) + nvrepo.sources("*.py", "src/*")
    return nvrepo.digest(f"{base}{text}{system}{version}")[:12]


def driver_layer(system: System, version: str, state: Path) -> Layer:
    """Return what puts a driver into an image of `system`; packages are kept below `state`."""
    shop = nvrepo.Workshop(state / "cache", state / "www", state / "keys" / "nvrepo")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        script = (distribution.SOURCES / "with-driver.sh").read_bytes()
        _add(archive, DRIVER_SCRIPT, script, 0o755)
        for folder, rpms in build.with_driver(shop, system, version).items():
            for path in rpms:
                archive.add(path, f"sandbox/{folder}/{path.name}", filter=_as_root)
    return Layer(stream.getvalue(), {"TOOLSET": str(system.toolsets[0])})


def _add(archive: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = "root"
    return member


def _placed(name: str) -> str:
    """Return where a file of the Python goes; libffi's name there is not what it calls itself."""
    return f"usr/{name}" if name == "lib/libffi.so.6" else f"{PYTHON_HOME}/{name}"
