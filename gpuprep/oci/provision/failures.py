"""What an answer of OCI means for a launch, and what is done about it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gpuprep import codes
from gpuprep.errors import ConfigError, GpuprepError, InventoryError
from gpuprep.model.text import clean_line
from gpuprep.oci.oci_errors import no_capacity

if TYPE_CHECKING:
    from gpuprep.model import Refusal
    from gpuprep.oci.client import Answer, CallFailedError

_LONGEST: Final = 2000
_LIMITS: Final = re.compile(r"limits? (?:were|was) exceeded: ([\w, -]+?)\.", re.IGNORECASE)
_HIDDEN: Final = frozenset(
    {"NotAuthorizedOrNotFound", "RelatedResourceNotAuthorizedOrNotFound", "NotAuthorized"}
)
_NO_SHAPE: Final = re.compile(r"\bshape\b.*\bnot found", re.IGNORECASE)
_NAME_TAKEN: Final = re.compile(r"hostname.*already (used|in use)", re.IGNORECASE)


class Next(StrEnum):
    """What is done about a failed launch."""

    OTHER_FAULT_DOMAIN = "the next fault domain"
    OTHER_DOMAIN = "the next availability domain"
    OTHER_TOKEN = "another retry token"  # noqa: S105 - no secret
    GIVE_UP = "no other place would do"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed launch.

    Attributes:
        code: of ``codes.yml``.
        text: OCI's words, and whatever helps.
        then: what is done about it.
        names: limits that it names.

    """

    code: str
    text: str
    then: Next
    names: tuple[str, ...] = ()


class RefusedError(ConfigError):
    """The fleet cannot be made as it is asked for; nothing was made."""

    def __init__(self, refusal: Refusal) -> None:
        self.code = refusal.code
        super().__init__(
            f"[{refusal.code}] {refusal.message}. {codes.table()[refusal.code].remedy}"
        )


class UnavailableError(InventoryError):
    """The cloud does not answer, or does not allow what is asked of it."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(f"[{code}] {text}. {codes.table()[code].remedy}")


def of_answer(error: CallFailedError) -> Failure:
    """Return what a refused launch means."""
    answer = error.answer
    return of_words(answer.status, answer.code, answer.text, str(error))


def of_work_request(code: str, message: str) -> Failure:
    """Return what it means that an accepted launch failed afterwards."""
    words = f"the launch was accepted and failed afterwards: {code}: {message}"
    known = of_words(None, code, message, words)
    return Failure("E_OCI_LAUNCH", words, Next.GIVE_UP) if known.code == "E_OCI_BUSY" else known


def of_words(status: int | None, code: str, message: str, words: str) -> Failure:  # noqa: PLR0911 - one per row of the table
    """Return what OCI's status, code and words mean; ``words`` are told to the user."""
    words = clean_line(words, _LONGEST)
    if no_capacity(code, message):
        return Failure("E_OCI_CAPACITY", words, Next.OTHER_FAULT_DOMAIN)
    if code == "LimitExceeded":
        found = _LIMITS.search(message)
        names = tuple(one.strip() for one in found[1].split(",")) if found else ()
        return Failure("E_OCI_LIMIT", words, Next.OTHER_DOMAIN, names)
    if code == "QuotaExceeded":
        return Failure("E_OCI_QUOTA", words, Next.GIVE_UP)
    if code == "InvalidatedRetryToken":
        return Failure("E_OCI_TOKEN", words, Next.OTHER_TOKEN)
    if _NO_SHAPE.search(message):
        return Failure("E_OCI_SHAPE", words, Next.OTHER_DOMAIN)
    if _NAME_TAKEN.search(message):
        return Failure("E_OCI_NAME", words, Next.GIVE_UP)
    if status == 401:  # noqa: PLR2004 - HTTP
        return Failure("E_OCI_SIGN_IN", words, Next.GIVE_UP)
    if code in _HIDDEN:
        return Failure("E_OCI_POLICY", words, Next.GIVE_UP)
    refused = 400 <= (status or 0) < 500 and status not in {409, 429}  # noqa: PLR2004 - HTTP
    if refused or code in {"InvalidParameter", "CannotParseRequest", "MissingParameter"}:
        return Failure("E_OCI_SETTING", words, Next.GIVE_UP)
    return Failure("E_OCI_BUSY", words, Next.GIVE_UP)


def raised(error: CallFailedError, principal: str) -> GpuprepError:
    """Return what to raise for a request that is no launch."""
    statement = error.statement(principal)
    answer: Answer = error.answer
    failure = of_answer(error)
    if failure.code == "E_OCI_POLICY":
        hint = f"\nThis policy would allow it: {statement}" if statement else ""
        return UnavailableError("E_OCI_POLICY", f"{error}{hint}\n")
    if answer.status is None or failure.code == "E_OCI_BUSY":
        return UnavailableError("E_OCI_BUSY", str(error))
    return UnavailableError(failure.code, str(error))
