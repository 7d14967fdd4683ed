"""What the quick tier costs beside the observation alone.

Runs ``gpuprep plan`` (the observation and its planning) and ``gpuprep verify`` (the same and the
quick tier of the ladder) over one inventory in turns, so that other load hits both alike. Times
depend on the machine: compare them within one run only. The sandbox gives the hosts:

    python -m sandbox up --fleet bench-100
    python -m bench.quick_tier --inventory .sandbox/inventory-bench-100/hosts.yml --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

import click

VERBS: Final = ("plan", "verify")


@dataclass(frozen=True)
class Cost:
    """One run: wall seconds, seconds of CPU on this side, hosts that answered."""

    wall: float
    cpu: float
    hosts: int


def main() -> None:
    """Measure and print; the last line is the comparison that counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--inventory", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results: dict[str, list[Cost]] = {verb: [] for verb in VERBS}
    for number in range(options.rounds + 1):
        for verb in VERBS:
            cost = run(verb, options.inventory)
            if number:  # the first round opens connections and fills caches
                results[verb].append(cost)
    hosts = {cost.hosts for costs in results.values() for cost in costs}
    click.echo(f"{hosts} hosts, median of {options.rounds}, load {os.getloadavg()[0]:.1f}")
    medians = {verb: statistics.median(c.wall for c in costs) for verb, costs in results.items()}
    for verb, costs in results.items():
        cpu = statistics.median(cost.cpu for cost in costs)
        click.echo(f"{verb:<8}{medians[verb]:>8.2f} s wall{cpu:>8.2f} s CPU")
    click.echo(f"ratio   {medians['verify'] / medians['plan']:>8.2f}")


def run(verb: str, inventory: str) -> Cost:
    """Run a verb in a process of its own; the kernel counts its CPU time."""
    command = [sys.executable, "-m", "gpuprep", verb, "-q", "-i", inventory, "--output", "json"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # waited for here, not by Popen
    wall = time.monotonic() - started
    hosts = json.loads(answer)["hosts"]
    silent = [name for name, host in hosts.items() if host["state"] in {"unreachable", "failed"}]
    if verb == "plan" and silent:
        sys.exit(f"{', '.join(silent)} did not answer")
    return Cost(wall, usage.ru_utime + usage.ru_stime, len(hosts))


if __name__ == "__main__":
    main()
