"""Waves: which hosts of a run are worked on together, and in which order. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gpuprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE: Final = "gpuprep_batch"
_SIZE: Final = re.compile(r"(\d+)(%?)")
_WHOLE: Final = 100  # percent


def waves(hosts: Sequence[str], batch: object) -> tuple[tuple[str, ...], ...]:
    """Return the hosts in waves, in their order.

    Args:
        hosts: names of the hosts.
        batch: size of a wave as in Ansible's ``serial``: a number, a percentage of all hosts, or a
            list of these for the first wave, the second and so on; the last one is repeated.
            0 is all that are left.

    Raises:
        ConfigError: ``batch`` is none of these.

    >>> waves(["a", "b", "c", "d"], [1, "50%"])
    (('a',), ('b', 'c'), ('d',))

    """
    sizes = [_size(entry, len(hosts)) for entry in _entries(batch)]
    left = list(hosts)
    found: list[tuple[str, ...]] = []
    while left:
        size = sizes[min(len(found), len(sizes) - 1)] or len(left)
        found.append(tuple(left[:size]))
        left = left[size:]
    return tuple(found)


def _entries(batch: object) -> list[object]:
    if isinstance(batch, str):
        return list(batch.split(","))
    if isinstance(batch, list | tuple):
        if not batch:
            raise _wrong(batch)
        return list(batch)
    return [batch]


def _size(entry: object, total: int) -> int:
    """Return the number of hosts that one entry means; of a percentage, at least one."""
    if isinstance(entry, bool) or not isinstance(entry, int | str):
        raise _wrong(entry)
    match = _SIZE.fullmatch(str(entry).strip())
    if match is None:
        raise _wrong(entry)
    number = int(match[1])
    return max(1, number * total // _WHOLE) if match[2] and number else number


def _wrong(value: object) -> ConfigError:
    return ConfigError(
        f"{VARIABLE}: {value!r} is no size of a batch; give a number (5), a percentage (20%)"
        " or a list of these ([1, 5, 25%])"
    )
