"""What the user's variables may hold: types and forms, checked before anything is made of them.

Ansible would convert first: a list becomes text, ``3.9`` the number 3, a missing value ``None``.
Here a value is what it has to be, or is told. Text stands for a number, a switch or a list where
Ansible knows nothing else (``-e name=value``, INI files); a number stands for a version.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from gpuprep.errors import ConfigError
from gpuprep.model.value import Value
from gpuprep.planner.settings import KEEP, NONE, all_options

Option = Mapping[str, Any]

SHAPE: Final = "oci_shape"  # of the OCI inventory; no setting, but read beside them
_SHOWN: Final = 80  # characters of a wrong value
_DAY: Final = 24 * 60 * 60

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Package managers' files of logins have no way to write these.
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f]")
_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,18}")
_TRUE: Final = frozenset({"true", "yes", "on", "y", "t", "1"})  # Ansible's own words
_FALSE: Final = frozenset({"false", "no", "off", "n", "f", "0"})


class _Form(Value, frozen=True):
    """How the text of a variable must look, in words and as a test.

    Attributes:
        words: what is expected.
        fits: the test; it sees text without control characters.
        number: whether a number may stand for the text, as in a version without quotes.
        secret: whether the value may hold a password and is not shown.

    """

    words: str
    fits: Callable[[str], bool]
    number: bool = False
    secret: bool = False


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _version(pattern: str, *words: str) -> _Form:
    known = ", ".join(words)
    fits = _like(pattern)
    return _Form(
        f"{known} or a version in quotes", lambda text: text in words or fits(text), number=True
    )


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _url(*schemes: str) -> _Form:
    """Return the form of a base URL: what it becomes part of has lines and a path of its own."""

    def fits(text: str) -> bool:
        try:
            parts = urlsplit(text)
            return (
                _like(r"[!-~]+")(text)
                and not re.search(r"[\s\"'<>\\^`{|}?#]", text)
                and parts.scheme in schemes
                and not _BLANK.search(unquote(parts.netloc))
                and (bool(parts.hostname) or parts.scheme == "file")
                and (parts.port is None or parts.port > 0)
            )
        except ValueError:  # a port that is none, a bracket without its other
            return False

    words = f"a base URL ({' or '.join(schemes)}) without query and blanks, also in its login"
    return _Form(words, fits, secret=True)


# Nothing of ours may stand in the place of a system's directory, or below one of the kernel's.
_SYSTEM: Final = frozenset(
    {
        *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt"),
        *("opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
    }
)
_KERNELS: Final = ("/dev/", "/proc/", "/sys/")


def _is_prefix(text: str) -> bool:
    parts = [part for part in text.split("/") if part]
    return (
        _like(r"(/+[\w.+@%=,~-]+)+/*")(text)
        and not {".", ".."} & set(parts)
        and not (len(parts) == 1 and parts[0] in _SYSTEM)
        and not posixpath.normpath("/".join(["", *parts, ""])).startswith(_KERNELS)
    )


def _optional(form: _Form) -> _Form:
    return _Form(
        f"{form.words}, or nothing", lambda t: t == "" or form.fits(t), form.number, form.secret
    )


_TEXT: Final = _Form("text", lambda _text: True)
_WORDS: Final = _Form("text that is not empty", lambda text: bool(text.strip()))
_BASE: Final = _optional(_url("http", "https"))
_FORMS: Final[Mapping[str, _Form]] = {
    "gpuprep_hosts": _WORDS,
    "gpuprep_mirror": _BASE,
    "gpuprep_mirror_fingerprint": _optional(
        _Form("40 hex digits", lambda text: _like(r"[0-9a-fA-F]{40}")(text.replace(" ", "")))
    ),
    "gpuprep_as_of": _optional(_Form("a date (2026-11-20)", _is_date)),
    "gpu_driver_branch": _version(r"[0-9]+", "auto", KEEP, NONE),
    "gpu_driver_version": _version(r"[0-9]+(\.[0-9]+)+", "auto"),
    "gpu_driver_kernel": _Form(
        "running or a kernel release in quotes", _like(r"[A-Za-z0-9][\w.+~-]*")
    ),
    "gpu_driver_boot_time_command": _WORDS,
    "cuda_toolkit_versions": _version(r"[0-9]+(\.[0-9]+)*", "auto", NONE),
    "cuda_toolkit_default": _version(r"[0-9]+(\.[0-9]+)*", "auto"),
    "cudnn_version": _version(r"[0-9]+(\.[0-9]+)*", "auto", NONE),
    "conda_prefix": _Form(
        "an absolute path of its own (/opt/conda), without .. and blanks", _is_prefix
    ),
    "conda_installer_version": _version(r"[0-9][\w.+-]*", "auto", NONE),
    "conda_installer_sha256": _optional(_Form("64 hex digits", _like(r"[0-9a-fA-F]{64}"))),
    "conda_mirror": _BASE,
    "conda_channel_alias": _optional(_url("http", "https", "file")),
    "conda_channels": _Form(
        "names or URLs of channels", _like(r"[A-Za-z0-9_/.]([!-~]*[\w/.+~-])?"), secret=True
    ),
    "conda_environments.name": _Form(
        "a name of letters, digits and . _ + - that is not base or root",
        lambda text: _like(r"\w[\w.+-]{0,99}")(text) and text.lower() not in {"base", "root"},
    ),
    "faceswap_commit": _Form(
        "auto or the full id of a commit, 40 hex digits (no branch, no tag)",
        lambda text: text == "auto" or _like(r"[0-9a-fA-F]{40}")(text),
    ),
    "faceswap_repository": _optional(_url("http", "https", "file")),
    "faceswap_index": _optional(_url("http", "https", "file")),
    "faceswap_python": _version(r"3\.[0-9]{1,2}", "auto"),
    "faceswap_variant": _Form("auto or cu and three digits", _like(r"auto|cu[0-9]{3}")),
    # What begins with a dash would be an option of conda.
    "conda_environments.packages": _Form("package specifications", _like(r"[^\s-].*")),
}
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "gpuprep_max_fail_percentage": (0, 100),
    "gpuprep_lock_timeout": (0, _DAY),
    "gpuprep_observe_timeout": (1, _DAY),
    "gpuprep_verify_sample": (0, 1_000_000),
    "gpu_driver_reboot_timeout": (1, _DAY),
}
_NOT_EMPTY: Final[Mapping[str, str]] = {
    "cuda_toolkit_versions": "a toolkit; [none] wants none",
    "conda_channels": "a channel",
    "conda_environments.packages": "a package",
}
_ALONE: Final[Mapping[str, tuple[str, ...]]] = {"cuda_toolkit_versions": ("auto", NONE)}


def checked(given: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of a host's variables, each of the type that its specification says.

    Args:
        given: values by name of a variable, as Ansible has them.

    Raises:
        ConfigError: values of a wrong type or form; names each variable and what it may hold.

    """
    options = {**all_options(), SHAPE: {"type": "str"}}
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in given.items():
        try:
            values[name] = _read(name, value, options[name])
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("; ".join(wrong))
    return values


