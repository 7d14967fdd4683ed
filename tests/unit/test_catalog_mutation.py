"""Does a wrong fact get noticed? Each fact of the data file is changed in turn."""

from __future__ import annotations

import copy
import random
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from resolver_matrix import ANSWERS, DATA, answer_line, questions
from test_resolver_golden import CASES, violations

from gpuprep.catalog.build import build
from gpuprep.components import resolve
from gpuprep.planner.facts_file import parse_facts
from gpuprep.resolve.answer import answer
from tools.catalog_pages import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.catalog import Catalog

Place = tuple[str | int, ...]
SEED = 20261120
# Versions of the file format, and dates that only people read.
NO_FACTS = {"schema_version"}


def places(node: Any, place: Place = ()) -> Iterator[Place]:
    """Every leaf of the data."""
    children = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else None
    )
    if children is None:
        yield place
        return
    for step, child in children:
        yield from places(child, (*place, step))


def changed(value: Any, step: str | int) -> Any:
    """A plausible wrong value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if value is None:
        return "1.0" if step in {"to", "last_branch", 1} else "999.0"  # an open end, closed
    digits = list(re.finditer(r"\d+", value))
    if digits and re.fullmatch(r"[\d.-]+", value):
        last = digits[-1]
        return value[: last.start()] + str(int(last.group()) + 1).zfill(len(last.group()))
    return value + "x"


def mutant(place: Place) -> dict[str, Any]:
    data = copy.deepcopy(DATA)
    node: Any = data
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = changed(node[place[-1]], place[-1])
    return data


EXPECTED = ANSWERS.read_text().splitlines()
QUESTIONS = list(questions())
PAGES = pages(build(DATA))


def killer(place: Place, *, behaviour_first: bool) -> str | None:
    """Name what notices the change first; None = nothing does."""
    try:
        catalog = build(mutant(place))
        if behaviour_first:
            return _by_golden(catalog) or _by_answers(catalog) or _by_pages(catalog)
        return _by_golden(catalog) or _by_pages(catalog) or _by_answers(catalog)
    except Exception as error:  # noqa: BLE001  (a test that ends in any error has noticed)
        return f"error {type(error).__name__}"


def _by_golden(catalog: Catalog) -> str | None:
    for case in CASES:
        facts, desired = parse_facts({"as_of": "2026-11-20", **case["in"]})
        if violations(answer(resolve(facts, desired, catalog)), case["expect"]):
            return "golden"
    return None


def _by_answers(catalog: Catalog) -> str | None:
    for (name, facts, desired), line in zip(QUESTIONS, EXPECTED, strict=True):
        if f"{name}: {answer_line(resolve(facts, desired, catalog))}" != line:
            return "answers"
    return None


def _by_pages(catalog: Catalog) -> str | None:
    return None if pages(catalog) == PAGES else "pages"


def all_places() -> list[Place]:
    return [place for place in places(DATA) if place[0] not in NO_FACTS]


def survivors(
    chosen: list[Place], *, behaviour_first: bool = False
) -> tuple[list[Place], Counter[str]]:
    killers = {place: killer(place, behaviour_first=behaviour_first) for place in chosen}
    counts = Counter((who or "nothing").split(" ")[0] for who in killers.values())
    return [place for place, who in killers.items() if who is None], counts


def report(counts: Counter[str], seconds: float) -> str:
    total = sum(counts.values())
    shares = ", ".join(f"{who} {n} ({n / total:.1%})" for who, n in counts.most_common())
    return f"{total} facts changed one by one in {seconds:.0f} s; noticed by: {shares}"


def kinds() -> list[list[Place]]:
    """Places by block of the data and name of the fact: what a rule or a page takes alike."""
    found: dict[Place, list[Place]] = {}
    for place in all_places():
        name = next(step for step in reversed(place) if isinstance(step, str))
        found.setdefault((place[0], name), []).append(place)
    return list(found.values())


def test_a_change_of_each_kind_of_fact_is_noticed() -> None:
    chosen = [random.Random(SEED).choice(alike) for alike in kinds()]  # noqa: S311  (no secret)
    start = time.monotonic()
    alive, counts = survivors(chosen)
    print(report(counts, time.monotonic() - start))  # noqa: T201  (pytest -s shows the share)
    assert alive == []


@pytest.mark.slow
def test_every_changed_fact_is_noticed() -> None:
    start = time.monotonic()
    alive, counts = survivors(all_places(), behaviour_first=True)
    print(report(counts, time.monotonic() - start))  # noqa: T201  (pytest -s shows the share)
    assert alive == []
