"""The kernel that a host of Debian says it runs.

Containers share the machine's kernel, which may be newer than any driver builds on, or older than
the system. So programs that are linked with the C library are told one of the host's own system,
by the shim that hosts of Enterprise Linux and Ubuntu have in their images.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.nvrepo import compiled
from sandbox.nvrepo.headers import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES: Final = Path(__file__).with_name("el") / "src"
_SHIM: Final = "usr/lib/sandbox-uname.so"
_TOLD: Final = "/run/sandbox-kernel"  # where the shim reads it


def files(system: str | None) -> Iterator[tuple[str, bytes, int]]:
    """Yield path, content and mode of what makes a host say its kernel; nothing but for Debian."""
    release = RELEASES.get(system or "")
    if release is None:
        return
    yield _SHIM, _shim(), 0o755
    yield "etc/ld.so.preload", f"/{_SHIM}\n".encode(), 0o644
    line = f"f {_TOLD} 0644 root root - {release}\n"  # tmpfiles.d(5): anew at each boot
    yield "etc/tmpfiles.d/sandbox-kernel.conf", line.encode(), 0o644


@cache
def _shim() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "uname.so"
        compiled.library("uname.c", target, soname="sandbox-uname.so", home=SOURCES)
        return target.read_bytes()
