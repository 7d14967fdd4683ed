"""Markdown summary: for a pull request, a chat or a CI job's page."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from gpuprep.components import COMPONENTS
from gpuprep.ladder.checks import BY_ID
from gpuprep.model.text import LIMIT, clean_line
from gpuprep.report.compare import change_in_words, since
from gpuprep.report.view import (
    GOOD,
    bad_checks,
    counts_of,
    duration,
    gpus_of,
    headline,
    hosts_of,
    ladder_of,
    problem_title,
    problems_of,
    run_in_words,
    sentence,
    title_of,
    versions_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_ROWS: Final = 200  # CI pages cut a summary off at about 1 MB
MOST_DETAILS: Final = 20
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|#~])")


def markdown(result: Mapping[str, Any]) -> str:
    """Write a result as GitHub-flavoured Markdown."""
    hosts = hosts_of(result)
    return "\n".join(
        (
            *_head(result, hosts),
            *_changes(result),
            *_common(hosts),
            *_table(hosts),
            *_details(hosts),
            "",
        )
    )


def _escape(value: object) -> str:
    """Write a text so that Markdown takes none of it for markup, on one line."""
    return _SPECIAL.sub(r"\\\1", clean_line(str(value), LIMIT))


def _head(result: Mapping[str, Any], hosts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"# gpuprep {_escape(result.get('verb'))}: {_escape(headline(result))}"
    yield ""
    when = f"{_escape(result['started'])}, " if result.get("started") else ""
    counts = ", ".join(f"{number} {state}" for state, number in counts_of(hosts).items())
    took = duration(result.get("seconds"))
    yield f"{when}{f'{took}, ' if took else ''}{counts}."
    for line in filter(None, (run_in_words(result), versions_in_words(result))):
        yield ""
        yield _escape(line)
    if result.get("cancelled"):
        yield ""
        yield "**Cancelled before the end; running again goes on.**"
    yield ""


def _changes(result: Mapping[str, Any]) -> Iterator[str]:
    """List what is different since the result that this one is compared with."""
    if "changes" not in result:
        return
    changes = result["changes"]
    yield f"## {_escape(since(result))}"
    yield ""
    for change in changes[:MOST_ROWS]:
        yield f"- {_escape(change_in_words(change))}"
    if len(changes) > MOST_ROWS:
        yield f"- ... and {len(changes) - MOST_ROWS} more"
    if not changes:
        yield "Nothing."
    yield ""


def _common(hosts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """List the problems that several hosts share."""
    problems = Counter(problem for host in hosts for problem in problems_of(host))
    shared = [(name, number) for name, number in problems.most_common(10) if number > 1]
    if shared:
        yield "Most common:"
        yield ""
        for name, number in shared:
            title = problem_title(name, hosts)
            code = f" ({name})" if name not in {title, *BY_ID} else ""
            yield f"- {_escape(title + code)}: {number} hosts"
        yield ""


def _table(hosts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    there = {name for host in hosts for name in host.get("versions") or ()}
    components = [component for component in COMPONENTS if component.name in there]
    titles = ("Host", "State", "GPUs", *(component.title for component in components), "Checks", "")
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)
    for host in hosts[:MOST_ROWS]:
        versions = host.get("versions") or {}
        cells = (
            host.get("name"),
            host.get("state"),
            gpus_of(host),
            *(versions.get(component.name) or "" for component in components),
            ladder_of(host),
            sentence(host)[:200],
        )
        yield f"| {' | '.join(_escape(cell) for cell in cells)} |"
    if len(hosts) > MOST_ROWS:
        yield ""
        yield f"... and {len(hosts) - MOST_ROWS} more, all {_range(hosts[MOST_ROWS:])}."
    yield ""


def _range(hosts: Sequence[Mapping[str, Any]]) -> str:
    return " or ".join(counts_of(hosts))


def _details(hosts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    bad = [host for host in hosts if host.get("state") not in GOOD]
    for host in bad[:MOST_DETAILS]:
        yield f"## {_escape(host.get('name'))}: {_escape(host.get('state'))}"
        yield ""
        if host.get("error"):
            yield f"{_escape(sentence(host))}"
            yield ""
        for step in host.get("steps") or ():
            change = " \N{RIGHTWARDS ARROW} ".join(
                _escape(step[key]) for key in ("before", "after") if step.get(key)
            )
            yield (
                f"- {_escape(step.get('action'))} {_escape(step.get('target'))}"
                f"{f' ({change})' if change else ''}: {_escape(step.get('reason'))}"
                f" [{_escape(step.get('status') or 'planned')}]"
            )
        for check in bad_checks(host):
            yield (
                f"- **{_escape(title_of(check))}** ({_escape(check.get('id'))}): "
                f"{_escape(check.get('detail'))}. {_escape(check.get('remedy') or '')}"
            )
        yield ""
    if len(bad) > MOST_DETAILS:
        yield f"Details of {len(bad) - MOST_DETAILS} more hosts are in the JSON and HTML reports."
