"""Reports: what a run left in ``report.json``, as a page, for CI, for a chat, or checked.

Everything is made from the plain JSON of the result, so that a report can be made anywhere, later,
and by another version than the one that ran: unknown keys are passed over.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError
from gpuprep.report.junit import junit
from gpuprep.report.markdown import markdown
from gpuprep.report.page import page
from gpuprep.report.prometheus import prometheus
from gpuprep.report.schema import check, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORMATS", "render", "validate"]


def _plain(result: Mapping[str, Any]) -> str:
    return json.dumps(result, indent=2) + "\n"


FORMATS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "html": page,
    "markdown": markdown,
    "junit": junit,
    "json": _plain,
    "prometheus": prometheus,
}
SUFFIXES: Final[Mapping[str, str]] = {
    "html": ".html",
    "markdown": ".md",
    "junit": ".xml",
    "json": ".json",
    "prometheus": ".prom",
}


def render(result: Mapping[str, Any], fmt: str) -> str:
    """Write a result (``FleetResult.to_dict()``) in one of ``FORMATS``.

    Raises:
        ConfigError: the result is not one, or the format is unknown; says what is wrong.

    """
    if fmt not in FORMATS:
        raise ConfigError(f"no report format {fmt!r}; there are {', '.join(FORMATS)}")
    check(result)
    try:
        return FORMATS[fmt](result)
    except (AttributeError, KeyError, TypeError, ValueError):
        validate(result)  # says in words what is wrong; too slow to ask it first for 1,000 hosts
        raise
