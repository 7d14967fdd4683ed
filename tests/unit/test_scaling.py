"""What many hosts cost: counted in calls, which no load of the machine changes."""

from __future__ import annotations

import io
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from report_cases import fleet

from gpuprep.fleet.report import HostReport
from gpuprep.model import FleetResult, PlanState, Step
from gpuprep.model.codec import decode
from gpuprep.report import formats, terminal
from gpuprep.run.results import host_results

if TYPE_CHECKING:
    from collections.abc import Callable

FEW, MANY = 40, 160
STEP = Step("conda.condarc./c", "conda", "condarc", "/c", "change", "differs")


def calls(work: Callable[[], object]) -> int:
    """Count the calls, of C functions too, that some work makes."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def growth(work: Callable[[int], Callable[[], object]]) -> float:
    """Return how many times the calls of few hosts four times as many hosts make."""
    work(FEW)()  # what is read once is there
    return calls(work(MANY)) / calls(work(FEW))


@pytest.mark.parametrize("form", formats.FORMATS)
def test_reports_cost_every_host_the_same(form: str) -> None:
    assert growth(lambda size: partial(formats.render, fleet(size), form)) < 4.4


def test_results_and_the_terminal_cost_every_host_the_same() -> None:
    def work(size: int) -> Callable[[], object]:
        plan = {f"h{n}": HostReport(PlanState.DRIFTED, steps=(STEP,)) for n in range(size)}
        proof = {name: HostReport(PlanState.CONVERGED) for name in plan}

        def run() -> None:
            hosts = host_results(plan, proof, {}, set(plan))
            result = FleetResult("apply", hosts)
            terminal.render(result, result.exit_code, io.StringIO())

        return run

    assert growth(work) < 4.4


def test_stored_hosts_are_read_at_the_same_cost_each() -> None:
    def work(size: int) -> Callable[[], object]:
        documents: list[Any] = [{"state": "converged", "checks": host["checks"]} for host in
                                fleet(size)["hosts"].values()]  # fmt: skip
        return lambda: [decode(HostReport, document) for document in documents]

    assert growth(work) < 4.4
