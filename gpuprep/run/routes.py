"""Ansible's table of plugins that have moved, read once per release of it and not in each run.

It is ten thousand lines of YAML, a sixth of all that a run over one host computes. What was read is
kept beside this user's connections, as JSON, under the digest of the text that it was read from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any, Final

from gpuprep.kept import is_private
from gpuprep.run.connections import LINK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LARGE: Final = 50_000  # bytes; less is read as fast as it is looked up


def keep(run_dir: Path, loader: Any) -> None:  # noqa: ANN401 - a module
    """Let Ansible's collection loader read large tables by way of what is kept.

    Nothing changes in a run that leaves nothing behind, or with an Ansible whose loader is another.

    Args:
        run_dir: the run's directory.
        loader: Ansible's module ``_collection_finder``.

    """
    reader = getattr(loader, "_meta_yml_to_dict", None)
    with contextlib.suppress(OSError):
        folder = (run_dir / LINK).readlink().parent
        if reader and is_private(folder):
            loader._meta_yml_to_dict = through(folder, reader)  # noqa: SLF001


def through(folder: Path, reader: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a reader that asks another one only for what the folder does not have.

    Args:
        folder: one that nobody else can write to.
        reader: returns what a text of YAML says; its second argument is the text's place.

    """

    def read(text: Any, place: Any) -> Any:  # noqa: ANN401 - bytes or str; what YAML holds
        data = text.encode() if isinstance(text, str) else text
        if len(data) < _LARGE:
            return reader(text, place)
        path = folder / f"routes-{hashlib.sha256(data).hexdigest()[:32]}.json"
        with contextlib.suppress(OSError, ValueError):
            return json.loads(path.read_bytes())
        found = reader(text, place)
        with contextlib.suppress(OSError, ValueError, TypeError):
            _write(path, found)
        return found

    return read


def _write(path: Path, value: Any) -> None:  # noqa: ANN401 - what YAML holds
    """Write what JSON can hold unchanged, whole or not at all."""
    text = json.dumps(value)
    if json.loads(text) != value:
        return
    part = path.with_suffix(f".{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
