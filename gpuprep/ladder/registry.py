"""The rules by the check that they judge; a rule carries its check's id."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuprep.ladder.evidence import Evidence
    from gpuprep.ladder.findings import Finding

    Rule: TypeAlias = Callable[[Evidence], Finding]

RULES: dict[str, Rule] = {}


def judges(check_id: str) -> Callable[[Rule], Rule]:
    """Return a decorator that makes a function the rule of a check.

    Raises:
        ValueError: the check has a rule already.

    """

    def register(rule: Rule) -> Rule:
        if check_id in RULES:
            raise ValueError(f"check {check_id} has two rules")
        RULES[check_id] = rule
        return rule

    return register
