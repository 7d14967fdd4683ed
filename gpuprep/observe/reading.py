"""Read a host's answer: from any text to a typed value or an :class:`ObservationError`.

A host can answer anything: a greeting before, a farewell after, half an object, a hundred thousand
brackets, terminal sequences. Nothing but these two outcomes is possible.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from gpuprep.model.codec import DecodeError, decode
from gpuprep.model.text import clean, clean_line
from gpuprep.observe.observation import HostObservation

SCHEMA: Final = 1
SIZE_LIMIT: Final = 8 << 20  # characters; a full host with its probe answers some 300 KiB
DEPTH_LIMIT: Final = 40  # objects and lists within each other; ours need 8
_INTEGER_DIGITS: Final = 18  # more do not fit 64 bits
_MARK: Final = "gpuprep-answer:"
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
    return decode_observation(read_json(text, marker))


def read_json(text: str, marker: str | None = None) -> dict[str, Any]:
    """Return the JSON object of an answer, its strings cleaned, its shape not judged.

    Numbers that are not finite or do not fit 64 bits read as null: a broken GPU can well give one.

    Raises:
        ObservationError: there is no such object, or it is too large or too deep.

    """
    start = _start(text, marker)
    if len(text) - start > SIZE_LIMIT:
        raise ObservationError(f"the host's answer is longer than {SIZE_LIMIT >> 20} MiB")
    decoder = json.JSONDecoder(
        parse_int=_integer, parse_float=_float, parse_constant=lambda _name: None
    )
    try:
        answer, _ = decoder.raw_decode(text, start)
        answer = _cleaned(answer, 0)
    except (ValueError, RecursionError) as error:
        why = clean_line(str(error), 200)
        raise ObservationError(f"the host's answer is cut off or mixed up: {why}") from error
    if not isinstance(answer, dict):
        raise ObservationError(f"the host answered no object but {clean_line(repr(answer), 200)}")
    return answer


def decode_observation(answer: dict[str, Any]) -> HostObservation:
    """Return the typed value of an answer.

    Args:
        answer: JSON types with clean strings, as :func:`read_json` gives them.

    Raises:
        ObservationError: another schema, or a key is missing or holds the wrong type; named.

    """
    if answer.get("schema") != SCHEMA:
        found = clean_line(repr(answer.get("schema")), 100)
        raise ObservationError(f"observation schema {found}, expected {SCHEMA}")
    try:
        return decode(HostObservation, {**answer, "conda": _with_own_markers(answer.get("conda"))})
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
