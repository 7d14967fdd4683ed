"""What a run tells its observer while it goes on."""

from __future__ import annotations

from enum import StrEnum

from gpuprep.model.value import Value


class EventKind(StrEnum):
    """Kind of an event; new kinds may be added, so an observer must let unknown ones pass."""

    PLAY = "play"
    TASK = "task"
    PLAN = "plan"  # the plan of the whole fleet is made
    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    WARNING = "warning"
    OUTPUT = "output"  # a line of Ansible's own output


class Event(Value, frozen=True):
    """One thing that happened.

    Attributes:
        kind: what.
        time: when, ISO 8601 UTC.
        host: where; None when it concerns the whole fleet.
        role: role that the task belongs to.
        task: name of the task.
        text: one line for people; failures may have several.

    """

    kind: EventKind
    time: str
    host: str | None = None
    role: str | None = None
    task: str | None = None
    text: str = ""
