"""Plain JSON types back into the frozen values of :mod:`gpuprep.model`.

:func:`gpuprep.model.plain.plain` writes them; :func:`decode` reads them, strictly in the types of
known keys and tolerant of unknown ones, so that an older reader understands a newer writer.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gpuprep.model.value import Value, msgspec

T = TypeVar("T")
Reader = Callable[[object], Any]


class DecodeError(ValueError):
    """The data does not fit the type; the message names the key."""


def decode(kind: type[T], data: object) -> T:
    """Build a value of ``kind`` (a class of the model) from JSON types.

    Raises:
        DecodeError: a key is missing or holds the wrong type; says which and where.

    """
    if msgspec:
        with contextlib.suppress(msgspec.ValidationError):  # told below, with its place
            return msgspec.convert(data, kind)
    try:
        wanted: Any = kind
        value: T = _reader(wanted)(data)
    except _WrongError as error:
        raise DecodeError(f"{kind.__name__}{error.place}: {error.text}") from None
    return value


class _WrongError(Exception):
    """Data that does not fit; the place is put together on the way up."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text, self.place = text, ""

    def below(self, step: str) -> _WrongError:
        self.place = step + self.place
        return self


@functools.cache
def vocabulary(kind: Any) -> frozenset[str]:  # noqa: ANN401
    """Return the words that choices (literals, enumerations) within a type are made of."""
    if get_origin(kind) is Literal:
        return frozenset(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Value):
        parts = [vocabulary(hint) for hint in _hints(kind).values()]
    elif isinstance(kind, type) and issubclass(kind, Enum):
        return frozenset(member.value for member in kind)
    else:
        parts = [vocabulary(part) for part in get_args(kind) if part is not Ellipsis]
    return frozenset[str]().union(*parts)


@functools.cache
def _reader(kind: Any) -> Reader:  # noqa: ANN401 - the type is the argument
    """Return what reads values of a type: made once, for thousands of values."""
    if kind is Any:
        return lambda data: data
    origin = get_origin(kind)
    if origin in _READERS:
        return _READERS[origin](kind)
    if is_dataclass(kind):
        return _dataclass_reader(kind)
    if issubclass(kind, Enum):
        by_value = {member.value: member for member in kind}
        words = tuple(by_value)
        return lambda data: by_value[_one_of(words, data)]
    return functools.partial(_scalar, kind)


def _union_reader(kind: Any) -> Reader:  # noqa: ANN401
    """``X | None`` is the only union of the model."""
    (inner,) = (arm for arm in get_args(kind) if arm is not type(None))
    read = _reader(inner)
    if type(None) not in get_args(kind):
        return read
    return lambda data: None if data is None else read(data)


def _literal_reader(kind: Any) -> Reader:  # noqa: ANN401
    return functools.partial(_one_of, get_args(kind))


def _tuple_reader(kind: Any) -> Reader:  # noqa: ANN401
    """``tuple[X, ...]`` is the only tuple of the model; JSON knows lists."""
    read_one = _reader(get_args(kind)[0])

    def read(data: object) -> tuple[Any, ...]:
        if not isinstance(data, list | tuple):
            raise _WrongError(f"expected a list, found {_name(data)}")
        found: list[Any] = []
        try:
            for item in data:
                found.append(read_one(item))  # noqa: PERF401 - its length tells the place
        except _WrongError as error:
            raise error.below(f"[{len(found)}]") from None
        return tuple(found)

    return read


def _mapping_reader(kind: Any) -> Reader:  # noqa: ANN401
    read_one = _reader(get_args(kind)[1])

    def read(data: object) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in _mapping(data).items():
            try:
                found[key] = read_one(item)
            except _WrongError as error:
                raise error.below(f".{key}") from None
        return found

    return read


def _dataclass_reader(kind: Any) -> Reader:  # noqa: ANN401
    hints = _hints(kind)
    parts = [
        (
            field.name,
            _reader(hints[field.name]),
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(kind)
    ]

    def read(data: object) -> Any:  # noqa: ANN401
        given = _mapping(data)
        known: dict[str, Any] = {}
        for name, read_one, needed in parts:
            if name in given:
                try:
                    known[name] = read_one(given[name])
                except _WrongError as error:
                    raise error.below(f".{name}") from None
            elif needed:
                raise _WrongError(f"the key {name!r} is missing")
        return kind(**known)

    return read


def _scalar(kind: type, data: object) -> Any:  # noqa: ANN401
    # JSON writers may drop the fraction of a float; a bool is never meant as a number.
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise _WrongError(f"expected {kind.__name__}, found {_name(data)}")
    return data


def _one_of(allowed: tuple[Any, ...], data: object) -> Any:  # noqa: ANN401
    if data not in allowed:
        choices = ", ".join(str(choice) for choice in allowed)
        raise _WrongError(f"{data!r} is none of {choices}")
    return data


def _mapping(data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise _WrongError(f"expected an object, found {_name(data)}")
    return data


def _name(data: object) -> str:
    return "null" if data is None else type(data).__name__


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


_READERS: Mapping[Any, Callable[[Any], Reader]] = {
    Union: _union_reader,
    types.UnionType: _union_reader,
    tuple: _tuple_reader,
    Literal: _literal_reader,
    Mapping: _mapping_reader,
}
