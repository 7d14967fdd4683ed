"""Where a job of a workload is on its host, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any, Final

from gpuprep.model.text import clean_line
from gpuprep.model.value import Value

_ACTIVE: Final = frozenset({"active", "activating", "reloading", "deactivating"})
_MOST: Final = 300  # characters of a message
_SIDES: Final = 2


class JobState(StrEnum):
    """What a job does."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    DONE = "done"


class JobProgress(Value, frozen=True):
    """Where a job is.

    Attributes:
        name: of the job.
        state: what it does.
        active: whether its unit is at work.
        step: ``extract-a-1``, ``train``, ``convert``.
        iteration: of the model.
        target: iterations that are asked for.
        rate: iterations in a second, over the last ones.
        losses: of both sides.
        frames: how many of how many, in a step that goes through frames.
        gpu: use of each of its GPUs, percent.
        message: what there is to tell.
        updated: when it was told, seconds since 1970.

    """

    name: str
    state: JobState
    active: bool = False
    step: str | None = None
    iteration: int | None = None
    target: int | None = None
    rate: float | None = None
    losses: tuple[float, ...] | None = None
    frames: tuple[int, int] | None = None
    gpu: tuple[int, ...] | None = None
    message: str = ""
    updated: int | None = None

    @property
    def done(self) -> bool:
        """Whether it came to its end."""
        return self.state is JobState.DONE and not self.active

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def progress_of(name: str, seen: object) -> JobProgress:
    """Return where a job is, from what its host says: its ``unit`` and its ``status``."""
    seen = seen if isinstance(seen, Mapping) else {}
    unit, status = seen.get("unit"), seen.get("status")
    unit = unit if isinstance(unit, Mapping) else {}
    status = status if isinstance(status, Mapping) else {}
    active = unit.get("ActiveState") in _ACTIVE
    told = str(status.get("state"))
    state = JobState(told) if told in list(JobState) else JobState.PENDING
    message = clean_line(str(status.get("message") or ""), _MOST)
    if state in {JobState.RUNNING, JobState.WAITING} and not active:
        # Its runner was killed, or never came to tell.
        state, message = JobState.FAILED, f"it was ended in the middle ({unit.get('Result')})"
    elif not active and unit.get("ActiveState") == "failed" and state is not JobState.DONE:
        state = JobState.FAILED
        message = message or f"its unit failed ({unit.get('Result')})"
    elif active and state in {JobState.FAILED, JobState.STOPPED, JobState.DONE}:
        state = JobState.RUNNING  # another try, which has told nothing yet
    gpu = status.get("gpu")
    step = status.get("step")
    return JobProgress(
        name=clean_line(name),
        state=state,
        active=active,
        step=clean_line(step) if isinstance(step, str) else None,
        iteration=_number(status.get("iteration")) or _number(status.get("iteration_reached")),
        target=_number(status.get("target")),
        rate=_real(status.get("rate")),
        losses=_reals(status.get("losses")),
        frames=_pair(status.get("frames")),
        gpu=_numbers(gpu.get("utilization")) if isinstance(gpu, Mapping) else None,
        message=message,
        updated=_number(status.get("updated")),
    )


def progress_of_result(one: Mapping[str, Any]) -> JobProgress:
    """Return where a job is, from :meth:`JobProgress.to_dict`."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in one.items()
    }
    return JobProgress(**{**values, "state": JobState(str(one["state"]))})


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else None  # noqa: PLR2004


def _reals(value: object) -> tuple[float, ...] | None:
    found = [_real(one) for one in value] if isinstance(value, list) else []
    good = tuple(one for one in found if one is not None)
    return good if len(good) == _SIDES else None


def _numbers(value: object) -> tuple[int, ...] | None:
    found = [_number(one) for one in value[:64]] if isinstance(value, list) else []
    return tuple(one for one in found if one is not None) or None


def _pair(value: object) -> tuple[int, int] | None:
    found = _numbers(value)
    return (found[0], found[1]) if found and len(found) == _SIDES else None


def in_words(one: JobProgress) -> str:
    """Return where a job is, in one line."""
    if one.state is JobState.DONE:
        reached = f", {one.iteration} iterations" if one.iteration else ""
        return f"done{reached}"
    parts = [f"{one.state}{f' {one.step}' if one.step else ''}"]
    if one.iteration is not None:
        of = f" of {one.target}" if one.target else ""
        parts.append(f"iteration {one.iteration}{of}")
    elif one.frames is not None:
        parts.append(f"frame {one.frames[0]} of {one.frames[1]}")
    if one.rate is not None and one.active:
        parts.append(f"{one.rate:.2f} it/s")
    if one.losses is not None:
        parts.append("loss " + "/".join(f"{loss:.4f}" for loss in one.losses))
    if one.gpu is not None and one.active:
        parts.append("GPU " + "/".join(f"{use} %" for use in one.gpu))
    if one.message:
        parts.append(one.message)
    return ", ".join(parts)
