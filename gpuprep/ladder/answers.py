"""Read the probe's answer: forgiving, because a broken driver answers oddly.

What is missing or of another type counts as empty; the rules then say that nothing was reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON of a host
    """Return an object; anything else counts as empty."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:  # noqa: ANN401 - JSON of a host
    """Return a list; anything else counts as empty."""
    return value if isinstance(value, (list, tuple)) else ()


def items(block: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list at a key; what is no object counts as an empty one."""
    return [mapping(item) for item in sequence(block.get(key))]


def texts(block: Mapping[str, Any], key: str) -> list[str]:
    """Return the items of a list at a key as text."""
    return [str(item) for item in sequence(block.get(key))]


def text(block: Mapping[str, Any], key: str) -> str | None:
    """Return what is at a key as text; None when it is missing or empty."""
    value = block.get(key)
    return None if value is None or value is False or value in ("", {}, []) else str(value)


def number(block: Mapping[str, Any], key: str) -> float:
    """Return the number at a key; 0 when there is none."""
    value = block.get(key)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and value is not None else 0.0


def measured(block: Mapping[str, Any], key: str) -> float | None:
    """Return the seconds at a key, at least 0; None when there is no such number."""
    value = block.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def longest(blocks: Iterable[Mapping[str, Any]], key: str) -> float | None:
    """Return the longest of the times of what ran side by side; None where none says."""
    found = [seconds for block in blocks if (seconds := measured(block, key)) is not None]
    return max(found, default=None)


def whole(block: Mapping[str, Any], key: str) -> int | None:
    """Return the whole number at a key; None when there is none."""
    value = block.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def duration(*blocks: Mapping[str, Any]) -> float | None:
    """Return the seconds that what these blocks tell of took together; None where none says."""
    seconds = sum(number(block, "seconds") for block in blocks)
    return round(seconds, 4) if math.isfinite(seconds) and seconds > 0 else None
