"""What holds for every host and every setting."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from resolver_rules import broken_rules, wanted_names
from resolver_strategies import CATALOG, SETTING_NAMES, cases

from gpuprep import codes
from gpuprep.components import resolve
from gpuprep.model import DesiredStack, HostFacts, Message, Refusal
from gpuprep.resolve.answer import answer
from gpuprep.resolve.text import refusal_in_words, stack_in_words

Case = tuple[HostFacts, DesiredStack]
PLAIN = DesiredStack()


def dropped(desired: DesiredStack, names: tuple[str, ...]) -> DesiredStack:
    """The desired without some of them; a dropped ``components`` leaves out the driver."""
    without_driver = tuple(part for part in wanted_names(desired) if part != "driver")
    changes: dict[str, Any] = {
        n: without_driver if n == "components" else getattr(PLAIN, n) for n in names
    }
    return replace(desired, **changes)


@settings(max_examples=200, deadline=None)
@given(case=cases)
def test_every_stack_obeys_every_rule(case: Case) -> None:
    facts, desired = case
    outcome = resolve(facts, desired, CATALOG)
    if not isinstance(outcome, Refusal):
        assert broken_rules(facts, desired, outcome) == []


@settings(max_examples=150, deadline=None)
@given(case=cases)
def test_every_answer_is_coded_and_printable(case: Case) -> None:
    facts, desired = case
    outcome = resolve(facts, desired, CATALOG)
    json.dumps(answer(outcome))
    if isinstance(outcome, Refusal):
        notes: list[Message] = [outcome]
        assert refusal_in_words(facts, outcome, CATALOG)
    else:
        notes = list(outcome.warnings)
        assert all(reason.why for reason in outcome.reasons)
        assert stack_in_words(facts, outcome, CATALOG)
    for note in notes:
        assert note.code in codes.table()
        assert "{" not in note.message
        assert "None" not in note.message


@settings(max_examples=150, deadline=None)
@given(case=cases)
def test_every_refusal_names_a_minimal_set_of_settings(case: Case) -> None:
    facts, desired = case
    refusal = resolve(facts, desired, CATALOG)
    if not isinstance(refusal, Refusal):
        return
    assert set(refusal.settings) <= SETTING_NAMES
    if not refusal.settings:
        bare = replace(PLAIN, components=desired.components, as_of=desired.as_of)
        assert isinstance(resolve(facts, bare, CATALOG), Refusal)
        return
    assert not isinstance(resolve(facts, dropped(desired, refusal.settings), CATALOG), Refusal)
    assert refusal.nearest
    for kept in refusal.settings:
        fewer = tuple(setting for setting in refusal.settings if setting != kept)
        assert isinstance(resolve(facts, dropped(desired, fewer), CATALOG), Refusal)


@settings(max_examples=50, deadline=None)
@given(case=cases)
def test_resolving_is_a_pure_function(case: Case) -> None:
    facts, desired = case
    assert resolve(facts, desired, CATALOG) == resolve(facts, desired, CATALOG)
