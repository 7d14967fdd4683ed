"""What this user's runs keep for later ones: in directories that are closed to all others.

To parse YAML of our own, and Ansible's table of settings, takes longer than to resolve a host's
stack, and each start would do it again. Its meaning is kept as JSON, under a digest of the text, as
Python keeps what it has compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FOLDER: Final = "gpuprep"
_PARSED: Final = "parsed"
_MOST: Final = 64  # files; those of earlier versions go with all others


def directory(base: Path, name: str) -> Path | None:
    """Return gpuprep's directory of a name below a user's own, made when it is not there.

    Returns:
        None where it would not be closed to all others.

    """
    folder = base / _FOLDER
    path = folder / name
    with contextlib.suppress(OSError):
        # First of all: what root leaves in another's home, its owner can use no more.
        return path if _is_own(base) and all(map(_made_private, (folder, path))) else None
    return None


def _made_private(path: Path) -> bool:
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    return is_private(path)


def cache(environ: Mapping[str, str]) -> Path | None:
    """Return the directory where this user's programs keep what they can make again."""
    with contextlib.suppress(RuntimeError, OSError):  # a user without a home
        home = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        if not home.exists():
            if home.parent.stat().st_uid not in {0, os.geteuid()}:
                return None  # another user's home, as above
            home.mkdir(mode=0o700, exist_ok=True)
        return home
    return None


def is_private(path: Path) -> bool:
    """Return whether a path is a directory, no link, of this user and closed to all others."""
    try:
        found = path.lstat()
    except OSError:
        return False
    closed = not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and closed


def _is_own(path: Path) -> bool:
    """Return whether nobody else can put anything in the place of what this folder holds."""
    found = path.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


# --- what YAML means ------------------------------------------------------------------------------


def own(path: Path) -> Any:  # noqa: ANN401 - what YAML holds
    """Return what one of gpuprep's own files of YAML holds."""
    return parsed(path.read_bytes(), _load)


def parsed(text: bytes, load: Callable[[bytes], Any]) -> Any:  # noqa: ANN401 - as above
    """Return what ``load`` makes of a text; asked once for a text, by any run of this user's."""
    folder = _folder()
    if folder is None:
        return load(text)
    file = folder / hashlib.sha256(text).hexdigest()
    with contextlib.suppress(OSError, ValueError):
        return json.loads(file.read_bytes())
    data = load(text)
    with contextlib.suppress(OSError, TypeError, ValueError):
        _keep(file, data)
    return data


def _load(text: bytes) -> Any:  # noqa: ANN401 - as above
    import yaml  # noqa: PLC0415 - slow to import, and hardly ever needed

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where there is one
    return yaml.load(text, loader)  # noqa: S506 - a safe one


@lru_cache
def _folder() -> Path | None:
    base = cache(os.environ)
    return None if base is None else directory(base, _PARSED)


def _keep(file: Path, data: Any) -> None:  # noqa: ANN401 - as above
    """Write data for later runs, if JSON says the same.

    Raises:
        OSError, TypeError, ValueError: it cannot be written.

    """
    text = json.dumps(data)
    if json.loads(text) != data:
        return
    others = [*file.parent.iterdir()]
    for old in others if len(others) >= _MOST else ():
        old.unlink(missing_ok=True)
    part = file.with_suffix(f".{secrets.token_hex(8)}")
    part.write_text(text, encoding="utf-8")
    part.replace(file)  # whole or not at all
