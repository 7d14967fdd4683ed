"""asyncssh, imported without what its import costs most.

It looks for libraries of algorithms under five names. Where one is not installed, Python starts a
compiler and a linker to be sure of it, which takes longer than all the rest.
"""

from __future__ import annotations

import ctypes.util
import os
from itertools import chain
from pathlib import Path

_FOLDERS = ("/lib", "/usr/lib", "/usr/local/lib", "/lib64", "/usr/lib64", "/usr/local/lib64")
_find = ctypes.util.find_library


def _find_present(name: str) -> str | None:
    """Return what Python finds, where there is any file of the name in the usual places."""
    own = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    pattern = f"lib{name.removeprefix('lib')}.so*"
    places = (Path(folder) for folder in (*_FOLDERS, *own) if folder)
    files = chain.from_iterable(
        (*p.glob(pattern), *p.glob(f"*-linux-gnu/{pattern}")) for p in places
    )
    return _find(name) if any(files) else None


ctypes.util.find_library = _find_present
try:
    import asyncssh
    from asyncssh.encryption import get_encryption_algs
    from asyncssh.kex import get_kex_algs
    from asyncssh.mac import get_mac_algs
    from asyncssh.public_key import get_certificate_algs, get_public_key_algs
finally:
    ctypes.util.find_library = _find

__all__ = [
    "asyncssh",
    "get_certificate_algs",
    "get_encryption_algs",
    "get_kex_algs",
    "get_mac_algs",
    "get_public_key_algs",
]
