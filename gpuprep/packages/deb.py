"""Debian's rules for versions and dependencies (Debian Policy 5.6.12 and chapter 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cmp_to_key, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_RELATION = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(?:\((?P<op><<|<=|=|>=|>>)\s*(?P<version>[^)\s]+)\))?"
)


def _order(character: str) -> int:
    """Sort weight inside a non-digit part: ``~`` first, end next, letters, then the rest."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _compare_part(left: str, right: str) -> int:
    """Compare upstream versions or revisions: alternating non-digit and digit runs."""
    lefts, rights = (re.findall(r"(\D*)(\d*)", text) for text in (left, right))
    for (text_l, digits_l), (text_r, digits_r) in zip_longest(lefts, rights, fillvalue=("", "")):
        for a, b in zip_longest(text_l, text_r):
            difference = (_order(a) if a else 0) - (_order(b) if b else 0)
            if difference:
                return difference
        difference = int(digits_l or 0) - int(digits_r or 0)
        if difference:
            return difference
    return 0


def compare_versions(left: str, right: str) -> int:
    """Return a negative number, zero or a positive number as left is older, equal or newer."""
    parts = []
    for version in (left, right):
        epoch, _, rest = version.rpartition(":") if ":" in version else ("0", "", version)
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
        parts.append((int(epoch), upstream, revision))
    (epoch_l, upstream_l, revision_l), (epoch_r, upstream_r, revision_r) = parts
    return (
        epoch_l - epoch_r
        or _compare_part(upstream_l, upstream_r)
        or _compare_part(revision_l, revision_r)
    )


version_key = cmp_to_key(compare_versions)


def upstream_version(version: str) -> str:
    """Return a package version without epoch and Debian revision: ``580.95.05``."""
    return version.rpartition(":")[2].rpartition("-")[0] or version


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative of a dependency: ``libcuda1 (= 580.95.05-1)``."""

    name: str
    operator: str | None = None
    version: str | None = None

    def accepts(self, version: str) -> bool:
        """Whether a package of this version satisfies the relation."""
        if self.operator is None or self.version is None:
            return True
        order = compare_versions(version, self.version)
        return {
            "<<": order < 0,
            "<=": order <= 0,
            "=": order == 0,
            ">=": order >= 0,
            ">>": order > 0,
        }[self.operator]


@lru_cache(maxsize=4096)
def parse_depends(text: str) -> tuple[tuple[Relation, ...], ...]:
    """Return a dependency field as groups of alternatives; unreadable parts are left out."""
    groups = []
    for group in text.split(","):
        matches = (_RELATION.match(part.strip()) for part in group.split("|"))
        relations = tuple(Relation(m["name"], m["op"], m["version"]) for m in matches if m)
        if relations:
            groups.append(relations)
    return tuple(groups)


def provided_by(packages: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return which installed packages provide each virtual name."""
    found: dict[str, list[str]] = {}
    for name, package in packages.items():
        for group in parse_depends(package.get("provides") or ""):
            for relation in group:
                found.setdefault(relation.name, []).append(name)
    return found
