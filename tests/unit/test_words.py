from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from planner_cases import bare, observed

from gpuprep.catalog import load
from gpuprep.model import CheckResult, CheckStatus, PlanState
from gpuprep.planner import HostPlan, plan_host, settings_from
from gpuprep.report.text import MANY, checks_in_words, fleet_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

PLANNED = plan_host(observed(bare()), settings_from({}), load())


def told(plans: Mapping[str, HostPlan]) -> list[str]:
    return list(fleet_in_words(plans))


def test_a_plan_says_what_version_of_each_component_is_wanted() -> None:
    assert PLANNED.stack is not None
    wanted = dict(PLANNED.stack.versions)
    assert (wanted["driver"], wanted["cuda"], wanted["cudnn"]) == ("580 open", "13.0", "9")


def test_of_a_few_hosts_every_step_is_told_with_its_reason() -> None:
    first, *rest = told({"a": PLANNED})
    assert first.startswith(f"a: {len(PLANNED.steps)} steps to do; driver 580 open, cuda 13.0, ")
    assert len(rest) >= len(PLANNED.steps)
    assert "  ~ gpu_driver: install package nvidia-open-580" in rest  # its absence is no news
    told_why = (
        "/usr/local/cuda-13.0 (manual)): /usr/local/cuda is not fixed to /usr/local/cuda-13.0"
    )
    assert [line for line in rest if line.endswith(told_why)]


def test_of_many_hosts_one_line_each_and_warnings() -> None:
    lines = told({f"h{number}": PLANNED for number in range(MANY + 1)})
    assert len(lines) == (MANY + 1) * (1 + len(PLANNED.warnings))


def test_a_host_that_is_as_wanted_or_refused_takes_a_line() -> None:
    refused = HostPlan(PlanState.REFUSED, "E_X", "no such GPU")
    assert told({"a": HostPlan(PlanState.CONVERGED), "b": refused}) == [
        "a: up to date",
        "b: refused [E_X]: no such GPU",
    ]


def test_checks_are_counted_and_warnings_told() -> None:
    checks = [
        CheckResult("a", CheckStatus.PASSED, "fine"),
        CheckResult("b", CheckStatus.WARNED, "persistence is off"),
        CheckResult("c", CheckStatus.SKIPPED, "no driver"),
        CheckResult("d", CheckStatus.SKIPPED, "no driver"),
    ]
    judged = {"state": "converged", "host_status": "prepared", "checks": [*map(asdict, checks)]}
    assert list(checks_in_words("h", judged)) == [
        "h: prepared; ladder: 1 passed, 2 not tried (no driver), 1 warned, 0 failed",
        "  b: persistence is off",
    ]
    assert list(checks_in_words("h", {"state": "unreachable", "checks": []})) == [
        "h: unreachable; ladder: not climbed"
    ]
