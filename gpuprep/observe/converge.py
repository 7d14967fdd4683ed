"""Ask a host to carry out operations: the program that is sent, and its answer read."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from gpuprep.layout import package_root
from gpuprep.observe.ship import ROOT, packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 1
MAX_ANSWER = 16 << 20  # characters


class AnswerError(ValueError):
    """A host's answer is none; the message says what came instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host did.

    Attributes:
        changed: anything was changed.
        operations: result per operation that was carried out.
        failed: the failed operation with code, message and diagnosis; None = all went well.
        earlier: what is told of an earlier run's step that had to be waited for.

    """

    changed: bool
    operations: tuple[Mapping[str, Any], ...] = ()
    failed: Mapping[str, Any] | None = None
    earlier: str | None = None
    diff: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def message(self) -> str:
        """What was done and what failed, one line each."""
        lines = [self.earlier] if self.earlier else []
        lines += [str(result.get("detail")) for result in self.operations]
        if self.failed:
            lines.append(failure_text(self.failed))
        return "\n".join(lines)


def failure_text(failed: Mapping[str, Any]) -> str:
    """Return a failure in words: code, reason, then what explains it."""
    parts = [str(failed.get("message") or ""), str(failed.get("diagnosis") or "")]
    return f"[{failed.get('code')}] " + " | ".join(part for part in parts if part)


@cache
def modules() -> tuple[str, ...]:
    """Return the names of the modules that operations consist of, in the order of loading."""
    folder = package_root() / "on_host/converge"
    names = sorted(path.stem for path in folder.glob("*.py"))
    own = (f"converge.{name}" for name in names if name != "__init__")
    return ("checkouts", "labels", "openpgp", *own)


def request(operations: Sequence[Mapping[str, Any]], **values: object) -> dict[str, Any]:
    """Return the request for operations.

    Args:
        operations: what to do, in order.
        values: ``role``, ``stage``, ``family``, ``lock_timeout`` (seconds), ``check``,
            ``environment``; all have defaults.

    """
    defaults = {
        "schema": SCHEMA,
        "role": "",
        "stage": "",
        "family": "deb",
        "lock_timeout": 600,
        "check": False,
        "environment": {},
    }
    return defaults | values | {"operations": list(operations)}


def script(asked: Mapping[str, Any]) -> tuple[str, str]:
    """Return the program that carries out a request, and the marker of its answer."""
    marker = f"gpuprep-answer-{secrets.token_hex(16)}"
    text = packed(
        modules(),
        f"from {ROOT}.converge.main import main",
        f"main({json.dumps(asked)!r}, {marker!r}, TEXTS)",
    )
    return text, marker


def read(text: str, marker: str) -> Answer:
    """Return a host's answer, whatever else it printed.

    Raises:
        AnswerError: there is no answer behind the marker.

    """
    _, found, rest = text.rpartition(f"{marker}\n")
    if not found or len(rest) > MAX_ANSWER:
        said = " ".join(text.split())[-300:]
        raise AnswerError(f"the host gave no answer but: {said!r}")
    try:
        raw, _ = json.JSONDecoder().raw_decode(rest)
        operations = tuple(dict(result) for result in raw["operations"])
        failed = raw["failed"] and dict(raw["failed"])
        if raw["schema"] != SCHEMA:
            raise AnswerError(f"answer of schema {raw['schema']!r}, expected {SCHEMA}")
        diff = tuple(dict(one) for result in operations for one in result.get("diff", ()))
        return Answer(bool(raw["changed"]), operations, failed or None, raw.get("earlier"), diff)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, AnswerError):
            raise
        raise AnswerError(f"the host's answer is cut off or mixed up: {error}") from error
