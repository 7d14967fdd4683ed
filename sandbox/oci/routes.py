"""How a request finds what answers it, and how rows are chosen and paged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox.oci.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Json = dict[str, Any]
Query = dict[str, str]

CORE: Final = "20160918"
LIMITS: Final = "20190729"
DEFAULT_PAGE: Final = 100
LONGEST_PAGE: Final = 1000  # the emulator's choice: OCI documents none
_SORTED_BY: Final = {
    "DISPLAYNAME": "displayName", "NAME": "name", "TIMECREATED": "timeCreated",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What a route gives: an object, rows to be paged, a text, or nothing (204).

    Attributes:
        one: an object.
        rows: a list.
        paged: whether the list comes in pages.
        wrapped: ``{"items": [...]}``, as newer lists are.
        text: plain text instead.
        headers: further headers of the answer.

    """

    one: Json | None = None
    rows: tuple[Json, ...] = ()
    paged: bool = True
    wrapped: bool = False
    text: str | None = None
    empty: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def page(self, query: Query) -> tuple[Any, str | None]:
        """Return the body and the token of the next page."""
        if self.one is not None:
            return self.one, None
        if not self.paged:
            return list(self.rows), None
        start = number(query, "page", 0)
        size = min(number(query, "limit", DEFAULT_PAGE, least=1), LONGEST_PAGE)
        rows = list(self.rows[start : start + size])
        following = str(start + size) if start + size < len(self.rows) else None
        return ({"items": rows} if self.wrapped else rows), following


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request that changes something brings along.

    Attributes:
        region: whose endpoint it came to.
        query: its parameters.
        body: the JSON object; empty when there is none.
        token: its ``opc-retry-token``.

    """

    region: str
    query: Query
    body: Json
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method and a path.

    Attributes:
        method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
        name: the path's pattern: ``/instances/{id}``.
        function: for ``GET`` takes region, query and what stands in braces; for the others a
            ``Sent`` and what stands in braces. Gives the result.
        parameters: the query parameters that it heeds; others are refused.
        version: first part of the path.

    """

    method: str
    name: str
    function: Callable[..., Result]
    parameters: frozenset[str]
    version: str = CORE

    def answer(self, path: str, sent: Sent) -> Result:
        """Answer a request.

        Raises:
            RefusedError: a parameter is unknown or wrong, or there is nothing to be seen.

        """
        unknown = ", ".join(sorted(sent.query.keys() - self.parameters))
        if unknown:
            text = f"the emulator knows no parameter {unknown} of {self.method} {self.name}"
            raise RefusedError(400, text)
        match = self.pattern.match(path)
        parts = match.groups() if match else ()
        if self.method == "GET":
            return self.function(sent.region, sent.query, *parts)
        return self.function(sent, *parts)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the path looks like."""
        return re.compile(re.sub(r"\{\w+\}", "([^/]+)", self.name) + "$")


def chosen(rows: Iterable[Json], query: Query, names: str) -> tuple[Json, ...]:
    """Return the rows whose fields are as the query says, in the order it asks for."""
    wanted = {name: query[name] for name in names.split() if name in query}
    found = [one for one in rows if all(one.get(name) == value for name, value in wanted.items())]
    if "sortBy" in query:
        key = _SORTED_BY.get(query["sortBy"])
        if key is None or query.get("sortOrder", "ASC") not in {"ASC", "DESC"}:
            raise RefusedError(400, "sortBy or sortOrder is not valid")
        found.sort(key=lambda one: str(one[key]), reverse=query.get("sortOrder") == "DESC")
    return tuple(found)


def needed(query: Query, name: str) -> str:
    """Return a parameter that must be there."""
    if not query.get(name):
        raise RefusedError(400, f"{name} is required")
    return query[name]


def number(query: Query, name: str, otherwise: int, least: int = 0) -> int:
    """Return a parameter that is a number."""
    text = query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise RefusedError(400, f"{name}: {text!r} is no number of {least} or more")
    return int(text)
