"""Locks of Python packages: every file that may be installed, by version and hash.

The form is pip's own (``pip install --require-hashes``); ``uv pip compile --generate-hashes``
writes it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from gpuprep.errors import ConfigError

# name==version, perhaps for some hosts only, and the hashes of its files.
_ENTRY: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[\w,. -]*\])?==(?P<version>[\w.!+]+)"
    r"(\s*;\s*(?P<marker>[^\\#]*?))?(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)",
    re.ASCII,
)
_SHOWN: Final = 80  # characters of a wrong line


def names_of(text: str, where: str) -> tuple[str, ...]:
    """Return the names of a lock's packages, as packages are compared by, each once.

    Args:
        text: the lock.
        where: its name, for messages.

    Raises:
        ConfigError: it is no lock, or says more than which files may be installed.

    """
    names: dict[str, None] = {}
    for number, line in _lines(text):
        found = _ENTRY.fullmatch(line)
        if found is None:
            shown = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
            raise ConfigError(
                f"{where}, line {number}: {shown!r} is not NAME==VERSION with --hash=sha256: of"
                " its files; nothing else may be in a lock (uv pip compile --generate-hashes"
                " --no-emit-index-url writes one)"
            )
        names[normalized(found["name"])] = None
    if not names:
        raise ConfigError(f"{where}: there is no package in it")
    return tuple(names)


def digest_of(text: str) -> str:
    """Return the SHA-256 (hex) that a lock is known by."""
    return hashlib.sha256(text.encode()).hexdigest()


def normalized(name: str) -> str:
    """Return the name that packages are compared by: ``Foo.Bar_baz`` -> ``foo-bar-baz``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(text: str) -> list[tuple[int, str]]:
    """Return a lock's entries with the number of their first line; lines that go on are joined."""
    entries: list[tuple[int, str]] = []
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if not parts and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun = begun if parts else number
        parts.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            entries.append((begun, " ".join(parts)))
            parts = []
    if parts:
        entries.append((begun, " ".join(parts)))
    return entries
