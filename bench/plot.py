"""The plot of ``make bench``; run by the Python of its own environment, which has matplotlib.

.cache/bench/bin/python bench/plot.py FIGURES.json PLOT.svg
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

COLOURS = {
    "ssh floor, warm": "#7f7f7f",
    "ssh floor, cold": "#c7c7c7",
    "gpuprep apply": "#1b6ac9",
    "gpuprep apply, cold": "#8fbcf0",
    "gpuprep plan": "#17a2b8",
    "gpuprep status": "#20603d",
    "gpuprep status, asyncssh": "#7fc8a9",
    "ansible-playbook gpuprep.core.apply": "#6f42c1",
    "pyinfra": "#d9822b",
    "plain Ansible tasks": "#c23030",
}


def median(runs: list[dict[str, float]], key: str) -> float:
    """Return the median of one figure."""
    return statistics.median(run[key] for run in runs)


def lines(axes: Any, sizes: list[dict[str, Any]], key: str, title: str) -> None:
    """Draw a figure of the no-op by number of hosts."""
    for name, colour in COLOURS.items():
        points = [
            (size["hosts"], median(size["costs"][name], key))
            for size in sizes
            if size["costs"].get(name)
        ]
        if points:
            style = "--" if name.startswith("ssh floor") else "-"
            axes.plot(*zip(*points, strict=True), style, marker="o", color=colour, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    hosts = [size["hosts"] for size in sizes]
    axes.set_xticks(hosts, [str(number) for number in hosts])
    axes.minorticks_off()
    axes.set_xlabel("hosts")
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, alpha=0.3)


def bars(axes: Any, result: dict[str, Any]) -> None:
    """Draw the CPU time of a first installation on the host."""
    costs = result["costs"]
    bare, whole = (median(costs[name], "target") for name in ("bare", "gpuprep"))
    proof = median(costs["proof"], "target")
    axes.bar(["bare\ncommands"], [bare], color="#7f7f7f")
    axes.bar(["gpuprep\napply"], [whole - proof], color="#1b6ac9")
    axes.bar(
        ["gpuprep\napply"], [proof], bottom=[whole - proof], color="#8fbcf0", label="its proof"
    )
    axes.set_title("First installation: host's CPU, s", fontsize=10)
    axes.margins(y=0.2)
    axes.legend(fontsize=8, frameon=False)


def main() -> None:
    """Draw what the figures have."""
    found = json.loads(Path(sys.argv[1]).read_text())
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["svg.hashsalt"] = "gpuprep"
    plt.rcParams["font.size"] = 9
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), width_ratios=[3, 3, 1.4])
    if "noop" in found:
        sizes = found["noop"]["result"]
        lines(axes[0], sizes, "controller", "Nothing to do: controller CPU, s")
        lines(axes[1], sizes, "wall", "Nothing to do: wall time, s")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=5, fontsize=8, frameon=False)
    if "install" in found:
        bars(axes[2], found["install"]["result"])
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
