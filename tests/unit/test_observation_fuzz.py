"""Whatever a host answers is that host's result: an error that says so, or a value to work on.

Valid observations with their probe's answers are changed at any place and read; what could be read
goes all the way through planner, ladder and report writers, beside a healthy host.
"""

from __future__ import annotations

import copy
import io
import json
import random
import unicodedata
from dataclasses import asdict, replace
from types import NoneType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cases import bare, carried_out, observed
from verify_cases import healthy, stack

from gpuprep.catalog import load
from gpuprep.ladder.evaluate import NOT_UNDERSTOOD, evaluate, state_of
from gpuprep.ladder.expect import expectation
from gpuprep.model import CheckResult, FleetResult, HostResult, Tier
from gpuprep.model.codec import decode
from gpuprep.observe import HostObservation, ObservationError, read
from gpuprep.observe.reading import read_json
from gpuprep.planner import plan_host, settings_from
from gpuprep.report.formats import FORMATS, render
from gpuprep.report.schema import validate
from gpuprep.report.terminal import render as show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Path = tuple[str | int, ...]
CATALOG = load()
ENVIRONMENT = {"name": "train", "packages": ["python=3.12", "numpy"]}
WANTED = (
    settings_from({}),
    settings_from({"gpu_driver_branch": "keep", "conda_environments": [ENVIRONMENT]}),
    settings_from({"gpu_driver_branch": "none", "cudnn_version": "none"}),
)
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b1mready\x00\x7f\x85\u202egnp\u2066\ud800|`</script>\r\n{{ 1 }}"
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3.5, 1e308, float("nan"), float("-inf"), 10**17, 10**40,
    "", " ", "x", "²", "9" * 5000, "580", "../..", HOSTILE, HOSTILE * 3000,
    [], [None], [[]], ["x"], [3], [{}], [{"error": HOSTILE}],
    {}, {"": ""}, {"x": None}, {HOSTILE: HOSTILE}, {"code": [], "rc": {}},
)  # fmt: skip


def prepared() -> dict[str, Any]:
    plan = plan_host(observed(bare()), WANTED[0], CATALOG)
    return {**carried_out(bare(), plan), "probe": {}}


BASES: tuple[dict[str, Any], ...] = (
    {**healthy().observation, "probe": healthy().probe},
    {**bare(), "probe": {}},
    prepared(),
)


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Give the place of every value within JSON types."""
    items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*at, key)
        yield from paths(item, (*at, key))


PLACES = tuple((base, path) for base in range(len(BASES)) for path in paths(BASES[base]))


def put(data: Any, path: Path, value: Any, how: str) -> None:
    """Change one place; a place that an earlier change took away stays as it is."""
    for key in path[:-1]:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return
    last: Any = path[-1]
    if isinstance(data, list) and not (isinstance(last, int) and last < len(data)):
        return
    if not isinstance(data, list | dict):
        return
    if how == "delete":
        if isinstance(data, list) or last in data:
            del data[last]
    elif how == "rename" and isinstance(data, dict):
        data[str(value)[:200]] = data.pop(str(last), None)
    elif how == "wrap":
        data[last] = [data[last]] if isinstance(data, list) else [data.get(last)]
    else:
        data[last] = copy.deepcopy(value)


def is_harmless(text: str) -> bool:
    """Whether a text has no control, no surrogate, no override of direction."""
    return all(
        char in "\n\t" or (unicodedata.category(char) not in {"Cc", "Cs"} and char not in BIDI)
        for char in text
    )


BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def result_of(name: str, observation: HostObservation) -> HostResult:
    """Take a host through planner and ladder, with every kind of settings."""
    for wanted in WANTED:
        plan = plan_host(observation, wanted, CATALOG)
        expected = expectation(CATALOG, observation.package_manager.family, wanted.shape)
        for resolved in (plan.stack, None):
            checks = evaluate(observation, resolved, Tier.BURN_IN, expected)
            assert [check.detail for check in checks if NOT_UNDERSTOOD in check.detail] == []
            for check in checks:
                assert decode(CheckResult, asdict(check)) == check
        for role in plan.roles.values():
            assert all(map(is_harmless, strings(json.loads(json.dumps(role.to_dict())))))
    return HostResult(
        name,
        state_of(checks, plan_is_empty=not plan.steps),
        steps=plan.steps,
        checks=checks,
        error=plan.error,
        code=plan.code,
        warnings=plan.warnings,
        stack=plan.stack,
        facts=plan.facts,
        versions=plan.versions,
    )


GOOD = result_of("good", read(json.dumps(BASES[0])))


def follow(text: str, *, with_reports: bool = True) -> None:
    """Read a text and, when it is an observation, carry it to every reader of a result."""
    observation = error = None
    try:
        observation = read(text)
    except ObservationError as caught:
        error = str(caught)
    if observation is None:
        assert error
        assert is_harmless(error)
        assert len(error) < 600
        return
    odd = result_of("odd", observation)
    fleet = FleetResult("verify", {"good": GOOD, "odd": odd}, started="2026-11-21T02:00:13+00:00")
    plain = json.loads(json.dumps(fleet.to_dict()))
    assert [text for text in strings(plain) if not is_harmless(text)] == []
    if not with_reports:
        return
    validate(plain)
    for form in FORMATS:
        written = render(plain, form)
        assert is_harmless(written)
        written.encode()
    stream = io.StringIO()
    show(fleet, fleet.exit_code, stream)
    assert is_harmless(stream.getvalue())


@pytest.mark.parametrize("base", range(len(BASES)))
def test_the_bases_are_observations(base: int) -> None:
    assert isinstance(read(json.dumps(BASES[base])), HostObservation)
    follow(json.dumps(BASES[base]))


CHANGES = st.tuples(
    st.sampled_from(PLACES),
    st.sampled_from(ODD) | st.text(max_size=20) | st.integers() | st.floats(),
    st.sampled_from(["replace", "replace", "delete", "rename", "wrap"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=4))
def test_an_observation_changed_anywhere_is_that_hosts_result(changes: list[Any]) -> None:
    data = copy.deepcopy(BASES[changes[0][0][0]])
    for (_, path), value, how in changes:
        put(data, path, value, how)
    follow(json.dumps(data))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20_000), st.sampled_from(["", "[" * 200_000, '{"a":' * 200_000, HOSTILE]))
def test_an_answer_that_breaks_off_is_that_hosts_result(length: int, end: str) -> None:
    follow(json.dumps(BASES[0])[:length] + end, with_reports=False)


def test_every_place_of_the_probe_with_a_third_of_the_odd_values_is_judged() -> None:
    observation = read(json.dumps(BASES[0]))
    # As read() leaves them; a number of 5000 digits has been tried there.
    odd = [read_json(f'{{"schema": {json.dumps(value)}}}')["schema"] for value in ODD]
    expected = expectation(CATALOG, observation.package_manager.family)
    for number, path in enumerate(paths(observation.probe)):
        for value in odd[number % 3 :: 3]:
            data = copy.deepcopy(dict(observation.probe))
            put(data, path, value, "replace")
            wanted = stack() if number // 3 % 2 else None
            checks = evaluate(replace(observation, probe=data), wanted, Tier.BURN_IN, expected)
            assert [check for check in checks if NOT_UNDERSTOOD in check.detail] == [], path
            for check in checks:
                assert type(check.seconds) in (float, NoneType), path
                assert {type(check.expected), type(check.observed)} <= {str, NoneType}, path


@pytest.mark.slow
@pytest.mark.parametrize("base", range(len(BASES)))
def test_every_place_with_some_odd_values(base: int) -> None:
    chance = random.Random(base)  # noqa: S311 - a repeatable sample
    for path in paths(BASES[base]):
        for value in chance.sample(ODD, 3):
            data = copy.deepcopy(BASES[base])
            put(data, path, value, "replace")
            follow(json.dumps(data), with_reports=False)