def _read(name: str, value: object, option: Option) -> Any:  # noqa: ANN401 - its type is data
    return _READERS[option["type"]](name, value, option)


def _read_text(name: str, value: object, option: Option) -> str:
    form = _FORMS.get(name, _TEXT)
    if isinstance(value, date) and not isinstance(value, datetime) and name == "gpuprep_as_of":
        return value.isoformat()  # YAML makes a date of it
    if form.number and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    choices = option.get("choices")
    words = f"one of {', '.join(choices)}" if choices else form.words
    if not isinstance(value, str):
        raise _wrong(name, words, _kind(value))
    if _CONTROL.search(value):
        raise _wrong(name, words, "control characters in it (a line break, perhaps)")
    if value not in choices if choices else not form.fits(value):
        raise _wrong(name, words, "something else" if form.secret else _shown(value))
    return posixpath.normpath(value) if name == "conda_prefix" else value


def _read_bool(name: str, value: object, _option: Option) -> bool:
    word = str(value).lower() if isinstance(value, str | bool | int) else ""
    if word not in _TRUE | _FALSE:
        raise _wrong(name, "true or false", _kind(value))
    return word in _TRUE


def _read_int(name: str, value: object, _option: Option) -> int:
    low, high = _RANGES[name]
    words = f"a whole number from {low} to {high}"
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, words, _kind(value))
    if not low <= value <= high:
        raise _wrong(name, words, _shown(str(value)))
    return value


def _read_list(name: str, value: object, option: Option) -> list[Any]:
    if option["elements"] != "dict" and "." not in name:
        # The only way to write a list as KEY=VALUE.
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")] if value.strip() else []
        elif _FORMS.get(name, _TEXT).number and isinstance(value, int | float):
            value = [value]
    if not isinstance(value, list | tuple):
        raise _wrong(name, "a list", _kind(value))
    if not value and name in _NOT_EMPTY:
        raise _wrong(name, _NOT_EMPTY[name], "an empty list")
    item = {**option, "type": option["elements"]}
    items = [_read(name, entry, item) for entry in value]
    for word in _ALONE.get(name, ()):
        if word in items and len(set(items)) > 1:
            raise ConfigError(f"{name}: {word} stands alone, not beside other versions")
    if option["elements"] == "dict":
        _check_names(name, [entry["name"] for entry in items])
    return items


def _check_names(name: str, names: list[str]) -> None:
    twice = [each for each, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{name}: {', '.join(twice)} is there more than once")


def _read_entry(name: str, value: object, option: Option) -> dict[str, Any]:
    """Return one mapping of a list, complete: what it does not give is None."""
    if not isinstance(value, Mapping):
        raise _wrong(name, "a list of mappings", _kind(value))
    parts: Mapping[str, Option] = option["options"]
    unknown = [key for key in value if key not in parts]
    if unknown:
        known = ", ".join(parts)
        raise ConfigError(f"{name}: unknown key {_shown(str(unknown[0]))}; an entry has {known}")
    missing = [key for key, part in parts.items() if part.get("required") and key not in value]
    if missing:
        raise ConfigError(f"{name}: an entry has no {missing[0]}")
    return {
        key: None
        if value.get(key) is None and not part.get("required")
        else _read(f"{name}.{key}", value[key], part)
        for key, part in parts.items()
    }


def _read_any(name: str, value: object, _option: Option) -> object:
    """Return a value whose form its reader judges."""
    if value is None:
        raise _wrong(name, "a value", _kind(value))
    return value


_READERS: Final[Mapping[str, Callable[[str, object, Option], Any]]] = {
    "str": _read_text,
    "path": _read_text,
    "bool": _read_bool,
    "int": _read_int,
    "list": _read_list,
    "dict": _read_entry,
    "raw": _read_any,
}


def _wrong(name: str, expected: str, found: str) -> ConfigError:
    return ConfigError(f"{name}: expected {expected}, found {found}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _kind(value: object) -> str:
    """Return what a value of a wrong type is, as a user would call it."""
    if value is None:
        return "nothing (null); leave the variable out to get its default"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {_shown(str(value))[1:-1]}"
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
