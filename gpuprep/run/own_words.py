"""Words that are never masked, whatever password somebody chose: documents are made of them."""

from __future__ import annotations

from functools import cache


@cache
def own_words() -> frozenset[str]:
    """Return the words of gpuprep's documents."""
    from gpuprep.components import KNOWN, ROLES  # noqa: PLC0415 - only where there are secrets
    from gpuprep.fleet.report import HostReport  # noqa: PLC0415
    from gpuprep.model import StepKind  # noqa: PLC0415
    from gpuprep.model.codec import vocabulary  # noqa: PLC0415

    return frozenset(vocabulary(HostReport) | {*KNOWN, *ROLES, *StepKind})
