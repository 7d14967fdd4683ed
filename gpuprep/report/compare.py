"""What is different between two results: run, hosts, states, versions, checks. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gpuprep.report.schema import check, validate
from gpuprep.report.view import BAD_CHECKS, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_RUN: Final = ("gpuprep", "ansible_core", "inventory", "limit", "variable_files")

Change = dict[str, Any]


def against(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with what is different since another: keys ``against`` and ``changes``.

    A change has a host (None: of the run), what it is of, and its value before and after; None for
    what was or is not there. Changes of the run come first, then hosts in the new result's order.

    Raises:
        ConfigError: one of the two is no result; says what is wrong.

    """
    for result in (new, old):
        check(result)
    try:
        changes = [*_of_runs(new, old), *_of_hosts(new["hosts"], old["hosts"])]
    except (AttributeError, KeyError, TypeError, ValueError):
        for result in (new, old):
            validate(result)
        raise
    run = old.get("run") or {}
    return {
        **new,
        "against": {"id": run.get("id"), "started": old.get("started"), "verb": old.get("verb")},
        "changes": changes,
    }


def change_in_words(change: Mapping[str, Any]) -> str:
    """Return a change on one line: ``gpu-7: driver 570.1 -> 580.2``."""
    host = f"{change['host']}: " if change.get("host") is not None else ""
    before, after = (change.get(key) for key in ("before", "after"))
    arrow = "\N{RIGHTWARDS ARROW}"
    return f"{host}{change.get('what')} {before or 'none'} {arrow} {after or 'none'}"


def since(result: Mapping[str, Any]) -> str:
    """Return a heading for the changes: since when."""
    started = str((result.get("against") or {}).get("started") or "the other result")
    return f"Changes since {moment(started)}"


def _of_runs(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Change]:
    yield from _differing(None, [("verb", old.get("verb"), new.get("verb"))])
    before, after = (result.get("run") or {} for result in (old, new))
    yield from _differing(None, [(name, before.get(name), after.get(name)) for name in _RUN])
    settings = [run.get("settings") or {} for run in (before, after)]
    for name in dict.fromkeys((*settings[0], *settings[1])):
        yield from _differing(None, [(name, settings[0].get(name), settings[1].get(name))])


def _of_hosts(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Change]:
    for name in (*new, *(gone for gone in old if gone not in new)):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            yield from _differing(name, [("host", _state(before), _state(after))])
        else:
            yield from _differing(name, _of_host(before, after))


def _of_host(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    yield "state", before.get("state"), after.get("state")
    yield "code", before.get("code"), after.get("code")
    versions = [host.get("versions") or {} for host in (before, after)]
    for name in dict.fromkeys((*versions[0], *versions[1])):
        yield name, versions[0].get(name), versions[1].get(name)
    for key in ("os", "kernel", "gpus"):
        facts = [(host.get("facts") or {}).get(key) for host in (before, after)]
        if all(facts):  # a host that did not answer has not lost its GPUs
            yield key, facts[0], facts[1]
    checks = [_checks(host) for host in (before, after)]
    for name in dict.fromkeys((*checks[0], *checks[1])):
        was, now = (each.get(name) for each in checks)
        if was in BAD_CHECKS or now in BAD_CHECKS:
            yield name, was, now


def _checks(host: Mapping[str, Any]) -> dict[str, str]:
    return {str(check["id"]): str(check["status"]) for check in host.get("checks") or ()}


def _state(host: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - a text or nothing
    return None if host is None else host.get("state")


def _differing(host: str | None, values: Iterable[tuple[str, Any, Any]]) -> Iterator[Change]:
    """Return those values that changed; each with its name, and how it was and is."""
    for what, before, after in values:
        if before != after:
            yield {"host": host, "what": what, "before": _text(before), "after": _text(after)}


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json.dumps(value)
