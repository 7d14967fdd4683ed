"""apt's preferences, see apt_preferences(5): which rule decides about a package."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuprep.observe.observation import PackageRule

_CONDITION = re.compile(r"^([a-z])=(.*)$")
_SOURCE = "src:"


class Offer(NamedTuple):
    """Packages as a repository offers them.

    Attributes:
        host: of the repository's address.
        origin: as its index says.
        version: pattern of the packages' version, None = any.

    """

    host: str
    origin: str
    version: str | None


def deciding(name: str, offer: Offer, rules: Sequence[PackageRule]) -> PackageRule | None:
    """Return the rule that gives a package its priority: the first that names it, else a general.

    Args:
        name: of the package.
        offer: what is known of it.
        rules: in the order in which apt reads them.

    """
    ours = [rule for rule in rules if _means(rule.pin, offer)]
    named = (rule for rule in ours if rule.names != ("*",) and _names(rule.names, name))
    general = (rule for rule in ours if rule.names == ("*",))
    return next(named, None) or next(general, None)


def _names(patterns: Iterable[str], name: str) -> bool:
    return any(_fits(_without_arch(p.removeprefix(_SOURCE)), name) for p in patterns)


def _without_arch(pattern: str) -> str:
    return pattern if pattern.startswith("/") else pattern.partition(":")[0]


def _fits(pattern: str, text: str) -> bool:
    """Return whether a text fits a glob, or a regular expression between slashes, as apt does."""
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        try:
            return re.search(pattern[1:-1], text, re.IGNORECASE) is not None
        except re.error:
            return False
    return fnmatchcase(text.lower(), pattern.lower())


def _means(pin: str, offer: Offer) -> bool:
    """Return whether a pin is about what a repository offers; what cannot be known, it is not."""
    kind, _, value = pin.strip().partition(" ")
    value = value.strip()
    if kind.lower() == "origin":
        return _fits(value.strip('"'), offer.host)
    if kind.lower() == "version":
        return value == "*" or _overlaps(value, offer.version)
    return kind.lower() == "release" and _is_release(value, offer)


def _overlaps(pattern: str, version: str | None) -> bool:
    """Return whether a pattern of versions means those that are wanted, themselves a pattern."""
    if version is None:
        return False
    return fnmatchcase(version, pattern) or fnmatchcase(pattern, version)


def _is_release(text: str, offer: Offer) -> bool:
    if text == "*":
        return True
    for part in text.split(","):
        condition = _CONDITION.match(part.strip())
        if condition is None or condition[1] not in "ol" or not offer.origin:
            return False  # flat repositories have no suite, no component
        # NVIDIA's label begins with its origin's name.
        label = condition[1] == "l" and condition[2].startswith(offer.origin)
        if not label and not _fits(condition[2], offer.origin):
            return False
    return True
