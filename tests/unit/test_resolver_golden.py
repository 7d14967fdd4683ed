"""The golden cases, in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.planner.facts_file import parse_facts
from gpuprep.resolve.answer import answer

CASES = yaml.safe_load((Path(__file__).parent / "data" / "golden.yml").read_text())["cases"]


def violations(got: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    """What of a golden case's ``expect`` does not hold."""
    if "refuse" in expect:
        refusal = got.get("refusal", {"code": None, "message": ""})
        wrong = [] if refusal["code"] == expect["refuse"] else [f"refusal {refusal}"]
        if expect.get("message_contains", "") not in refusal["message"]:
            wrong.append(f"message {refusal['message']}")
        return wrong
    if "refusal" in got:
        return [f"refused: {got['refusal']}"]
    wrong = []
    for name, value in expect.items():
        if name == "packages":
            wrong += [f"missing {p}" for p in value if p not in got["packages"]]
        elif name == "version_locks_contain":
            wrong += [f"missing {line}" for line in value if line not in got["version_locks"]]
        elif name == "absent":
            names = {p.split("=")[0] for p in got["packages"]}
            wrong += [f"unwanted {p}" for p in value if p in names or p in got["packages"]]
        elif name == "repo_contains":
            wrong += [] if value in got["repo"] else [f"repo {got['repo']}"]
        elif isinstance(value, list):
            wrong += [] if sorted(got[name]) == sorted(value) else [f"{name}: {got[name]}"]
        else:
            wrong += [] if got[name] == value else [f"{name}: {got[name]}"]
    return wrong


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_golden_case(case: dict[str, Any]) -> None:
    facts, desired = parse_facts({"as_of": "2026-11-20", **case["in"]})
    assert violations(answer(resolve(facts, desired, load())), case["expect"]) == []
