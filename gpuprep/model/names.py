"""Package names and versions, and the patterns that select them."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

Test: TypeAlias = Callable[[str], object]


def matches(name: str, patterns: Collection[str]) -> bool:
    """Return whether a name fits the patterns; a pattern that starts with ``!`` excludes."""
    wanted, excluded = _compiled(tuple(patterns))
    return bool(wanted(name)) and not excluded(name)


def fits(version: str, pattern: str) -> bool:
    """Return whether a full version fits a pattern; one without an epoch is for any epoch."""
    return fnmatchcase(version, pattern) or fnmatchcase(version.rpartition(":")[2], pattern)


@lru_cache(maxsize=1024)  # sets of patterns: a few per stack, and a fleet has few stacks
def _compiled(patterns: tuple[str, ...]) -> tuple[Test, Test]:
    """Return one test for all patterns of a set, and one for all that exclude."""
    excluding = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return _any([p for p in patterns if not p.startswith("!")]), _any(excluding)


def _any(patterns: list[str]) -> Test:
    if not patterns:
        return _never
    return re.compile("|".join(map(translate, patterns))).match


def _never(_name: str) -> None:
    """Match nothing."""
