"""The figures of ``make bench`` as a page of the documentation and as a few lines."""

from __future__ import annotations

import statistics
import subprocess
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

FLOOR: Final = "ssh floor, warm"
HEAD: Final = """<!-- Written by `make bench`; changes are lost. -->
# Performance

What gpuprep costs beside what else could do it, measured side by side: contenders take turns on the
same hosts, so that other load of the machine hits all alike. **Compare figures of one table only**;
absolute times are those of one small machine that plays controller and hosts at once. CPU time is
what the kernel's control groups counted, for the controller with everything it started and for all
hosts together. Medians; the figures of every run: [performance.json](data/performance.json).
"""
PICTURE: Final = """
![Controller CPU and wall time of a run that changes nothing, by hosts; CPU of a first
installation](images/performance.svg)
"""
NOOP: Final = """
## Nothing to do

Hosts are as planned; every contender must find that out by itself, over ssh and sudo.

- **ssh floor**: the very observation that gpuprep sends, by plain `ssh`, and nothing around it;
  *warm* reuses connections, *cold* makes each anew (a key exchange per host).
- **gpuprep** apply, plan and status, as they come, without an ansible.cfg; *cold*: no connection
  was there before; *asyncssh*: the same, with `--transport asyncssh`.
- **ansible-playbook gpuprep.core.apply**: the collection without the command line.
- **pyinfra**, **plain Ansible tasks**: the files, packages and units of gpuprep's plan as
  operations and tasks. They look at less than gpuprep: no kernel module, no version lock, no conda.

Each must prove that it looked: with a file changed on some hosts, all that can look without
repairing had to name exactly those.
"""
DRIFT: Final = """
## One that differs among many

One file of one host differs. `gpuprep apply` on all hosts when nothing is to be done, on that host
alone, and on all of them: the last should cost what the other two cost together. *Together*: its
cost by that of the two.
"""
INSTALL: Final = """
## First installation

One bare Debian 12 host, all four components, packages of the sandbox (about 140 MB). *Bare
commands* are the package manager's own, in one ssh session: sources, index, pin, one transaction,
hold, conda's installer. They look at nothing first and prove nothing afterwards; gpuprep's proof
(programs compiled, cuDNN linked) is a row of its own and *without the proof* leaves it out. With
NVIDIA's real packages (3 to 6 GB) the download is most of the time for both.
"""
SIMULATE: Final = """
## Thousands of hosts

Canned observations through the real reader, planner, ladder, results, report and page; one process,
no connections. A tenth differs, a tenth lacks its GPU, one of 97 does not answer. *Drawn*: until
the page in headless Chromium has drawn itself, as it notes.
"""


def write(found: Mapping[str, Any], root: Path) -> None:
    """Write the page, and the plot where there is something to draw and what draws."""
    python = root / ".cache/bench/bin/python"
    drawn = python.exists() and ("noop" in found or "install" in found)
    parts = [HEAD, *([PICTURE] if drawn else [])]
    if "noop" in found:
        parts += [NOOP, *_noop(found["noop"]["result"]), _measured(found["noop"])]
    if "drift" in found:
        parts += [DRIFT, *_drift(found["drift"]["result"]), _measured(found["drift"])]
    if "install" in found:
        parts += [INSTALL, *_install(found["install"]["result"]), _measured(found["install"])]
    if "simulate" in found:
        parts += [SIMULATE, *_simulated(found["simulate"]["result"]), _measured(found["simulate"])]
    (root / "docs/performance.md").write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    if drawn:
        (root / "docs/images").mkdir(exist_ok=True)
        argv = [str(python), str(root / "bench/plot.py"), str(root / "docs/data/performance.json"),
                str(root / "docs/images/performance.svg")]  # fmt: skip
        subprocess.run(argv, check=True, cwd=root)


def summary(found: Mapping[str, Any]) -> str:
    """Return the tables for a terminal."""
    lines: list[str] = []
    if "noop" in found:
        lines += _noop(found["noop"]["result"])
    if "drift" in found:
        lines += _drift(found["drift"]["result"])
    if "install" in found:
        lines += _install(found["install"]["result"])
    if "simulate" in found:
        lines += _simulated(found["simulate"]["result"])
    return "\n".join(lines)


