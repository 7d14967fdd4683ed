"""What is missing from a listing, and whether it matters. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gpuprep.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuprep.oci.records import Gap, Listing

_TOLD_AT_MOST: Final = 10


def settled(listing: Listing, on_partial: str) -> Listing:
    """Return a listing of which nothing is missing that matters to its hosts.

    What is missing of a host that was filtered out does not matter.

    Raises:
        InventoryError: something is missing and ``on_partial`` is ``fail``; names each request,
            its opc-request-id and the policies that are missing.

    """
    left = {host.id for host in listing.hosts}
    gaps = tuple(gap for gap in listing.gaps if gap.hosts is None or gap.hosts & left)
    if not gaps:
        return replace(listing, gaps=())
    text = incomplete(gaps, listing.policies)
    if on_partial == "fail":
        raise InventoryError(
            f"{text}\nNothing is listed, because a part looks like the whole; exclude_filters can "
            "leave such hosts out, on_partial: warn lists what can be seen"
        )
    return replace(listing, gaps=gaps, warnings=(*listing.warnings, text))


def incomplete(gaps: Sequence[Gap], policies: Iterable[str]) -> str:
    """Return what is missing in words, and the policies that would allow it."""
    told = [gap.text for gap in gaps[:_TOLD_AT_MOST]]
    if len(gaps) > len(told):
        told.append(f"... and {len(gaps) - len(told)} more")
    lines = [f"the inventory is incomplete, {len(gaps)} answers are missing:", *told]
    statements = [f"  {one}" for one in policies]
    if statements:
        lines += ["OCI answers 404 when a policy is missing; these would allow it:", *statements]
    return "\n".join(lines)
