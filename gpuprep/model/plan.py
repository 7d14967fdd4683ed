"""What is to be done on a host."""

from __future__ import annotations

from gpuprep.model.stack import SigningKey  # noqa: TC001 - the codec reads the annotations
from gpuprep.model.states import StepKind, StepStatus
from gpuprep.model.value import Value

# Kinds of files that several roles need; their steps belong to the first of them.
SHARED_KINDS = frozenset({StepKind.SOURCE, StepKind.KEY, StepKind.REPOSITORY, StepKind.PIN})


class Step(Value, frozen=True):
    """One difference between a host and its desired state.

    Attributes:
        id: stable name, ``<role>.<kind>.<object>``: ``gpu_driver.package.nvidia-open-580``.
        role: role that carries it out.
        kind: what kind of thing differs: a :class:`StepKind`, or another component's own word.
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


class ManagedFile(Value, frozen=True):
    """A file that must be there with this content (or hold this key), mode and owner.

    Attributes:
        path: absolute path.
        kind: what it is.
        content: text, None for a key.
        key: the repository key it holds; the host fetches it and checks the fingerprint.
        absent: it must not be there.

    """

    path: str
    kind: str
    content: str | None = None
    key: SigningKey | None = None
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    absent: bool = False
