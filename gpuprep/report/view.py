"""What all reports say alike: the order of states, the one sentence on a host, its GPUs."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from gpuprep.catalog import load
from gpuprep.codes import table
from gpuprep.ladder.checks import BY_ID
from gpuprep.model.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Worst first; what each state means.
STATES: Final[Mapping[str, str]] = {
    "failed": "something is broken",
    "unreachable": "could not be reached",
    "refused": "nothing was touched, for a reason",
    "drifted": "differs from the desired stack",
    "unknown": "not looked at to the end",
    "prepared": "all that can be shown without a GPU or a driver",
    "ready": "proven on a GPU",
}
GOOD: Final = ("prepared", "ready")
BAD_CHECKS: Final = ("failed", "warned")
_LONGEST_TITLE: Final = 160
_PLACES: Final = re.compile(r"\{[^}]*\}")  # for the values of a case, in messages of the table


def hosts_of(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the hosts, worst state first; of the good ones those with warnings, then by name."""
    order = list(STATES)

    def rank(host: Mapping[str, Any]) -> tuple[int, bool, str]:
        state = str(host.get("state"))
        quiet = state in GOOD and not problems_of(host)
        return (order.index(state) if state in order else len(order), quiet, str(host.get("name")))

    return sorted(dict(result["hosts"]).values(), key=rank)


