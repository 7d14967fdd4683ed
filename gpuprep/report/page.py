"""One self-contained page: no asset, no request, a policy that forbids both.

The result travels inside the page as JSON with every text stored once; hosts are drawn when they
are opened, so that 1,000 of them are no burden.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections import Counter
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from gpuprep.components import COMPONENTS
from gpuprep.ladder.checks import BY_ID
from gpuprep.report.compare import change_in_words, since
from gpuprep.report.text import diff_in_lines, diff_of, news_of
from gpuprep.report.view import (
    STATES,
    counts_of,
    gpus_of,
    headline,
    hosts_of,
    is_prediction,
    moment,
    problem_title,
    problems_of,
    run_in_words,
    sentence,
    sources,
    versions_in_words,
)
from gpuprep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CHECK_STATES: Final = ("passed", "failed", "warned", "skipped")
STEP_STATES: Final = ("planned", "done", "failed", "unknown")
MOST_PROBLEMS: Final = 8
MOST_CHANGES: Final = 200


def page(result: Mapping[str, Any]) -> str:
    """Write a result as an HTML page."""
    style, script = _asset("page.css"), _asset("page.js")
    said = headline(result)
    # Data goes in last: it may contain anything, also what looks like a mark.
    parts = {
        "@STYLE_HASH@": _hash(style),
        "@SCRIPT_HASH@": _hash(script),
        "@STYLE@": style,
        "@SCRIPT@": script,
        "@TITLE@": html.escape(f"gpuprep {result.get('verb')}: {said}"),
        "@HEADLINE@": html.escape(said),
        "@DATA@": _embedded(_data(result)),
    }
    text = _asset("page.html")
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _asset(name: str) -> str:
    return (files("gpuprep.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(data: object) -> str:
    """Write JSON that cannot end the element it stands in."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


@dataclass(slots=True)
class _Strings:
    """Texts, each stored once."""

    numbers: dict[str, int] = field(default_factory=dict)

    def __call__(self, value: object) -> int | None:
        """Return the number of a text; None for none."""
        if value is None:
            return None
        return self.numbers.setdefault(str(value), len(self.numbers))


@dataclass(slots=True)
class _Checks:
    """Checks in the order in which they are first seen, with what is known of each."""

    numbers: dict[str, int] = field(default_factory=dict)

    def __call__(self, check_id: str) -> int:
        """Return the number of a check."""
        return self.numbers.setdefault(check_id, len(self.numbers))

    def described(self) -> list[dict[str, str]]:
        """Describe the checks that were seen."""
        return [_description(check_id) for check_id in self.numbers]


def _description(check_id: str) -> dict[str, str]:
    known = BY_ID.get(check_id)
    if known is None:
        return {"id": check_id, "title": check_id}
    return {
        "id": check_id,
        "title": known.title,
        "failure": known.failure,
        "proves": known.proves,
        "tier": known.tier,
    }


def _data(result: Mapping[str, Any]) -> dict[str, Any]:
    hosts = hosts_of(result)
    strings, checks = _Strings(), _Checks()
    rows = [_host(host, strings, checks) for host in hosts]
    problems = Counter(problem for row in rows for problem in row["problems"])
    return {
        "version": __version__,
        "verb": str(result.get("verb")),
        "check": bool(result.get("check")),
        "pending": is_prediction(result),
        "cancelled": bool(result.get("cancelled")),
        "when": moment(str(result.get("started") or "")),
        "seconds": result.get("seconds"),
        "run": {"head": run_in_words(result), "foot": versions_in_words(result)},
        "changes": _changes(result),
        "costs": dict(result.get("counts") or {}),
        "counts": [
            (state, number, STATES.get(state, "")) for state, number in counts_of(hosts).items()
        ],
        "problems": [
            (problem, problem_title(problem, hosts), number, _is_warning(problem))
            for problem, number in sorted(problems.items(), key=_weight)[:MOST_PROBLEMS]
        ],
        "hosts": rows,
        "titles": {component.name: component.title for component in COMPONENTS},
        "checks": checks.described(),
        "strings": list(strings.numbers),
    }


def _changes(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is different since another result; None where this one was not compared."""
    if "changes" not in result:
        return None
    changes = result["changes"]
    return {
        "title": since(result),
        "lines": [change_in_words(change) for change in changes[:MOST_CHANGES]],
        "more": max(0, len(changes) - MOST_CHANGES),
    }


def _weight(counted: tuple[str, int]) -> tuple[bool, int]:
    """Order problems: the most common first, warnings last."""
    problem, number = counted
    return _is_warning(problem), -number


def _is_warning(problem: str) -> bool:
    known = BY_ID.get(problem)
    return problem.startswith("W_") if known is None else known.severity == "warning"


def _host(host: Mapping[str, Any], strings: _Strings, checks: _Checks) -> dict[str, Any]:
    facts = host.get("facts") or {}
    return {
        "name": str(host.get("name")),
        "state": str(host.get("state")),
        "say": sentence(host),
        "gpus": gpus_of(host),
        "error": strings(host.get("error")),
        "code": strings(host.get("code")),
        "planned": bool(host.get("stack")) and str(host.get("state")) != "refused",
        "reboot": bool(host.get("reboot_required")),
        "shape": strings(facts.get("shape")),
        "os": strings(facts.get("os")),
        "kernel": strings(facts.get("kernel")),
        "problems": problems_of(host),
        "versions": [
            (str(name), strings(value))
            for name, value in (host.get("versions") or {}).items()
            if value
        ],
        "warnings": _rows(host.get("warnings"), ("code", "message", "nearest"), strings),
        "reasons": [
            [
                *_row(reason, ("choice", "value", "why"), strings),
                strings(sources(str(reason.get("source") or ""))),
            ]
            for reason in (host.get("stack") or {}).get("reasons") or ()
        ],
        "steps": [
            [
                *_row(step, ("id", "role", "action", "target"), strings),
                strings(news_of(str(step.get("target")), str(step.get("reason"))) or None),
                *_row(step, ("before", "after"), strings),
                STEP_STATES.index(step.get("status") or "planned"),
            ]
            for step in host.get("steps") or ()
        ],
        "operations": [
            [
                *_row(done, ("role", "detail"), strings),
                bool(done.get("changed")),
                done.get("seconds"),
            ]
            for done in host.get("operations") or ()
        ],
        "diffs": [
            [strings(diff.get("path")), strings("\n".join(diff_in_lines(diff_of(diff))))]
            for diff in host.get("diffs") or ()
        ],
        "checks": [
            [
                checks(str(check["id"])),
                CHECK_STATES.index(check["status"]),
                *_row(check, ("detail", "expected", "observed", "evidence", "remedy"), strings),
                check.get("seconds"),
            ]
            for check in host.get("checks") or ()
        ],
    }


def _rows(
    items: Iterable[Mapping[str, Any]] | None, keys: tuple[str, ...], strings: _Strings
) -> list[list[int | None]]:
    return [_row(item, keys, strings) for item in items or ()]


def _row(item: Mapping[str, Any], keys: tuple[str, ...], strings: _Strings) -> list[int | None]:
    return [strings(item.get(key)) for key in keys]
