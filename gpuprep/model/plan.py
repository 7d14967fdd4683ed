"""What is to be done on a host."""

from __future__ import annotations

from dataclasses import dataclass

from gpuprep.model.states import StepStatus


@dataclass(frozen=True, slots=True)
class Step:
    """One difference between a host and its desired state.

    Attributes:
        id: stable name, ``<role>.<kind>.<object>``: ``gpu_driver.package.nvidia-open-580``.
        role: role that carries it out.
        kind: ``package``, ``hold``, ``file``, ``unit``, ``module``, ``reboot``, ...
        target: the object: package name, path, unit.
        action: ``install``, ``remove``, ``change``, ``rebuild``, ...
        reason: why, in words.
        before: what is there; None = nothing.
        after: what will be there; None = nothing.

    """

    id: str
    role: str
    kind: str
    target: str
    action: str
    reason: str
    before: str | None = None
    after: str | None = None
    status: StepStatus = StepStatus.PLANNED
