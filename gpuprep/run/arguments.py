"""Arguments of the Python interface: their names and kinds, checked before anything is done.

What is misspelt or of another kind is told, never left out: a run without the limit that was meant
takes the whole fleet.
"""

from __future__ import annotations

import difflib
import inspect
import math
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, cast

from gpuprep.errors import ConfigError
from gpuprep.model.value import Value
from gpuprep.run.options import Access, RunOptions, kind_of

_SHOWN: Final = 80  # characters of a wrong value


class _Kind(Value, frozen=True):
    """What an argument may be, in words and as a test.

    Attributes:
        words: what is expected.
        fits: the test.
        secret: the value may hold a password and is not shown.
        needed: None is no value of it.

    """

    words: str
    fits: Callable[[Any], bool]
    secret: bool = False
    needed: bool = False


def _is_path(value: object) -> bool:
    return value != "" and isinstance(value, str | os.PathLike)


def _is_source(value: object) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return all(isinstance(item, str | os.PathLike) for item in value)
    return isinstance(value, str | os.PathLike | Mapping)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    """Return whether it is a text, or several that can be gone through more than once."""
    return isinstance(value, Collection) and (isinstance(value, str) or all(map(_is_text, value)))


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _from(least: int) -> Callable[[object], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= least


def _is_time(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and not math.isnan(cast("float", value)) and cast("float", value) > 0


def _is_function(value: object) -> bool:
    """Return whether it can be called; a coroutine would be made, and never awaited."""
    return callable(value) and not inspect.iscoroutinefunction(value)


_SWITCH: Final = _Kind("True or False", _is_bool, needed=True)
_FUNCTION: Final = _Kind("a function that is not async", _is_function)
_FILE: Final = _Kind("the path of a file", _is_path, needed=True)
_OPTIONS: Final = _Kind(
    "a mapping of options by name", lambda v: isinstance(v, Mapping), secret=True
)
_TAGS: Final = _Kind("tags, as a list or with commas between them", _is_texts)
_KINDS: Final[Mapping[str, _Kind]] = {
    "inventory": _Kind(
        "a path, a list of paths, names of hosts or a mapping", _is_source, secret=True
    ),
    "limit": _Kind("a host pattern, or a list of hosts", _is_texts),
    "on_event": _FUNCTION,
    "on_progress": _FUNCTION,
    "cancel": _Kind(
        "a threading.Event, or a function that is not async",
        lambda value: isinstance(value, threading.Event) or _is_function(value),
    ),
    "check": _SWITCH,
    "sample": _Kind("a whole number, at least 1 host", _from(1)),
    "file": _FILE,
    "jobs": _FILE,
    "fleet": _Kind(
        "the path of a file, or a mapping",
        lambda v: _is_path(v) or isinstance(v, Mapping),
        secret=True,
        needed=True,
    ),
    "state": _Kind("text", _is_text),
    "os": _Kind("the name of a system", lambda v: isinstance(v, str) and v != ""),
    "options": _OPTIONS,
    "oci_options": _OPTIONS,
    "timeout": _Kind("seconds, a number above 0", _is_time),
    "access": _Kind("a gpuprep.Access", lambda v: isinstance(v, Access), secret=True),
    "forks": _Kind("a whole number of at least 1", _from(1)),
    "verbosity": _Kind("a whole number of at least 0", _from(0)),
    "tags": _TAGS,
    "skip_tags": _TAGS,
    "diff": _SWITCH,
    "keep_connections": _SWITCH,
    "transport": _Kind("ssh or asyncssh", _is_text),
}


def checked_options(function: Callable[..., object], options: Mapping[str, Any]) -> RunOptions:
    """Return the options that were given to a function of the interface; None = as if left out.

    Args:
        function: takes options beside its named arguments.
        options: what was given to it by other names than those.

    Raises:
        ConfigError: there is no such argument: names what may have been meant.

    """
    known = RunOptions.__annotations__
    unknown = [name for name in options if name not in known]
    if unknown:
        named = [*inspect.signature(function).parameters][:-1]  # the last one is the options
        taken = (*named, *known)
        raise ConfigError("; ".join(_advice(function.__name__, name, taken) for name in unknown))
    given = {name: value for name, value in options.items() if value is not None}
    return cast("RunOptions", given)


def _advice(function: str, name: str, taken: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, taken, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(taken)}"
    return f"{function}() has no argument {name!r}: {hint}"


def check_arguments(**given: Any) -> None:  # noqa: ANN401 - of any kind
    """Check the kinds of arguments by their names; None is as if left out, but for some.

    Raises:
        ConfigError: names the argument, what is expected and what was found.

    """
    for name, value in given.items():
        kind = _KINDS[name]
        left_out = value is None and not kind.needed
        if not left_out and not kind.fits(value):
            shown = kind_of(value) if kind.secret else _shown(value)
            raise ConfigError(f"{name}: expected {kind.words}, found {shown}")


def _shown(value: object) -> str:
    simple = value is None or isinstance(value, bool | int | float | str)
    return repr(value)[:_SHOWN] if simple else kind_of(value)
