"""Find the Debian mirror and the transport settings of this machine's own apt."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COMPONENTS: Final = ("main", "contrib", "non-free", "non-free-firmware")
# What makes this machine reach its mirror; anything else in its apt settings is its own business.
_TRANSPORT: Final = re.compile(
    r"^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date|https::Verify-Peer)$"
)
_ONE_LINE: Final = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of apt's sources: a URI, a suite and its components."""

    uri: str
    suite: str
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where Debian's packages come from: the archive, and the security archive if configured."""

    archive: str
    security: str | None = None

    def sources(self, suite: str) -> tuple[str, ...]:
        """Lines of a sources.list for the release ``suite`` with all components."""
        parts = " ".join(COMPONENTS)
        lines = [f"deb {self.archive} {name} {parts}" for name in (suite, f"{suite}-updates")]
        if self.security:
            lines.append(f"deb {self.security} {suite}-security {parts}")
        return tuple(lines)


def parse_list(text: str) -> Iterator[Source]:
    """Entries of a one-line-style file (``*.list``)."""
    for line in text.splitlines():
        match = _ONE_LINE.match(line.split("#", 1)[0].strip())
        if match:
            uri, suite, components = match.groups()
            yield Source(uri, suite, tuple(components.split()))


def parse_deb822(text: str) -> Iterator[Source]:
    """Entries of a deb822-style file (``*.sources``); disabled stanzas are left out."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in {"no", "false", "off", "0"}:
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, components)


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def choose(sources: Iterable[Source], codename: str) -> Mirror | None:
    """Debian's mirror among ``sources`` of a machine that runs release ``codename``.

    Debian's archive is told from others that use the same suite name by its component ``main``
    and, when several qualify, by a path that ends in ``debian``. Local and list-file transports
    are of no use inside a host and do not count. None: nothing fits.
    """
    usable = [
        source
        for source in sources
        if source.uri.startswith(("http://", "https://")) and "main" in source.components
    ]
    archives = [source.uri for source in usable if source.suite.rstrip("/") == codename]
    archives.sort(key=lambda uri: not uri.rstrip("/").endswith("debian"))
    if not archives:
        return None
    security = [source.uri for source in usable if source.suite == f"{codename}-security"]
    return Mirror(archives[0], security[0] if security else None)


def transport_options(dump: str) -> tuple[str, ...]:
    """Options of ``apt-config dump`` that say how to reach and trust the mirror, for a host."""
    options = []
    for line in dump.splitlines():
        name, _, value = line.rstrip(";").partition(" ")
        if _TRANSPORT.match(name) and value.strip('"'):
            options.append(f"{name} {value}")
    return tuple(options)


def of_this_machine() -> tuple[Mirror | None, tuple[str, ...]]:
    """Mirror and transport options of this machine; no mirror when apt has none that fits."""
    folder = Path("/etc/apt")
    sources: list[Source] = []
    for path in sorted([folder / "sources.list", *folder.glob("sources.list.d/*")]):
        if path.suffix == ".list" and path.is_file():
            sources.extend(parse_list(path.read_text()))
        elif path.suffix == ".sources":
            sources.extend(parse_deb822(path.read_text()))
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    mirror = choose(sources, release.get("VERSION_CODENAME", "").strip('"'))
    return mirror, transport_options(dump.stdout)
