"""What YAML of our own, and of Ansible's, means: kept between starts as JSON.

To parse it takes longer than to resolve a host's stack by it, and each start would do it again.
What is kept lies in a directory of this user's alone, under a digest of the text that it means, as
Python keeps what it has compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from gpuprep import private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FOLDER: Final = "parsed"
_MOST: Final = 64  # files; those of earlier versions go with all others


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
    base = private.cache(os.environ)
    return None if base is None else private.made_in(base, _FOLDER)


def _keep(file: Path, data: Any) -> None:  # noqa: ANN401 - as above
    """Write data for later runs, if JSON says the same.

    Raises:
        OSError, TypeError, ValueError: it cannot be written.

    """
    text = json.dumps(data)
    if json.loads(text) != data:
        return
    kept = [*file.parent.iterdir()]
    for old in kept if len(kept) >= _MOST else ():
        old.unlink(missing_ok=True)
    part = file.with_suffix(f".{secrets.token_hex(8)}")
    part.write_text(text, encoding="utf-8")
    part.replace(file)  # whole or not at all
