"""Ansible's stream of events, read into typed events and into what a result needs of them."""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gpuprep.fleet.failures import Failure, failure_code, failure_message
from gpuprep.model import Done, FileDiff
from gpuprep.model.text import clean, clean_line
from gpuprep.run.events import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuprep.run.redact import Redactor

_log = logging.getLogger(__name__)
_KEPT_LINES: Final = 400
_LONGEST_FILE: Final = 1 << 16  # characters of a file that are told
_CONVERGE: Final = "gpuprep.core.converge"
_HOST_TASKS: Final = frozenset(
    {"runner_on_ok", "runner_on_failed", "runner_on_skipped", "runner_on_unreachable"}
)
_VERDICTS: Final = {"runner_on_skipped": EventKind.SKIPPED, "runner_on_failed": EventKind.FAILED}


class Transcript:
    """What happened in a run.

    Attributes:
        host_tasks: tasks carried out, counted once per host, skipped ones included.
        changed: hosts on which a task reported a change.
        failed_roles: by host, the role of the last task of a role that failed.
        operations: by host, what it carried out.
        diffs: by host, what files became, or would become.

    """

    def __init__(self, on_event: Callable[[Event], None], redactor: Redactor) -> None:
        self.host_tasks = 0
        self.changed: set[str] = set()
        self.failed_roles: dict[str, str] = {}
        self.operations: dict[str, list[Done]] = {}
        self.diffs: dict[str, list[FileDiff]] = {}
        self._on_event = on_event
        self._redactor = redactor
        self._failures: dict[str, Failure] = {}
        self._stats: Mapping[str, Mapping[str, int]] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    @property
    def complete(self) -> bool:
        """Whether Ansible's closing statistics were seen."""
        return self._stats is not None

    def go_on(self) -> None:
        """Take in the events of another part of the run: its end is the end."""
        self._stats = None

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
        if data.get("task_action") == _CONVERGE:
            self._keep_operations(data, result.get("operations"))
            self._keep_diffs(str(data.get("host")), result.get("diff"))
        if name == "runner_on_unreachable" or (
            name == "runner_on_failed" and not data.get("ignore_errors")
        ):
            failure = self._failure(data, result, unreachable=name == "runner_on_unreachable")
            self._failures[str(data.get("host"))] = failure
            if failure.role:
                self.failed_roles[str(data.get("host"))] = failure.role
            kind = EventKind.UNREACHABLE if failure.unreachable else EventKind.FAILED
            self.tell(kind, failure.message, data)
            return
        kind = _VERDICTS.get(name, EventKind.CHANGED if result.get("changed") else EventKind.OK)
        if kind is EventKind.CHANGED:
            self.changed.add(str(data.get("host")))
        self.tell(kind, "", data)

    def _keep_operations(self, data: Mapping[str, Any], found: object) -> None:
        done = self.operations.setdefault(str(data.get("host")), [])
        for one in found if isinstance(found, list) else ():
            seconds = one.get("seconds")
            done.append(
                Done(
                    role=_role(data) or "",
                    op=str(one.get("op")),
                    detail=self._redactor.text(clean_line(str(one.get("detail") or ""))),
                    changed=one.get("changed") is True,
                    seconds=float(seconds) if isinstance(seconds, int | float) else None,
                )
            )

    def _keep_diffs(self, host: str, found: object) -> None:
        for one in found if isinstance(found, list) else ():
            parts = (one.get(key) for key in ("after_header", "before", "after"))
            masked = (self._redactor.text(clean(str(part or ""), _LONGEST_FILE)) for part in parts)
            diff = FileDiff(*masked)
            told = self.diffs.setdefault(host, [])
            if diff not in told:  # roles share files; in check mode none of them writes
                told.append(diff)

    def _failure(
        self, data: Mapping[str, Any], result: Mapping[str, Any], *, unreachable: bool
    ) -> Failure:
        message = self._redactor.text(failure_message(result))
        exit_code = result.get("exit_code")
        return Failure(
            message=message,
            task=data.get("task"),
            role=_role(data),
            code=failure_code(result, message),
            exit_code=exit_code if isinstance(exit_code, int) else None,
            unreachable=unreachable,
        )


def _role(data: Mapping[str, Any]) -> str | None:
    role = data.get("role")
    return str(role).rpartition(".")[2] if role else None
