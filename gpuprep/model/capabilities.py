"""Compute capabilities, and the architectures that binaries are built for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpuprep.model.versions import key

if TYPE_CHECKING:
    from collections.abc import Iterable

_ARCHITECTURE = re.compile(r"[0-9]{2,4}")  # compute capability without its dot


def supports(architectures: Iterable[str], capability: str) -> bool:
    """Return whether a build for these architectures runs on a compute capability.

    Machine code (``sm_86``) runs within its major version from its minor on; PTX (``compute_80``)
    on everything newer. Suffixed targets (``sm_90a``) run on exactly that capability.
    """
    major, minor = (*key(capability), 0, 0)[:2]
    for name in architectures:
        kind, _, number = name.partition("_")
        exact = number.endswith(("a", "f"))
        digits = number.rstrip("af")
        if not _ARCHITECTURE.fullmatch(digits):
            continue
        of = (int(digits[:-1]), int(digits[-1]))
        if kind == "compute" and not exact and of <= (major, minor):
            return True
        if kind == "sm" and of[0] == major and (of[1] == minor if exact else of[1] <= minor):
            return True
    return False
