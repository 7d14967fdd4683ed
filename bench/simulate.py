"""What fleets of thousands cost on the controller: canned observations through all that decides.

Every host answers a text, as over ssh: most of them as planned, some that differ, lack a GPU or do
not answer at all. The real reader, planner, ladder, verdicts, results, ``report.json`` and page do
the rest. Connections are not in it; ``bench noop`` has those.

    python -m bench simulate --simulated 100,1000,10000
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/unit"))
from planner_cases import bare, carried_out, observed

from bench.cost import BenchError
from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.fleet.verdicts import report_of
from gpuprep.ladder.evaluate import evaluate
from gpuprep.ladder.expect import expectation
from gpuprep.model import FleetResult, PlanState, Tier
from gpuprep.planner import HostPlan, plan_host, settings_from
from gpuprep.report.formats import render
from gpuprep.run.results import host_results

if TYPE_CHECKING:
    from gpuprep.fleet.report import HostReport

BROWSER: Final = "chromium"
DRIFTED, LOST = 10, 97  # every so manieth host


def run(sizes: list[int], folder: Path) -> list[dict[str, Any]]:
    """Return the cost of each size, each measured in a process of its own."""
    found = []
    for size in sizes:
        argv = [sys.executable, "-m", "bench.simulate", str(size), str(folder)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the simulation of {size} hosts failed: {done.stderr[-2000:]}")
        row = json.loads(done.stdout)
        row |= opened(folder / "report.html", size, folder)
        print(row, file=sys.stderr, flush=True)  # noqa: T201
        found.append(row)
    return found


def answers(size: int) -> list[str | None]:
    """Return what each host answers; None: it does not."""
    catalog, settings = load(), settings_from({})
    whole = carried_out(bare(), plan_host(observed(bare()), settings, catalog))
    texts: list[str | None] = []
    for number in range(size):
        seen = {**whole, "hostname": f"gpu-{number:05d}", "boot_id": f"b{number}"}
        if number % DRIFTED == 1:
            seen["files"] = {**whole["files"], "/etc/profile.d/gpuprep-cuda.sh": None}
        if number % DRIFTED == 2:
            seen["pci"] = []
        texts.append(None if number % LOST == 3 else json.dumps(seen))
    return texts


def measure(size: int, folder: Path) -> dict[str, Any]:
    """Return CPU seconds by part, peak memory in MB and sizes in MB of one fleet."""
    catalog, settings = load(), settings_from({})
    texts = answers(size)
    spent: dict[str, float] = {}
    since = time.process_time()

    def lap(name: str) -> None:
        nonlocal since
        now = time.process_time()
        spent[name] = round(now - since, 3)
        since = now

    observations = [None if text is None else observe.read(text) for text in texts]
    lap("read")
    lost = HostPlan(PlanState.UNREACHABLE, "E_UNREACHABLE", "connect to host: timed out")
    plans = [lost if seen is None else plan_host(seen, settings, catalog) for seen in observations]
    lap("plan")
    reports: dict[str, HostReport] = {}
    for number, (seen, plan) in enumerate(zip(observations, plans, strict=True)):
        checks: Any = ()
        if seen is not None:
            expected = expectation(catalog, seen.package_manager.family, None)
            checks = evaluate(seen, plan.stack, Tier.QUICK, expected)
        reports[f"gpu-{number:05d}"] = report_of(plan, checks, "status")
    lap("judge")
    result = FleetResult("status", host_results(reports, {}, {}, verb="status"), seconds=1.0)
    document = result.to_dict()
    states = [host["state"] for host in document["hosts"].values()]
    lap("result")
    text = json.dumps(document, default=str)
    (folder / "report.json").write_text(text)
    lap("report.json")
    peak = _peak()
    # gpuprep report makes the page later, from the file alone.
    del observations, plans, reports, result, texts
    del document
    page = render(json.loads(text), "html")
    (folder / "report.html").write_text(page, encoding="utf-8")
    lap("page")
    if len(states) != size or states.count("unreachable") != len(range(3, size, LOST)):
        raise BenchError(f"the simulation decided otherwise: {sorted(set(states))}")
    return {
        "hosts": size,
        "cpu": spent,
        "cpu_total": round(sum(spent.values()), 2),
        "memory": peak,
        "report_mb": round(len(text) / 1e6, 2),
        "page_mb": round(len(page.encode()) / 1e6, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def _peak() -> float:
    """Return the peak memory so far in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def opened(page: Path, size: int, folder: Path) -> dict[str, float]:
    """Open the page in a browser; return the seconds until it was drawn, as it says itself."""
    argv = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", f"--user-data-dir={folder / 'profile'}", "--dump-dom",
            page.as_uri()]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=True)
    except FileNotFoundError:
        return {}
    drawn = re.search(r'data-drawn="(\d+)"', done.stdout)
    shown = len(re.findall(r'<details class="host"', done.stdout))
    if drawn is None or not shown:
        raise BenchError(f"the page of {size} hosts draws none")
    return {"drawn_seconds": int(drawn.group(1)) / 1000, "rows_drawn": shown}


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    json.dump(measure(given.size, given.folder), sys.stdout)


if __name__ == "__main__":
    main()
