"""Ansible's stream of events, read into typed events and into what a result needs of them."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gpuprep.model.text import clean
from gpuprep.run.events import Event, EventKind

if TYPE_CHECKING:
    from gpuprep.run.redact import Redactor

_log = logging.getLogger(__name__)
_KEPT_LINES: Final = 400
_LINES: Final = 12  # of a failure's message
_CODE: Final = re.compile(r"\bE_[A-Z][A-Z0-9_]*\b")
_HOST_TASKS: Final = frozenset(
    {"runner_on_ok", "runner_on_failed", "runner_on_skipped", "runner_on_unreachable"}
)
_VERDICTS: Final = {"runner_on_skipped": EventKind.SKIPPED, "runner_on_failed": EventKind.FAILED}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a host did not get through.

    Attributes:
        message: what the failed task says, first lines.
        task: name of the task.
        role: role of the task, None outside roles.
        code: ``E_*`` code that the message or the result carries.
        exit_code: exit code that the task wants the whole run to end with, when it says so.
        unreachable: the connection failed, not the task.

    """

    message: str
    task: str | None = None
    role: str | None = None
    code: str | None = None
    exit_code: int | None = None
    unreachable: bool = False


class Transcript:
    """What happened in a run.

    Attributes:
        host_tasks: tasks carried out, counted once per host, skipped ones included.
        changed: hosts on which a task reported a change.

    """

    def __init__(self, on_event: Callable[[Event], None], redactor: Redactor) -> None:
        self.host_tasks = 0
        self.changed: set[str] = set()
        self._on_event = on_event
        self._redactor = redactor
        self._failures: dict[str, Failure] = {}
        self._stats: Mapping[str, Mapping[str, int]] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    @property
    def complete(self) -> bool:
        """Whether Ansible's closing statistics were seen."""
        return self._stats is not None

    @property
    def output(self) -> str:
        """The last lines of what Ansible wrote, secrets masked."""
        return "\n".join(self._lines)

    @property
    def exit_code(self) -> int:
        """Exit code that Ansible gives for its closing statistics: 2 failed, 4 unreachable."""
        stats = self._stats or {}
        return 2 * bool(stats.get("failures")) or 4 * bool(stats.get("dark"))

    @property
    def failures(self) -> Mapping[str, Failure]:
        """Failures by host. A failure that a rescue has repaired is none."""
        if self._stats is None:
            return self._failures
        lost = {**self._stats.get("failures", {}), **self._stats.get("dark", {})}
        return {
            host: self._failures.get(host, Failure("failed; Ansible gives no message"))
            for host, count in lost.items()
            if count
        }

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one event of ansible-runner."""
        name = event.get("event")
        data = event.get("event_data") or {}
        self._keep_output(event.get("stdout") or "")
        if name in _HOST_TASKS:
            self.host_tasks += 1
            self._add_host_task(str(name), data)
        elif name == "playbook_on_play_start":
            self.tell(EventKind.PLAY, str(data.get("name", "")))
        elif name == "playbook_on_task_start":
            self.tell(EventKind.TASK, str(data.get("name", "")), data)
        elif name == "playbook_on_stats":
            self._stats = {key: data.get(key) or {} for key in ("failures", "dark")}
        elif name in {"warning", "error"}:
            self.tell(EventKind.WARNING, " ".join(str(event.get("stdout", "")).split()))

    def tell(self, kind: EventKind, text: str, data: Mapping[str, Any] | None = None) -> None:
        """Send an event to the observer; whatever goes wrong there stays there."""
        data = data or {}
        event = Event(
            kind=kind,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            host=data.get("host"),
            role=_role(data),
            task=data.get("task"),
            text=self._redactor.text(clean(text)),
        )
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - the user's own code
            _log.exception("the event callback failed; the run goes on")

    def _keep_output(self, stdout: str) -> None:
        for line in stdout.splitlines():
            masked = self._redactor.text(clean(line))
            self._lines.append(masked)
            if masked.strip():
                self.tell(EventKind.OUTPUT, masked)

    def _add_host_task(self, name: str, data: Mapping[str, Any]) -> None:
        result = data.get("res") or {}
        if name == "runner_on_unreachable" or (
            name == "runner_on_failed" and not data.get("ignore_errors")
        ):
            failure = self._failure(data, result, unreachable=name == "runner_on_unreachable")
            self._failures[str(data.get("host"))] = failure
            kind = EventKind.UNREACHABLE if failure.unreachable else EventKind.FAILED
            self.tell(kind, failure.message, data)
            return
        kind = _VERDICTS.get(name, EventKind.CHANGED if result.get("changed") else EventKind.OK)
        if kind is EventKind.CHANGED:
            self.changed.add(str(data.get("host")))
        self.tell(kind, "", data)

    def _failure(
        self, data: Mapping[str, Any], result: Mapping[str, Any], *, unreachable: bool
    ) -> Failure:
        message = self._redactor.text(failure_message(result))
        exit_code = result.get("exit_code")
        return Failure(
            message=message,
            task=data.get("task"),
            role=_role(data),
            code=result.get("code") if isinstance(result.get("code"), str) else _code(message),
            exit_code=exit_code if isinstance(exit_code, int) else None,
            unreachable=unreachable,
        )


def failure_message(result: Mapping[str, Any]) -> str:
    """Find the words that tell why a task failed: its message, and what the program said."""
    items = result.get("results")
    if isinstance(items, list):
        for item in items:
            if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable")):
                return failure_message(item)
    if "censored" in result:
        return "failed; its output is hidden because the task handles secrets (no_log)"
    said = [
        _as_text(result.get("msg")),
        _as_text(result.get("stderr")) or _as_text(result.get("module_stderr")),
    ]
    text = "\n".join(part for part in said if part) or _as_text(result.get("stdout"))
    return _first_lines(text) or "failed; Ansible gives no message"


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else clean(str(value)).strip()


def _first_lines(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"... ({len(lines) - _LINES + 1} more lines)"]
    return "\n".join(lines)


def _code(message: str) -> str | None:
    match = _CODE.search(message)
    return match.group() if match else None


def _role(data: Mapping[str, Any]) -> str | None:
    role = data.get("role")
    return str(role).rpartition(".")[2] if role else None
