"""What is wrong with jobs: all of it at once, each with its code."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - typing.get_type_hints asks for it
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep import codes
from gpuprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: stable code, ``E_FS_CONSENT``.
        message: what is wrong, where, in a sentence.

    """

    code: str
    message: str

    def __str__(self) -> str:
        """Return code, message and remedy in one line."""
        return f"[{self.code}] {self.message}. {codes.table()[self.code].remedy}"


class JobsError(ConfigError):
    """Jobs cannot be carried out as they are described; nothing was touched.

    Attributes:
        problems: what is wrong.

    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(one) for one in self.problems))


def told(code: str, **values: object) -> Problem:
    """Return a problem with the message of its code."""
    return Problem(code, codes.text(code, **values))


def raise_for(problems: Iterable[Problem]) -> None:
    """Refuse when there are problems.

    Raises:
        JobsError: with all of them.

    """
    found = tuple(problems)
    if found:
        raise JobsError(found)
