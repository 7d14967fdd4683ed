"""Facts files: what ``explain --facts`` reads, checked key by key; and what a shape says of facts.

The keys are those of a golden case's ``in``; JSON or YAML.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from gpuprep.components import KNOWN, NAMES
from gpuprep.errors import ConfigError, FactsError
from gpuprep.model import DesiredStack, HostFacts, HostState, KernelHeaders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from gpuprep.catalog import Catalog

_PCI = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = re.compile(r"[0-9]+")
_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)*")
_RELEASE = re.compile(r"[0-9]+(\.[0-9]+)+")
_KERNEL_RELEASE = re.compile(r"[0-9]+\.[0-9]+[\w.+~-]*", re.ASCII)
_COMPILER = re.compile(r"\S.*[0-9]+\.[0-9]+.*")
_URL = re.compile(r"https?://[^\s/]\S*")


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the value of a key must look, in words and as a test.

    ``option``: the words for one value on the command line, where they are others.
    """

    words: str
    fits: Callable[[Any], bool]
    option: str = ""


def _is_list(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_headers(value: object) -> bool:
    if not isinstance(value, dict) or not set(value) <= {"version", "changes"}:
        return False
    version, changes = value.get("version"), value.get("changes", {})
    return (
        (version is None or (isinstance(version, str) and _DIGITS.fullmatch(version) is not None))
        and isinstance(changes, dict)
        and all(isinstance(n, str) and isinstance(has, bool) for n, has in changes.items())
    )


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_date(value: object) -> bool:
    if not _matches(_DATE)(value):
        return False
    try:
        dt.date.fromisoformat(str(value))
    except ValueError:  # the 31st of February
        return False
    return True


_TEXT = _Kind("a text that is not empty", _is_text)
_BOOL = _Kind("true or false", lambda value: isinstance(value, bool))
_COUNT = _Kind(
    "a whole number, 0 or more", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0
)
_MAJOR = _Kind("a whole number, 1 or more", lambda v: _COUNT.fits(v) and v > 0)
_KERNEL = _Kind(
    "a release as `uname -r` prints it (6.8.0-1068-oracle), in quotes", _matches(_KERNEL_RELEASE)
)
_DRIVER = _Kind("a full version in quotes", _matches(_RELEASE))
_MIRROR = _Kind("a URL (https://...)", _matches(_URL))
_VERSION = _Kind("a version in quotes, or auto", lambda v: v == "auto" or _matches(_DIGITS)(v))
_WORDS = ("auto", "none", ["auto"], ["none"])  # they stand alone, as in the variable
_VERSIONS = _Kind(
    "versions in quotes, one or a list, auto or none",
    lambda v: v in _WORDS or _matches(_DIGITS)(v) or _is_list(_matches(_DIGITS))(v),
    option="versions, or auto or none alone",
)
_HEADERS = _Kind("version (a text) and changes (true or false by name)", _is_headers)
_HOST: Mapping[str, _Kind] = {
    "gpus": _Kind(
        "a list of PCI ids (vendor:device)",
        _is_list(_matches(_PCI)),
        option="a PCI id (vendor:device)",
    ),
    "os": _TEXT,
    "arch": _TEXT,
    "kernel": _KERNEL,
    "kernel_headers": _HEADERS,
    "kernel_cc": _Kind("a compiler with its version (gcc (GCC) 14.2.1)", _matches(_COMPILER)),
    "system_gcc": _MAJOR,
    "shape": _TEXT,
    "driver": _DRIVER,
    "memory_mb": _COUNT,
    "nvswitches": _COUNT,
    "ready_modules": _Kind(
        "a list of driver versions in quotes by package",
        lambda v: isinstance(v, dict) and all(map(_is_list(_matches(_DIGITS)), v.values())),
    ),
}
_STATE: Mapping[str, _Kind] = {
    "runfile": _BOOL,
    "secure_boot": _BOOL,
    "mok_enrolled": _BOOL,
    "newest_kernel": _KERNEL,
    "newest_headers": _HEADERS,
}
_SETTINGS: Mapping[str, _Kind] = {
    "components": _Kind(f"a list of {', '.join(KNOWN)}", _is_list(_is_text)),
    "source": _TEXT,
    "channel": _TEXT,
    "profile": _TEXT,
    "branch": _Kind("a number in quotes, or auto", lambda v: v == "auto" or _matches(_NUMBER)(v)),
    "version": _Kind(f"{_DRIVER.words}, or auto", lambda v: v == "auto" or _DRIVER.fits(v)),
    "flavour": _TEXT,
    "cuda": _VERSIONS,
    "cuda_default": _VERSION,
    "cudnn": _Kind("a version in quotes, auto or none", lambda v: v == "none" or _VERSION.fits(v)),
    "keep_driver": _DRIVER,
    "forward_compat": _BOOL,
    "allow_eol": _BOOL,
    "allow_unknown_gpu": _BOOL,
    "as_of": _Kind("a date in quotes (2026-11-20)", _is_date),
    "mirror": _MIRROR,
    "mirror_fingerprint": _Kind("40 hex digits", _matches(re.compile(r"[0-9a-fA-F]{40}"))),
    "conda_version": _TEXT,
    "conda_mirror": _MIRROR,
    "faceswap_variant": _TEXT,
    "faceswap_backend": _TEXT,
    "faceswap_python": _VERSION,
    "faceswap_commit": _Kind("40 hex digits, or auto", _matches(re.compile(r"[0-9a-f]{40}|auto"))),
    "conda_sha256": _Kind("64 hex digits", _matches(re.compile(r"[0-9a-fA-F]{64}"))),
}


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a facts file, unchecked beyond being a mapping.

    Raises:
        FactsError: it cannot be read or is no mapping.

    """
    import yaml  # noqa: PLC0415  (only for this; slow to import)

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FactsError(f"facts file {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise FactsError(f"facts file {path} is neither JSON nor YAML: {error}") from error
    return _mapping(data, str(path))


def check_options(given: Mapping[str, Any], spelled: Mapping[str, str]) -> None:
    """Check values that were given on the command line.

    Args:
        given: values by key of a facts file.
        spelled: the option that each came from.

    Raises:
        FactsError: a value is wrong; names the option.

    """
    for name, value in given.items():
        kind = {**_HOST, **_SETTINGS}[name]
        if not kind.fits(value):
            shown = ", ".join(map(repr, value)) if isinstance(value, list) else repr(value)
            # A shell has no types: quotes are a matter of YAML.
            words = kind.option or re.sub(r",? in quotes", "", kind.words)
            raise FactsError(f"{spelled[name]}: {shown} is not possible; it must be {words}")


def parse_facts(data: object, where: str = "facts") -> tuple[HostFacts, DesiredStack]:
    """Turn the content of a facts file into facts and settings.

    Raises:
        FactsError: a key is missing, unknown or has a wrong value.

    """
    data = _mapping(data, where)
    _check(data, {**_HOST, **_SETTINGS, "state": _Kind("a mapping", _is_mapping)}, where)
    missing = [name for name in ("gpus", "os") if data.get(name) is None]
    if missing:
        raise FactsError(f"{where}: {' and '.join(missing)} must be given")
    state = data.get("state") or {}
    _check(state, _STATE, f"{where}: state")
    host = {name: data[name] for name in _HOST if data.get(name) is not None}
    host["gpus"] = tuple(pci.lower() for pci in data["gpus"])
    if "ready_modules" in host:
        host["ready_modules"] = {name: tuple(v) for name, v in host["ready_modules"].items()}
    facts = HostFacts(state=HostState(**_with_headers(state)), **_with_headers(host))
    return facts, _desired(data)


def facts_of_shape(name: str, catalog: Catalog) -> dict[str, Any]:
    """Return what a shape says of its hosts, with the keys of a facts file.

    Raises:
        ConfigError: the catalog does not have it; says which may have been meant.

    """
    shape = catalog.shapes.get(name)
    if shape is None:
        if fnmatchcase(name, catalog.amd_pattern):
            return {"shape": name, "gpus": []}
        raise ConfigError(f"shape {name!r} is not in the catalog{meant(name, catalog.shapes)}")
    gpus = [shape.gpu] * shape.count if shape.gpu else []
    return {"shape": name, "gpus": gpus, "arch": shape.arch}


def meant(name: str, known: Iterable[str]) -> str:
    """Return which known names may have been meant, or else all of them, to end a sentence."""
    known = tuple(known)
    by_upper = {each.upper(): each for each in known}
    near = difflib.get_close_matches(name.upper(), by_upper, n=3, cutoff=0.75)
    if near:
        return f"; did you mean {' or '.join(by_upper[each] for each in near)}?"
    return f"; known: {', '.join(known)}"


def _with_headers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with what they say of kernels' headers as the resolver knows it."""
    return {
        name: KernelHeaders(**value) if name.endswith("_headers") else value
        for name, value in values.items()
    }


def _mapping(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise FactsError(f"{where}: the top level must be a mapping of facts")
    return data


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _check(data: Mapping[str, Any], kinds: Mapping[str, _Kind], where: str) -> None:
    for name, value in data.items():
        kind = kinds.get(name)
        if kind is None:
            raise FactsError(f"{where}: unknown key {name!r}; known: {', '.join(sorted(kinds))}")
        if value is not None and not kind.fits(value):
            raise FactsError(f"{where}: {name} must be {kind.words}, not {value!r}")


def _desired(data: Mapping[str, Any]) -> DesiredStack:
    settings = {name: data[name] for name in _SETTINGS if data.get(name) is not None}
    components = tuple(settings.pop("components", NAMES))
    cuda, cudnn = settings.pop("cuda", "auto"), settings.get("cudnn")
    cuda = cuda[0] if cuda in (["auto"], ["none"]) else cuda
    if cuda == "none":
        components = tuple(part for part in components if part != "cuda")
    if cudnn == "none":
        del settings["cudnn"]
        components = tuple(part for part in components if part != "cudnn")
    if cuda in ("auto", "none"):
        cuda = []
    if settings.get("cuda_default") == "auto":
        del settings["cuda_default"]
    versions = (cuda,) if isinstance(cuda, str) else tuple(cuda)
    return DesiredStack(components=components, cuda=versions, **settings)
