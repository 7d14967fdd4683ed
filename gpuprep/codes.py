"""Every code that gpuprep reports, with its meaning and its remedy: ``codes.yml``, typed.

What runs on a host cannot import this; a contract test holds its codes to the same table.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep import kept
from gpuprep.model import Message, Refusal
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE_FILE = Path(__file__).with_name("codes.yml")


class CodeKind(StrEnum):
    """What it means for a host that a code is reported."""

    REFUSAL = "refusal"
    FAILURE = "failure"
    WARNING = "warning"


class Code(Value, frozen=True):
    """A stable code.

    Attributes:
        name: ``E_NO_GPU``, ``W_MINOR_COMPAT``.
        kind: whether the host is refused, has failed, or is only warned of.
        message: what is said of a refusal or warning, with places for the values of the case;
            what a failure means.
        remedy: what the user can do, in Markdown.

    """

    name: str
    kind: CodeKind
    message: str
    remedy: str


@cache
def table() -> Mapping[str, Code]:
    """Return all codes by name, in alphabetical order."""
    entries = kept.own(TABLE_FILE)
    return {
        name: Code(name, CodeKind(entry["kind"]), entry["message"], entry["remedy"])
        for name, entry in entries.items()
    }


def text(code: str, **values: object) -> str:
    """Return the message of a code with its values filled in.

    Raises:
        KeyError: the table has no such code, or a value of its message is missing.

    """
    return table()[code].message.format(**values)


def refusal(code: str, **values: object) -> Refusal:
    """Return the refusal of a code; raises as ``text`` does."""
    return Refusal(code, text(code, **values))


def warning(code: str, **values: object) -> Message:
    """Return the warning of a code; raises as ``text`` does."""
    return Message(code, text(code, **values))
