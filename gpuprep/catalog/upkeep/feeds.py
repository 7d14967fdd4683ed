"""Machine-readable sources: the versions that NVIDIA's own lists name.

Three formats are read: an apt ``Packages`` index, an rpm repository's ``repomd.xml`` or
``primary.xml``, and NVIDIA's ``releases.json`` of data-centre drivers; each may be gzipped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuprep.errors import ConfigError
from gpuprep.packages.index import fetch, packages_in, understood

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS = {"lts branch": "lts", "production branch": "pb", "new feature branch": "nfb"}
_DRIVER = re.compile(r"(nvidia-open|cuda-drivers)(-\d{3})?")
_PIN = re.compile(r"nvidia-driver-pinning-(\d{3})")
_TOOLKIT = re.compile(r"cuda-toolkit-\d+-\d+")
_CUDNN = re.compile(r"libcudnn\d+(-cuda-\d+)?")
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
        content = fetch(address)
        if content.lstrip().startswith(b"{"):
            understood(address, _releases, content, address, seen)
        else:
            for package in packages_in(address, content):
                _package(package.name, package.version, address, seen)
    return seen


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
