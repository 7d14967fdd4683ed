"""Read a host's answer: from any text to a typed value or an :class:`ObservationError`.

A host can answer anything: a greeting before, a farewell after, half an object, a hundred thousand
brackets, terminal sequences. Nothing but these two outcomes is possible.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeVar

from gpuprep.model.codec import DecodeError, decode
from gpuprep.model.text import clean, clean_line
from gpuprep.observe.observation import HostObservation, OfOneHost

T = TypeVar("T")
SCHEMA: Final = 1
SIZE_LIMIT: Final = 8 << 20  # characters; a full host with its probe answers some 300 KiB
DEPTH_LIMIT: Final = 40  # objects and lists within each other; ours need 8
_INTEGER_DIGITS: Final = 18  # more do not fit 64 bits
_MARK: Final = "gpuprep-answer:"
_ALIKE: Final = "alike"  # key of what a host may share with others, as one text
_REMEMBERED: Final = 64  # such texts that are kept with their value
_LONGEST_REMEMBERED: Final = 512 << 10  # characters
_OPENING: Final = '{"schema"'  # of an answer that was kept without its marker line


class ObservationError(ValueError):
    """A host's answer is no observation; the message says what came instead, or names the key."""


def marker_line(marker: str) -> str:
    """Return the line that a program prints before its answer.

    Args:
        marker: random word of one call; see :func:`gpuprep.observe.new_marker`.

    """
    return _MARK + marker


def read(text: str, marker: str | None = None) -> HostObservation:
    """Return what a host said of itself.

    Args:
        text: all that its program printed, with whatever the host put before and after.
        marker: word that the program was given; None = the answer begins at its first key.

    Raises:
        ObservationError: the text holds no observation, or one that cannot be right.

    """
    answer = _answer(text, marker)
    alike = _text_of_alike(answer)
    if alike is None:
        return decode_observation(answer)
    _check_schema(answer)
    known = _read_alike(alike) if len(alike) <= _LONGEST_REMEMBERED else _decode_alike(alike)
    return replace(known, **_decoded(OfOneHost, answer).by_name)


def read_json(text: str, marker: str | None = None) -> dict[str, Any]:
    """Return the JSON object of an answer, its strings cleaned, its shape not judged.

    Numbers that are not finite or do not fit 64 bits read as null: a broken GPU can well give one.

    Raises:
        ObservationError: there is no such object, or it is too large or too deep.

    """
    answer = _answer(text, marker)
    alike = _text_of_alike(answer)
    return answer if alike is None else {**_object(alike, 0), **answer}


def _answer(text: str, marker: str | None) -> dict[str, Any]:
    """Return the object of an answer; what it may share with others is one text in it, as it came.

    Raises:
        ObservationError: see :func:`read_json`.

    """
    start = _start(text, marker)
    if len(text) - start > SIZE_LIMIT:
        raise ObservationError(f"the host's answer is longer than {SIZE_LIMIT >> 20} MiB")
    return _object(text, start)


def _text_of_alike(answer: dict[str, Any]) -> str | None:
    """Take from an answer the text that it may share with others; None without one.

    Raises:
        ObservationError: it is no text.

    """
    alike = answer.pop(_ALIKE, None)
    if alike is None or isinstance(alike, str):
        return alike
    raise ObservationError(f"the host's answer: {_ALIKE}: expected str")


def _object(text: str, start: int) -> dict[str, Any]:
    decoder = json.JSONDecoder(
        parse_int=_integer, parse_float=_float, parse_constant=lambda _name: None
    )
    try:
        answer, _ = decoder.raw_decode(text, start)
        # A text of JSON, which is cleaned when it is read.
        alike = answer.pop(_ALIKE, None) if isinstance(answer, dict) else None
        answer = _cleaned(answer, 0)
    except (ValueError, RecursionError) as error:
        why = clean_line(str(error), 200)
        raise ObservationError(f"the host's answer is cut off or mixed up: {why}") from error
    if not isinstance(answer, dict):
        raise ObservationError(f"the host answered no object but {clean_line(repr(answer), 200)}")
    return answer if alike is None else {**answer, _ALIKE: alike}


def decode_observation(answer: dict[str, Any]) -> HostObservation:
    """Return the typed value of an answer.

    Args:
        answer: JSON types with clean strings, as :func:`read_json` gives them.

    Raises:
        ObservationError: another schema, or a key is missing or holds the wrong type; named.

    """
    _check_schema(answer)
    return _decoded(
        HostObservation, {**answer, "conda": _with_own_markers(answer.get("conda")), _ALIKE: ""}
    )


def _check_schema(answer: dict[str, Any]) -> None:
    if answer.get("schema") != SCHEMA:
        found = clean_line(repr(answer.get("schema")), 100)
        raise ObservationError(f"observation schema {found}, expected {SCHEMA}")


def _decode_alike(text: str) -> HostObservation:
    """Return what a text says that hosts may share; each host's own is put in its place.

    Raises:
        ObservationError: as for a whole answer.

    """
    found = _object(text, 0)
    shared = {**found, "conda": _with_own_markers(found.get("conda")), _ALIKE: text}
    return _decoded(HostObservation, shared)


_read_alike = lru_cache(_REMEMBERED)(_decode_alike)


def _decoded(kind: type[T], data: object) -> T:
    try:
        return decode(kind, data)
    except DecodeError as error:
        raise ObservationError(f"the host's answer: {clean_line(str(error), 300)}") from error


def _start(text: str, marker: str | None) -> int:
    opening = marker_line(marker) if marker else _OPENING
    start = text.find(opening)
    if start < 0:
        # An answer can be long; its beginning says whose it is.
        raise ObservationError(f"the host answered no observation but: {clean_line(text, 300)!r}")
    if not marker:
        return start
    start += len(opening)
    while text[start : start + 1] in ("\r", "\n"):
        start += 1
    return start


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else None


def _float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _cleaned(value: Any, depth: int) -> Any:  # noqa: ANN401 - JSON types
    if isinstance(value, str):
        return clean(value)
    if depth > DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, dict):
        return {clean(key): _cleaned(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    return value


def _with_own_markers(conda: Any) -> Any:  # noqa: ANN401 - JSON types, not yet judged
    """Drop markers that are not as gpuprep writes them: users can write to these files."""
    if conda is None:
        return {}
    if not isinstance(conda, dict):
        return conda
    kept = {**conda, "marker": _marker(conda.get("marker"))}
    envs = conda.get("envs")
    if isinstance(envs, dict):
        kept["envs"] = {
            name: {**env, **{key: _marker(env.get(key)) for key in ("marker", "python_marker")}}
            if isinstance(env, dict)
            else env
            for name, env in envs.items()
        }
    return kept


def _marker(value: Any) -> Any:  # noqa: ANN401 - JSON types, not yet judged
    """Return a marker whose values are texts, or texts by name; None for anything else."""
    if not isinstance(value, dict):
        return None
    flat = [
        part
        for item in value.values()
        for part in (item.values() if isinstance(item, dict) else [item])
    ]
    return value if all(isinstance(part, str) for part in flat) else None
