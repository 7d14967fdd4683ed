"""Frozen values as JSON types: what ``dataclasses.asdict`` gives, at a fraction of its cost.

``asdict`` copies whatever it does not know, and asks every value anew what it is; both are most of
the work of a report of thousands of hosts, whose values nobody changes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from gpuprep.model.value import msgspec

_ATOMS: Final = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of the model
    """Return a value with its classes and mappings as dicts; tuples and lists stay such.

    What is none of JSON's types becomes a text.
    """
    return msgspec.to_builtins(value, enc_hook=_builtin) if msgspec else _plain(value)


def encoded(value: Any) -> bytes:  # noqa: ANN401 - as above
    """Return a value as a text of JSON, in UTF-8."""
    if msgspec:
        try:
            return msgspec.json.encode(value, enc_hook=_builtin)
        except UnicodeEncodeError:  # half a surrogate: only an escape carries it
            pass
    return json.dumps(plain(value)).encode()


def _builtin(value: Any) -> Any:  # noqa: ANN401 - as above
    """Return what stands for a value of a kind that the library does not know."""
    if isinstance(value, str):  # Ansible's own kinds of text
        return str.__str__(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - as above
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    names = _names(kind)
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if kind is tuple or kind is list:
        return kind([_plain(item) for item in value])
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value if isinstance(value, int | float) else str(value)


@functools.cache
def _names(kind: Any) -> tuple[str, ...] | None:  # noqa: ANN401 - a type
    """Return the names of a dataclass's fields, None for another type."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
