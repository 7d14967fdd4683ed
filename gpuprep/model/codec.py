"""Plain JSON types back into the frozen values of :mod:`gpuprep.model`.

``dataclasses.asdict`` writes them; :func:`decode` reads them, strictly in the types of known
keys and tolerant of unknown ones, so that an older reader understands a newer writer.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gpuprep import model

T = TypeVar("T")


class DecodeError(ValueError):
    """The data does not fit the type; the message names the key."""


def decode(kind: type[T], data: object) -> T:
    """Build a value of ``kind`` (a dataclass of the model) from JSON types.

    Raises:
        DecodeError: a key is missing or holds the wrong type; says which and where.

    """
    value: T = _decode(kind, data, kind.__name__)
    return value


@functools.cache
def vocabulary(kind: Any) -> frozenset[str]:  # noqa: ANN401
    """Return the words that choices (literals, enumerations) within a type are made of."""
    if get_origin(kind) is Literal:
        return frozenset(get_args(kind))
    if isinstance(kind, type) and is_dataclass(kind):
        parts = [vocabulary(hint) for hint in _hints(kind).values()]
    elif isinstance(kind, type) and issubclass(kind, Enum):
        return frozenset(member.value for member in kind)
    else:
        parts = [vocabulary(part) for part in get_args(kind) if part is not Ellipsis]
    return frozenset[str]().union(*parts)


def _decode(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401 - the type is the argument
    if kind is Any:
        return data
    origin = get_origin(kind)
    if origin in _DECODERS:
        return _DECODERS[origin](kind, data, where)
    if is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if issubclass(kind, Enum):
        return kind(_one_of(tuple(member.value for member in kind), data, where))
    return _decode_scalar(kind, data, where)


def _decode_union(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401
    """``X | None`` is the only union of the model."""
    if data is None and type(None) in get_args(kind):
        return None
    (inner,) = (arm for arm in get_args(kind) if arm is not type(None))
    return _decode(inner, data, where)


def _decode_literal(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401
    return _one_of(get_args(kind), data, where)


def _decode_tuple(kind: Any, data: object, where: str) -> tuple[Any, ...]:  # noqa: ANN401
    """``tuple[X, ...]`` is the only tuple of the model; JSON knows lists."""
    if not isinstance(data, list | tuple):
        raise DecodeError(f"{where}: expected a list, found {_name(data)}")
    inner = get_args(kind)[0]
    return tuple(_decode(inner, item, f"{where}[{index}]") for index, item in enumerate(data))


def _decode_mapping(kind: Any, data: object, where: str) -> dict[str, Any]:  # noqa: ANN401
    inner = get_args(kind)[1]
    return {
        key: _decode(inner, item, f"{where}.{key}") for key, item in _mapping(data, where).items()
    }


def _decode_dataclass(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401
    given = _mapping(data, where)
    hints = _hints(kind)
    known = {}
    for field in fields(kind):
        if field.name in given:
            known[field.name] = _decode(
                hints[field.name], given[field.name], f"{where}.{field.name}"
            )
        elif field.default is MISSING and field.default_factory is MISSING:
            raise DecodeError(f"{where}: the key {field.name!r} is missing")
    return kind(**known)


def _decode_scalar(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401
    # JSON writers may drop the fraction of a float; a bool is never meant as a number.
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise DecodeError(f"{where}: expected {kind.__name__}, found {_name(data)}")
    return data


def _one_of(allowed: tuple[Any, ...], data: object, where: str) -> Any:  # noqa: ANN401
    if data not in allowed:
        choices = ", ".join(str(choice) for choice in allowed)
        raise DecodeError(f"{where}: {data!r} is none of {choices}")
    return data


def _mapping(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise DecodeError(f"{where}: expected an object, found {_name(data)}")
    return data


def _name(data: object) -> str:
    return "null" if data is None else type(data).__name__


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    # The model imports Mapping for type checkers only.
    return get_type_hints(kind, localns={**vars(model), "Mapping": Mapping})


_DECODERS: Mapping[Any, Callable[[Any, object, str], Any]] = {
    Union: _decode_union,
    types.UnionType: _decode_union,
    tuple: _decode_tuple,
    Literal: _decode_literal,
    Mapping: _decode_mapping,
}
