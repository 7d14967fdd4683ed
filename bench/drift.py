"""What one host that differs costs among many that do not: the run that puts it right.

The no-op on all hosts, the run on the host that differs alone, and the run on all of them take
turns; the last should cost what the first two cost together.

    python -m bench drift --drifted 100 --rounds 5
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from bench.cost import BenchError, empty, measure
from bench.noop import DRIFT
from bench.rig import rig
from sandbox import hosts as sandbox_hosts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.rig import Rig

NOTHING: Final = "nothing to do on all"
ALONE: Final = "the host that differs, alone"
AMONG: Final = "the same host, among all"
FORKS: Final = "50"
LIMIT: Final = 1200  # seconds of one run


def run(
    count: int, rounds: int, group: Path, folder: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Return the costs of the three runs, by round.

    Args:
        count: number of hosts.
        rounds: that count; one before them does not.
        group: control group of what runs here.
        folder: for files.
        environment: of the runs.

    """
    place = folder / "drift"
    place.mkdir()
    own = {**environment, "HOME": str(folder), "XDG_RUNTIME_DIR": str(place)}
    costs: dict[str, list[Any]] = {NOTHING: [], ALONE: [], AMONG: []}
    with rig(count, folder, apart=1) as made:
        inventory = made.inventory(count, place / "hosts.yml")
        try:
            for number in range(rounds + 1):
                for name, kept in costs.items():
                    cost = _once(name, made, inventory, group, place, own)
                    if number:
                        kept.append(asdict(cost))
                    click.echo(
                        f"{number} {name:<32}{cost.wall:>8.2f} s, CPU {cost.controller:.2f} s here,"
                        f" {cost.target:.2f} s on hosts",
                        err=True,
                    )
        finally:
            empty(group)
    return {"hosts": count, "costs": costs}


def _once(  # noqa: PLR0913, PLR0917
    name: str, made: Rig, inventory: Path, group: Path, folder: Path, environment: Mapping[str, str]
) -> Any:
    """Carry out one run; return its cost."""
    last = made.hosts[-1]
    if name != NOTHING:
        sandbox_hosts.write_file(last.container, DRIFT, "# changed\n")
    argv = [sys.executable, "-m", "gpuprep", "apply", "-q", "--yes", "--output", "json"]
    argv += ["-i", str(inventory), "-f", FORKS]
    argv += ["--limit", last.name] if name == ALONE else []
    out = folder / "out"
    code, cost = measure(
        argv, group, made.groups, environment=environment, output=out, timeout=LIMIT
    )
    text = out.read_text()
    told = json.loads(text)["hosts"] if text.startswith("{") else {}
    changed = {host for host, one in told.items() if one["changed"]}
    expected = set() if name == NOTHING else {last.name}
    if code or changed != expected or len(told) != (1 if name == ALONE else len(made.hosts)):
        raise BenchError(
            f"{name}: exit {code}, {len(told)} hosts told, changed {sorted(changed)[:5]}\n"
            + out.with_suffix(".err").read_text()[-2000:]
        )
    return cost
