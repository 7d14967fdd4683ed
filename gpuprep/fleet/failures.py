"""Why a host did not get through, as Ansible's results tell it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gpuprep.errors import ConfigError
from gpuprep.model.text import clean
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED: Final = 3  # hosts of a list
_LINES: Final = 12  # of a failure's message
_CODE: Final = re.compile(r"\bE_[A-Z][A-Z0-9_]*\b")
_HIDDEN: Final = "failed; its output is hidden because the task handles secrets (no_log)"


class Failure(Value, frozen=True):
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

    @property
    def sentence(self) -> str:
        """Where it failed, and the message."""
        return ": ".join(part for part in (self.role, self.task, self.message) if part)


def failure_message(result: Mapping[str, object]) -> str:
    """Return the words that tell why a task failed: its message, and what the program said."""
    items = result.get("results")
    if isinstance(items, list):
        for item in items:
            if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable")):
                return failure_message(item)
    if "censored" in result or result.get("_ansible_no_log"):
        return _HIDDEN
    said = [
        _as_text(result.get("msg")),
        _as_text(result.get("stderr")) or _as_text(result.get("module_stderr")),
    ]
    text = "\n".join(part for part in said if part) or _as_text(result.get("stdout"))
    return _first_lines(clean(text)) or "failed; Ansible gives no message"


def failure_code(result: Mapping[str, object], message: str) -> str | None:
    """Return the ``E_*`` code of a failed task: its result's own, or one in its message."""
    code = result.get("code")
    if isinstance(code, str):
        return code
    match = _CODE.search(message)
    return match.group() if match else None


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else str(value).strip()


def _first_lines(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"... ({len(lines) - _LINES + 1} more lines)"]
    return "\n".join(lines)


def names_in_words(names: Sequence[str]) -> str:
    """Return the first of some hosts, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def settings_error(errors: Mapping[str, str]) -> ConfigError:
    """Return the error of a run in which no host's settings make sense, by host."""
    hosts: dict[str, list[str]] = {}
    for host, error in errors.items():
        hosts.setdefault(error, []).append(host)
    return ConfigError("; ".join(f"{names_in_words(n)}: {text}" for text, n in hosts.items()))
