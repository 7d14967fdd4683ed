"""What tests of scenarios ask a host's package manager, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packages:
    """What a host's package manager says: installed versions, and names that stay as they are."""

    versions: dict[str, str]
    held: frozenset[str]
    rpm: bool
