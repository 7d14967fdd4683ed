"""Dotted version numbers, compared number by number."""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBER = re.compile(r"\d{1,18}")  # a host can write any number of digits


@lru_cache(maxsize=4096)
def key(version: str) -> tuple[int, ...]:
    """Return the numbers of ``version`` in order, for comparing: ``580.95.05`` -> (580, 95, 5)."""
    return tuple(int(number) for number in _NUMBER.findall(version))


def at_least(version: str, floor: str | None) -> bool:
    """Return whether ``version`` is ``floor`` or newer; no floor is always met."""
    return floor is None or key(version) >= key(floor)


def at_most(version: str, ceiling: str | None) -> bool:
    """Return whether ``version`` is ``ceiling`` or older; no ceiling is always met."""
    return ceiling is None or key(version) <= key(ceiling)


def newest(versions: tuple[str, ...]) -> str:
    """Return the newest of some versions.

    Raises:
        ValueError: ``versions`` is empty.

    """
    return max(versions, key=key)


def nearest(version: str, known: Iterable[str], most: int = 6) -> tuple[str, ...]:
    """Return the known versions around another one, oldest first.

    >>> nearest("12.7", ["13.0", "12.4", "12.5", "12.6", "12.8"], 4)
    ('12.5', '12.6', '12.8', '13.0')
    """
    ordered = sorted(known, key=key)
    place = bisect_left(ordered, key(version), key=key)
    start = max(0, min(place - most // 2, len(ordered) - most))
    return tuple(ordered[start : start + most])
