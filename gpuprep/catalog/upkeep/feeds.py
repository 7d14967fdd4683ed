"""Machine-readable sources: the versions that NVIDIA's own lists name.

Three formats are read: an apt ``Packages`` index, an rpm repository's ``repomd.xml`` or
``primary.xml``, and NVIDIA's ``releases.json`` of data-centre drivers; each may be gzipped.
"""

from __future__ import annotations

import gzip
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

from gpuprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")
_TIMEOUT = 30  # seconds per file
_GZIP = b"\x1f\x8b"
_COMMON = "{http://linux.duke.edu/metadata/common}"
_REPO = "{http://linux.duke.edu/metadata/repo}"
_KINDS = {"lts branch": "lts", "production branch": "pb", "new feature branch": "nfb"}
_DRIVER = re.compile(r"(nvidia-open|cuda-drivers)(-\d{3})?")
_PIN = re.compile(r"nvidia-driver-pinning-(\d{3})")
_TOOLKIT = re.compile(r"cuda-toolkit-\d+-\d+")
_CUDNN = re.compile(r"libcudnn\d+(-cuda-\d+)?")
_FIELD = re.compile(r"^(Package|Version|Pre-Depends|Depends):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_NUMBER = re.compile(r"\d+(\.\d+)+")


@dataclass(slots=True)
class Seen:
    """Versions that the sources name, each with the source that did.

    Attributes:
        drivers: full driver versions.
        kinds: kind of a branch.
        pins: branches that have a pinning package.
        toolkits: full CUDA releases.
        cudnn: full cuDNN releases.

    """

    drivers: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    toolkits: dict[str, str] = field(default_factory=dict)
    cudnn: dict[str, str] = field(default_factory=dict)


def read_feeds(addresses: Sequence[str]) -> Seen:
    """Read all sources.

    Args:
        addresses: URLs or file names.

    Raises:
        ConfigError: a source cannot be had, or is in none of the formats.

    """
    seen = Seen()
    for address in addresses:
        content = _fetch(address)
        if content.lstrip().startswith(b"{"):
            _understood(address, _releases, content, address, seen)
        else:
            for package in _packages(address, content):
                _package(package.name, package.version, address, seen)
    return seen


class Listed(NamedTuple):
    """A package of an index: name, version, and what a ``Packages`` index says that it needs."""

    name: str
    version: str
    depends: str = ""


def packages_of(address: str) -> tuple[Listed, ...]:
    """Give every package that a repository's index lists.

    Args:
        address: URL or file of a ``Packages`` index, ``repomd.xml`` or ``primary.xml``.

    Raises:
        ConfigError: it cannot be had, or is in none of the formats.

    """
    return _packages(address, _fetch(address))


def _packages(address: str, content: bytes) -> tuple[Listed, ...]:
    if content.lstrip().startswith(b"<"):
        return _understood(address, _rpm, content, address)
    if b"Package:" in content:
        return _understood(address, _apt, content.decode())
    raise ConfigError(f"{address} is no Packages index, repodata or releases.json")


def _understood(address: str, read: Callable[..., _T], *arguments: object) -> _T:
    try:
        return read(*arguments)
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, ET.ParseError) as error:
        raise ConfigError(f"{address} cannot be understood: {error!r}") from error


def _fetch(address: str) -> bytes:
    try:
        if re.match(r"https?://", address):
            with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:  # noqa: S310  (checked)
                content: bytes = answer.read()
        else:
            content = Path(address).read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, urllib.error.URLError, EOFError) as error:
        raise ConfigError(f"{address} cannot be read: {error}") from error


def _apt(text: str) -> tuple[Listed, ...]:
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(_FIELD.findall(paragraph))
        if "Package" in fields and "Version" in fields:
            needs = [fields[name] for name in ("Pre-Depends", "Depends") if name in fields]
            found.append(Listed(fields["Package"], fields["Version"], ", ".join(needs)))
    return tuple(found)


def _rpm(content: bytes, address: str) -> tuple[Listed, ...]:
    root = ET.fromstring(content)  # noqa: S314  (the operator names the source)
    if root.tag == f"{_REPO}repomd":
        location = root.find(f"{_REPO}data[@type='primary']/{_REPO}location")
        if location is None:
            raise ConfigError(f"{address} names no primary.xml")
        return packages_of(_beside(address, location.attrib["href"]))
    found = []
    for package in root.iter(f"{_COMMON}package"):
        name, version = package.findtext(f"{_COMMON}name"), package.find(f"{_COMMON}version")
        if name and version is not None:
            found.append(Listed(name, f"{version.attrib['ver']}-{version.attrib['rel']}"))
    return tuple(found)


def _beside(address: str, href: str) -> str:
    """Give the address of a file named relative to the folder above repomd.xml's."""
    if re.match(r"https?://", address):
        return urljoin(address, f"../{href}")
    return str(Path(address).parent.parent / href)


def _releases(content: bytes, address: str, seen: Seen) -> None:
    data: dict[str, dict[str, object]] = json.loads(content)
    for branch, entry in data.items():
        releases = entry["driver_info"]
        if not isinstance(releases, list):
            raise ConfigError(f"{address}: driver_info of {branch} is no list")
        kind = _KINDS.get(str(entry["type"]))
        if kind:
            seen.kinds.setdefault(branch, (kind, address))
        for release in releases:
            seen.drivers.setdefault(release["release_version"], address)


def _package(name: str, version: str, address: str, seen: Seen) -> None:
    number = _NUMBER.match(version.rpartition(":")[2])
    if pin := _PIN.fullmatch(name):
        seen.pins.setdefault(pin.group(1), address)
    if number is None:
        return
    for pattern, found in (
        (_DRIVER, seen.drivers),
        (_TOOLKIT, seen.toolkits),
        (_CUDNN, seen.cudnn),
    ):
        if pattern.fullmatch(name):
            found.setdefault(number.group(), address)
