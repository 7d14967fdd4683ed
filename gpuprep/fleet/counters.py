"""How often a run went to its hosts: one line per command that ran there as root. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

OBSERVATION: Final = "observation"
PREFIX: Final = "commands-"  # of the files, one per host


class Counts(Value, frozen=True):
    """Commands that a run carried out on its hosts as root; ``observations`` are among them."""

    round_trips: int = 0
    observations: int = 0


def counts_of(texts: Iterable[str]) -> Counts:
    """Return the counts.

    Args:
        texts: content of the files; a line is what one command was for.

    """
    lines = Counter(line for text in texts for line in text.splitlines())
    return Counts(round_trips=lines.total(), observations=lines[OBSERVATION])
