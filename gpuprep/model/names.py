"""Package names and versions, and the patterns that select them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def matches(name: str, patterns: Collection[str]) -> bool:
    """Return whether a name fits the patterns; a pattern that starts with ``!`` excludes."""
    if any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!")):
        return False
    return any(fnmatchcase(name, p) for p in patterns if not p.startswith("!"))


def fits(version: str, pattern: str) -> bool:
    """Return whether a full version fits a pattern; one without an epoch is for any epoch."""
    return fnmatchcase(version, pattern) or fnmatchcase(version.rpartition(":")[2], pattern)
