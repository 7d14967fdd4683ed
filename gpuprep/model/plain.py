"""Frozen values into JSON types: ``dataclasses.asdict`` without copies of what cannot change."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any value of the model
    """Return a value as ``dataclasses.asdict`` does; texts, numbers and choices are not copied."""
    kind: Any = type(value)
    names = _names(kind)
    if names is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    if kind in {tuple, list}:
        return kind(map(to_plain, value))
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return value


@functools.cache
def _names(kind: Any) -> tuple[str, ...] | None:  # noqa: ANN401
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
