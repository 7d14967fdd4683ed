"""Is the catalog still true? Branches past their end, data that nobody looked at for long."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.catalog.tables import Catalog


def complaints(catalog: Catalog, today: dt.date, max_age: int) -> Iterator[str]:
    """Return what should be looked at.

    Args:
        catalog: the facts.
        today: date to judge by.
        max_age: days after which facts count as old.

    """
    for channel, line in catalog.channels.items():
        for name in line:
            eol = catalog.branches[name].eol
            if eol and eol < today.isoformat():
                yield f"channel {channel}: driver branch {name} reached end of life on {eol}"
    for branch in catalog.branches.values():
        if branch.eol and branch.eol < today.isoformat():
            yield f"driver branch {branch.name} ({branch.kind}) reached end of life on {branch.eol}"
    for block in catalog.blocks.values():
        age = (today - dt.date.fromisoformat(block.checked)).days
        if age > max_age:
            yield f"{block.name}: last checked {block.checked}, {age} days ago"