def is_good(host: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Return whether a host is as a result of this kind can want it; a plan wants no more."""
    state = host.get("state")
    return state in GOOD or (is_prediction(result) and state in {"drifted", "unknown"})


def is_prediction(result: Mapping[str, Any]) -> bool:
    """Return whether a result only says what would be done."""
    return result.get("verb") == "plan" or bool(result.get("check"))


def failed_hosts(result: Mapping[str, Any]) -> list[str]:
    """Return the names of the hosts that are not as they should be, in the order of the run."""
    return [str(name) for name, host in result["hosts"].items() if not is_good(host, result)]


def counts_of(hosts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count hosts by state, worst first; states without hosts are left out."""
    found = Counter(str(host.get("state")) for host in hosts)
    known = {state: found.pop(state) for state in STATES if state in found}
    return known | dict(found)


def headline(result: Mapping[str, Any]) -> str:
    """Return a sentence on how the fleet is: ``58 of 60 hosts ready``."""
    hosts = hosts_of(result)
    counts = counts_of(hosts)
    total = len(hosts)
    noun = "host" if total == 1 else "hosts"
    if not total:
        return "No hosts"
    if len(counts) == 1:
        state = next(iter(counts))
        return f"{hosts[0].get('name')} {state}" if total == 1 else f"All {total} {noun} {state}"
    ready = counts.get("ready", 0)
    if ready:
        return f"{ready} of {total} {noun} ready"
    good = sum(counts.get(state, 0) for state in GOOD)
    return f"{good} of {total} {noun} prepared, none proven"


def bad_checks(host: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the checks that failed, then those that warned; of a refused host none.

    It was left as it is, so what it lacks is no news: the reason of the refusal is.
    """
    if host.get("state") == "refused":
        return []
    checks = [check for check in host.get("checks") or () if check.get("status") in BAD_CHECKS]
    return sorted(checks, key=lambda check: BAD_CHECKS.index(check["status"]))


def sentence(host: Mapping[str, Any]) -> str:
    """Return a sentence on what there is to say about a host."""
    if host.get("error"):
        code = f"{host['code']}: " if host.get("code") else ""
        return f"{code}{host['error']}"
    warnings = [f"{each.get('code')}: {each.get('message')}" for each in host.get("warnings") or ()]
    return "; ".join((*_first(host), *warnings[:1])) + _and_more(len(warnings))


def _first(host: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is most in the way of a host without an error, if anything."""
    bad = bad_checks(host)
    if bad:
        return (f"{title_of(bad[0])}: {bad[0].get('detail')}{_and_more(len(bad))}",)
    steps = host.get("steps") or ()
    open_steps = sum(step.get("status") != "done" for step in steps)
    if open_steps:
        return (f"{open_steps} {'step' if open_steps == 1 else 'steps'} to do",)
    return ("a reboot is due",) if host.get("reboot_required") else ()


def _and_more(number: int) -> str:
    return f" (and {number - 1} more)" if number > 1 else ""


def title_of(check: Mapping[str, Any]) -> str:
    """Return what a check says in a few words: what holds, or what is wrong.

    Its id where this version does not know it.
    """
    known = BY_ID.get(str(check.get("id")))
    if known is None:
        return str(check.get("id"))
    return known.failure if check.get("status") in BAD_CHECKS else known.title


def problems_of(host: Mapping[str, Any]) -> list[str]:
    """Return the codes and check ids of what is wrong with a host, or warned of."""
    code = [str(host["code"])] if host.get("code") else []
    checks = [str(check["id"]) for check in bad_checks(host)]
    warnings = [str(warning.get("code")) for warning in host.get("warnings") or ()]
    return list(dict.fromkeys((*code, *checks, *warnings)))


def problem_title(problem: str, hosts: Sequence[Mapping[str, Any]]) -> str:
    """Return a code or check id in words that hold for all of these hosts."""
    known = BY_ID.get(problem)
    if known is not None:
        return known.failure
    said = {text for host in hosts for text in _told(problem, host)}
    if len(said) == 1:
        return clean_line(said.pop(), _LONGEST_TITLE)
    code = table().get(problem)
    if code is None:
        return problem
    general = _PLACES.sub("…", code.message)
    return general if re.search("[a-z]", general) else code.remedy


def _told(code: str, host: Mapping[str, Any]) -> Iterator[str]:
    if host.get("code") == code and host.get("error"):
        yield str(host["error"])
    for warning in host.get("warnings") or ():
        if warning.get("code") == code:
            yield str(warning.get("message"))


@cache
def _gpu_names() -> Mapping[str, str]:
    return {pci_id: gpu.name for pci_id, gpu in load().gpus.items()}


@cache
def sources(ids: str) -> str:
    """Spell the catalog's source ids out: ``drv615`` -> the document's title and date."""
    known = load().sources
    found = [(name, known.get(name)) for name in ids.split(", ")]
    return "; ".join(
        f"{source.title} ({source.date})" if source else name for name, source in found
    )


def gpus_of(host: Mapping[str, Any]) -> str:
    """Return a host's GPUs by name: ``8 x H100 SXM5 80GB``; empty when it has none."""
    found = Counter((host.get("facts") or {}).get("gpus") or ())
    return ", ".join(
        f"{number} \N{MULTIPLICATION SIGN} {_gpu_names().get(pci_id, pci_id)}"
        for pci_id, number in found.items()
    )


def duration(seconds: object) -> str:
    """Write a time as people say it: ``0.4 s``, ``12 s``, ``3 min 5 s``."""
    if not isinstance(seconds, int | float):
        return ""
    if seconds < 10:  # noqa: PLR2004 - below, tenths matter
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def run_in_words(result: Mapping[str, Any]) -> str:
    """Return who ran on which hosts with which settings; empty where the result does not say."""
    run = result.get("run") or {}
    parts = (
        run.get("by"),
        ", ".join(map(str, run.get("inventory") or ())),
        f"limit {run['limit']}" if run.get("limit") else None,
        *(f"{name}={_as_typed(value)}" for name, value in (run.get("settings") or {}).items()),
        *(f"@{name}" for name in run.get("variable_files") or ()),
    )
    return " · ".join(str(part) for part in parts if part)


def versions_in_words(result: Mapping[str, Any]) -> str:
    """Return the id of a run and the programs that did it; empty where the result does not say."""
    run = result.get("run") or {}
    parts = (
        ("run", run.get("id")),
        ("gpuprep", run.get("gpuprep")),
        ("ansible-core", run.get("ansible_core")),
    )
    return ", ".join(f"{name} {value}" for name, value in parts if value)


def _as_typed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def ladder_of(host: Mapping[str, Any]) -> str:
    """Return how many checks passed, were not tried and failed; empty where none were made."""
    counts = Counter(str(check.get("status")) for check in host.get("checks") or ())
    words = {"passed": "passed", "skipped": "not tried", "warned": "warned", "failed": "failed"}
    return ", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state])


def moment(started: str) -> str:
    """Shorten ``2026-11-21T02:00:13.5+00:00`` to ``2026-11-21 02:00 UTC``."""
    return f"{started[:10]} {started[11:16]} UTC" if "T" in started else started
