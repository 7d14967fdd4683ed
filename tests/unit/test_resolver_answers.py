"""The resolver answers as it did, to a fixed set of questions that touch every fact."""

from __future__ import annotations

import difflib

from resolver_matrix import ANSWERS, answers, questions

from gpuprep.catalog import load


def test_answers_are_as_recorded() -> None:
    recorded = ANSWERS.read_text().splitlines()
    now = list(answers(load()))
    difference = list(difflib.unified_diff(recorded, now, "recorded", "now", lineterm="", n=0))
    assert difference == [], "read it; if meant: python tests/unit/resolver_matrix.py --write"


def test_questions_have_names_of_their_own() -> None:
    names = [name for name, _, _ in questions()]
    assert len(names) == len(set(names))
