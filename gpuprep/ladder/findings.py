"""What a rule answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpuprep.ladder.answers import texts
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping


class Finding(Value, frozen=True):
    """Outcome of one rule, before severity and remedy are added.

    Attributes:
        outcome: ``passed``, ``failed`` or ``skipped``.
        detail: one sentence.
        expected: what had to be seen.
        observed: what was seen.
        evidence: where it was seen: file or command, and what it said.
        seconds: time it took on the host.
        remedy: what to do, where the evidence shows more than the check's own remedy can know.

    """

    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    expected: str | None = None
    observed: str | None = None
    evidence: str | None = None
    seconds: float | None = None
    remedy: str | None = None


def passed(detail: str, **more: Any) -> Finding:  # noqa: ANN401 - fields of Finding
    """Return that the rung holds."""
    return Finding("passed", detail, **more)


def failed(detail: str, **more: Any) -> Finding:  # noqa: ANN401 - fields of Finding
    """Return that the rung broke."""
    return Finding("failed", detail, **more)


def skipped(detail: str) -> Finding:
    """Return that the rung was not tried, and why."""
    return Finding("skipped", detail)


def command_text(command: Mapping[str, Any]) -> str:
    """Write a command that the probe ran, with its exit code and output, as evidence."""
    line = " ".join(texts(command, "argv"))
    if command.get("timed_out"):
        end = f"cut off after {command.get('seconds')} s"
    else:
        end = f"exit code {command.get('rc')}"
    return f"$ {line}\n{str(command.get('output') or '').strip()}\n[{end}]"


def spelled(values: Mapping[str, Any]) -> str:
    """Write what was reported under names as evidence.

    >>> spelled({"on": True, "uncorrected_ever": 3})
    'on yes, uncorrected ever 3'
    """
    return ", ".join(
        f"{name.replace('_', ' ')} {_plainly(value)}" for name, value in values.items()
    )


def _plainly(value: object) -> object:
    return ("no", "yes")[value] if isinstance(value, bool) else value
