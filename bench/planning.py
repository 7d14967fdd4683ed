"""What one host costs on the controller, without ssh: reading, planning, judging, reporting.

Canned observations go through the real planner, ladder and reports. Planning is measured twice in
turns, once with every pattern of a package name tried by itself: the ratio of the two does not
depend on the machine, the milliseconds do.

    python -m bench.planning --hosts 1000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/unit"))
from planner_cases import bare, carried_out, observed
from report_cases import fleet

from gpuprep.catalog import load
from gpuprep.ladder.evaluate import evaluate
from gpuprep.ladder.expect import expectation
from gpuprep.model import Tier
from gpuprep.planner import plan_host, settings_from
from gpuprep.report.formats import FORMATS, render

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

ROUNDS: Final = 5
USERS: Final = (
    "gpuprep.components.differences",
    "gpuprep.components.driver",
    "gpuprep.packages.closure",
    "gpuprep.packages.deb",
    "gpuprep.planner.plan",
)


def one_by_one(name: str, patterns: Collection[str]) -> bool:
    """Return what ``model.names.matches`` does, pattern by pattern."""
    if any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!")):
        return False
    return any(fnmatchcase(name, p) for p in patterns if not p.startswith("!"))


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Return the CPU time of one of several repetitions."""
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", type=int, default=1000)
    hosts = parser.parse_args().hosts
    catalog, settings = load(), settings_from({})
    answer = carried_out(bare(), plan_host(observed(bare()), settings, catalog))
    seen = observed(answer)
    stack = plan_host(seen, settings, catalog).stack
    expect = expectation(catalog, seen.package_manager.family, None)

    def plan() -> Any:
        return plan_host(seen, settings, catalog)

    compiled, single = [], []
    for _ in range(ROUNDS):
        compiled.append(milliseconds(plan, hosts // ROUNDS))
        with ExitStack() as patched:
            for module in USERS:
                patched.enter_context(mock.patch(f"{module}.matches", one_by_one))
            single.append(milliseconds(plan, hosts // ROUNDS))
    result = fleet(hosts)
    rows = {
        "read the answer": milliseconds(lambda: observed(answer), hosts),
        "plan": statistics.median(compiled),
        "plan, pattern by pattern": statistics.median(single),
        "judge": milliseconds(lambda: evaluate(seen, stack, Tier.FULL, expect), hosts),
    }
    for form in FORMATS:
        spent = milliseconds(lambda form=form: render(result, form), 1)  # type: ignore[misc]
        rows[f"report as {form}"] = spent / hosts
    click.echo(f"{hosts} hosts, CPU ms per host, load {os.getloadavg()[0]:.1f}")
    for what, spent in rows.items():
        click.echo(f"{what:<26}{spent:>8.2f}")
    click.echo(f"ratio of planning         {rows['plan, pattern by pattern'] / rows['plan']:>8.2f}")
    sizes = {indent: len(json.dumps(result, indent=indent)) for indent in (None, 2)}
    click.echo(f"report.json: {sizes[None] / 1e6:.1f} MB, indented {sizes[2] / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