def median(costs: Iterable[Mapping[str, float]], key: str) -> float:
    """Return the median of one figure."""
    return statistics.median(cost[key] for cost in costs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    ruler = "|---" + "|---:" * (len(head) - 1) + "|"
    return ["", _row(head), ruler, *map(_row, rows), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _noop(sizes: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for size in sizes:
        costs = size["costs"]
        floor = costs.get(FLOOR)
        rows = []
        for name, runs in costs.items():
            wall, own = median(runs, "wall"), median(runs, "controller")
            ratio = f"{wall / median(floor, 'wall'):.1f}" if floor else ""
            rows.append(
                [name, f"{wall:.2f}", ratio, f"{own:.2f}", f"{median(runs, 'target'):.2f}",
                 f"{median(runs, 'memory'):.0f}"]
            )  # fmt: skip
        head = [
            f"{size['hosts']} host{'' if size['hosts'] == 1 else 's'}",
            "wall, s", "times warm floor", "controller CPU, s", "hosts' CPU, s",
            "largest process, MB",
        ]  # fmt: skip
        lines += _table(head, rows)
    return lines


def _drift(result: Mapping[str, Any]) -> list[str]:
    keys = ("wall", "controller", "target")
    rows = {name: [median(runs, key) for key in keys] for name, runs in result["costs"].items()}
    *parts, whole = rows.values()
    ratios = [whole[i] / sum(part[i] for part in parts) for i in range(len(keys))]
    cells = [[name, *(f"{figure:.2f}" for figure in figures)] for name, figures in rows.items()]
    head = [f"{result['hosts']} hosts", "wall, s", "controller CPU, s", "hosts' CPU, s"]
    return _table(head, [*cells, ["together", *(f"{ratio:.2f}" for ratio in ratios)]])


def _install(result: Mapping[str, Any]) -> list[str]:
    costs = {name: runs for name, runs in result["costs"].items() if runs}
    bare, proof = costs["bare"], costs.get("proof")
    titles = {"bare": "bare commands", "gpuprep": "gpuprep apply", "proof": "of it, the proof",
              "other": "another checkout's gpuprep apply"}  # fmt: skip
    figures = {
        titles[name]: [median(runs, key) for key in ("wall", "target", "controller")]
        for name, runs in costs.items()
    }
    if proof:
        whole, part = figures["gpuprep apply"], figures["of it, the proof"]
        figures["gpuprep apply without the proof"] = [
            all_of_it - proving for all_of_it, proving in zip(whole, part, strict=True)
        ]
    base = [median(bare, key) for key in ("wall", "target")]
    rows = [
        [name, f"{wall:.1f}", f"{wall - base[0]:+.1f}", f"{target:.1f}", f"{target / base[1]:.2f}",
         f"{own:.1f}"]
        for name, (wall, target, own) in figures.items()
    ]  # fmt: skip
    head = ["", "wall, s", "beside bare, s", "host's CPU, s", "times bare", "controller CPU, s"]
    counts = result.get("counts", {}).get("gpuprep")
    if not counts:
        return _table(head, rows)
    told = (
        f"gpuprep's run: {counts['round_trips']} round trips, {counts['observations']} of them"
        f" observations, {counts['host_tasks']} tasks."
    )
    return [*_table(head, rows), told, ""]


def _simulated(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = list(rows[0]["cpu"])
    head = ["hosts", *(f"{part}, ms" for part in parts), "CPU per host, ms", "memory, MB",
            "report.json, MB", "page, MB", "drawn, s"]  # fmt: skip
    cells = []
    for row in rows:
        each = [f"{row['cpu'][part] * 1000 / row['hosts']:.2f}" for part in parts]
        drawn = row.get("drawn_seconds")
        cells.append(
            [f"{row['hosts']:,}", *each, f"{row['cpu_total'] * 1000 / row['hosts']:.2f}",
             f"{row['memory']:.0f}", f"{row['report_mb']:.1f}", f"{row['page_mb']:.1f}",
             "-" if drawn is None else f"{drawn:.2f}"]
        )  # fmt: skip
    return ["", "CPU time by part, per host:", *_table(head, cells)]


def _measured(part: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in part["versions"].items())
    loads = sorted(_loads(part["result"]))
    load = f"; load average {loads[0]:.0f} to {loads[-1]:.0f}" if loads else ""
    return f"*{part['date']}, commit {part['commit']}, {part['machine']}; {versions}{load}.*\n"


def _loads(found: Any) -> Iterable[float]:
    """Give the load averages of all runs, wherever they are."""
    if isinstance(found, dict):
        if "load" in found:
            yield found["load"]
        for value in found.values():
            yield from _loads(value)
    elif isinstance(found, list):
        for value in found:
            yield from _loads(value)
