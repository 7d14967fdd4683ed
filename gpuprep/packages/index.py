"""Package indexes, read on the machine that gpuprep runs on: what a repository offers.

Two formats: a ``Packages`` index of Debian's family, and ``repomd.xml`` or ``primary.xml`` of the
other; each may be gzipped.
"""

from __future__ import annotations

import gzip
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree as ET

from gpuprep.errors import ConfigError
from gpuprep.packages.logins import authorization, without_login

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_T = TypeVar("_T")
_TIMEOUT = 30  # seconds per file
_NO_LOGIN = frozenset({401, 403})
_GZIP = b"\x1f\x8b"
_COMMON = "{http://linux.duke.edu/metadata/common}"
_RPM = "{http://linux.duke.edu/metadata/rpm}"
_OPERATORS = {"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
_REPO = "{http://linux.duke.edu/metadata/repo}"
_FIELD = re.compile(r"^(Package|Version|Pre-Depends|Depends):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


class Listed(NamedTuple):
    """A package of an index: name, full version, and what it needs, in its family's notation."""

    name: str
    version: str
    depends: str = ""


def packages_of(address: str) -> tuple[Listed, ...]:
    """Return every package that a repository's index lists.

    Args:
        address: URL or file of a ``Packages`` index, ``repomd.xml`` or ``primary.xml``.

    Raises:
        ConfigError: it cannot be had, or is in none of the formats.

    """
    return packages_in(address, fetch(address))


def packages_in(address: str, content: bytes) -> tuple[Listed, ...]:
    """Return every package that an index lists; raises as ``packages_of``."""
    if content.lstrip().startswith(b"<"):
        return understood(address, _rpm, content, address)
    if b"Package:" in content:
        return understood(address, _deb, content.decode())
    raise ConfigError(f"{address} is no Packages index, repodata or releases.json")


def understood(address: str, read: Callable[..., _T], *arguments: object) -> _T:
    """Return what a reader makes of a content; ConfigError instead of what it stumbles over."""
    try:
        return read(*arguments)
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, ET.ParseError) as error:
        raise ConfigError(f"{address} cannot be understood: {error!r}") from error


def fetch(address: str) -> bytes:
    """Return the content of a URL or file, unpacked; raises ConfigError when it cannot be had."""
    shown = without_login(address)
    try:
        if re.match(r"https?://", address):
            request = urllib.request.Request(shown, headers=authorization(address))  # noqa: S310  (checked)
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                content: bytes = answer.read()
        else:
            content = Path(address).read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, urllib.error.URLError, EOFError) as error:
        refused = isinstance(error, urllib.error.HTTPError) and error.code in _NO_LOGIN
        cure = f"; put the login for {urlsplit(shown).hostname} into ~/.netrc" if refused else ""
        raise ConfigError(f"{shown} cannot be read: {error}{cure}") from error


def _deb(text: str) -> tuple[Listed, ...]:
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
            entries = package.iterfind(f"{_COMMON}format/{_RPM}requires/{_RPM}entry")
            needs = ", ".join(_relation(entry.attrib) for entry in entries)
            found.append(Listed(name, _full(version.attrib), needs))
    return tuple(found)


def _full(part: Mapping[str, str]) -> str:
    """Return epoch, where there is one, version and release, where one is named."""
    epoch, release = part.get("epoch", "0"), part.get("rel")
    text = part["ver"] if release is None else f"{part['ver']}-{release}"
    return text if epoch == "0" else f"{epoch}:{text}"


def _relation(entry: Mapping[str, str]) -> str:
    operator = _OPERATORS.get(entry.get("flags", ""))
    return f"{entry['name']} {operator} {_full(entry)}" if operator else entry["name"]


def _beside(address: str, href: str) -> str:
    """Return the address of a file named relative to the folder above repomd.xml's."""
    if re.match(r"https?://", address):
        return urljoin(address, f"../{href}")
    return str(Path(address).parent.parent / href)
