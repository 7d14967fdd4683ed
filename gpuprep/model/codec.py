"""Plain JSON types back into the frozen values of :mod:`gpuprep.model`.

:func:`gpuprep.model.plain.plain` writes them; :func:`decode` reads them, strictly in the types of
known keys and tolerant of unknown ones, so that an older reader understands a newer writer.
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
    return _decoder(kind)(data, where)


@functools.cache
def _decoder(kind: Any) -> Callable[[object, str], Any]:  # noqa: ANN401
    """Return what decodes a type: found out once for each, not for every value."""
    if kind is Any:
        return lambda data, _where: data
    origin = get_origin(kind)
    if origin in _DECODERS:
        return _DECODERS[origin](kind)
    if is_dataclass(kind):
        return _dataclass(kind)
    if issubclass(kind, Enum):
        members = {member.value: member for member in kind}
        return lambda data, where: members[_one_of(tuple(members), data, where)]
    return functools.partial(_decode_scalar, kind)


def _union(kind: Any) -> Callable[[object, str], Any]:  # noqa: ANN401
    """``X | None`` is the only union of the model."""
    (inner,) = (arm for arm in get_args(kind) if arm is not type(None))
    decode_inner = _decoder(inner)
    if type(None) not in get_args(kind):
        return decode_inner
    return lambda data, where: None if data is None else decode_inner(data, where)


def _literal(kind: Any) -> Callable[[object, str], Any]:  # noqa: ANN401
    return functools.partial(_one_of, get_args(kind))


def _tuple(kind: Any) -> Callable[[object, str], Any]:  # noqa: ANN401
    """``tuple[X, ...]`` is the only tuple of the model; JSON knows lists."""
    inner = _decoder(get_args(kind)[0])

    def read(data: object, where: str) -> tuple[Any, ...]:
        if not isinstance(data, list | tuple):
            raise DecodeError(f"{where}: expected a list, found {_name(data)}")
        return tuple(inner(item, f"{where}[{index}]") for index, item in enumerate(data))

    return read


def _mapping_of(kind: Any) -> Callable[[object, str], Any]:  # noqa: ANN401
    inner = _decoder(get_args(kind)[1])
    return lambda data, where: {
        key: inner(item, f"{where}.{key}") for key, item in _mapping(data, where).items()
    }


def _dataclass(kind: Any) -> Callable[[object, str], Any]:  # noqa: ANN401
    hints = _hints(kind)
    parts = [
        (
            field.name,
            _decoder(hints[field.name]),
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(kind)
    ]

    def read(data: object, where: str) -> Any:  # noqa: ANN401
        given = _mapping(data, where)
        known = {}
        for name, inner, needed in parts:
            if name in given:
                known[name] = inner(given[name], f"{where}.{name}")
            elif needed:
                raise DecodeError(f"{where}: the key {name!r} is missing")
        return kind(**known)

    return read


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


_DECODERS: Mapping[Any, Callable[[Any], Callable[[object, str], Any]]] = {
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    Literal: _literal,
    Mapping: _mapping_of,
}
