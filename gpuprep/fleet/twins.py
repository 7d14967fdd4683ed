"""One machine that the inventory lists under several names. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def twins(identities: Mapping[str, tuple[str, ...] | None]) -> dict[str, tuple[str, ...]]:
    """Return, by name, the other names of its machine; names that are alone are left out.

    Args:
        identities: what each name said of its machine, None where it said nothing.

    >>> twins({"a": ("m1",), "b": ("m2",), "c": ("m1",), "d": None})
    {'a': ('c',), 'c': ('a',)}

    """
    names = defaultdict(list)
    for name, identity in identities.items():
        if identity is not None:
            names[identity].append(name)
    return {
        name: tuple(other for other in same if other != name)
        for same in names.values()
        if len(same) > 1
        for name in same
    }
