"""What it costs to find that nothing is to be done: all contenders in turns, on the same hosts.

A contender counts only if it proves that it looked: on hosts that are as planned it must find none
that differs, and once the file of one container is changed it must name exactly the hosts of that.

    python -m bench noop --hosts 1,10,100 --rounds 5
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import click

from bench import contenders as competing
from bench.cost import BenchError, empty, measure
from bench.rig import rig
from sandbox import hosts as sandbox_hosts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.contenders import Contender
    from bench.rig import Rig

DRIFT: Final = "/etc/profile.d/gpuprep-cuda.sh"
LIMIT: Final = 1200  # seconds of one run
# Only these can look without repairing what they find.
LOOKING: Final = {
    "gpuprep plan": (),
    "gpuprep status": (),
    "plain Ansible tasks": ("--check",),
    "pyinfra": ("--dry",),  # in place of -y, which looks for no changes
}


def run(  # noqa: PLR0913 - all that a run needs
    sizes: Sequence[int],
    rounds: int,
    group: Path,
    folder: Path,
    environment: Mapping[str, str],
    *,
    python: Path | None = None,
    only: Sequence[str] = (),
) -> Any:
    """Return the costs of each contender by size and round.

    Args:
        sizes: numbers of hosts.
        rounds: that count; one before them does not.
        group: control group of what runs here.
        folder: for files.
        environment: of the contenders.
        python: of an environment that has pyinfra.
        only: names of contenders, or beginnings of them; empty = all.

    """
    found = []
    with rig(max(sizes), folder) as made:
        for size in sizes:
            place = folder / str(size)
            place.mkdir()
            own = {**environment, "HOME": str(folder), "XDG_RUNTIME_DIR": str(place)}
            every = competing.all_of(made, size, place, python)
            chosen = _chosen(every, only)
            costs = _rounds(chosen, made, rounds, group, place, own)
            found.append({"hosts": size, "costs": costs})
            _end_connections(group)
        _see_drift(chosen, made, size, group, place, own)
    return found


def _chosen(every: Sequence[Contender], only: Sequence[str]) -> list[Contender]:
    """Return the contenders of some names; what is nobody's name is the beginning of several."""
    names = {one.name for one in every}
    begin = tuple(text for text in only if text not in names)
    return [one for one in every if not only or one.name in only or one.name.startswith(begin)]


def _rounds(  # noqa: PLR0913, PLR0917
    chosen: Sequence[Contender],
    made: Rig,
    rounds: int,
    group: Path,
    folder: Path,
    environment: Mapping[str, str],
) -> dict[str, list[Any]]:
    costs: dict[str, list[Any]] = {one.name: [] for one in chosen}
    for number in range(rounds + 1):
        # Cold ones come last: they end everybody's connections, which the next round must make.
        for one in sorted(chosen, key=lambda contender: contender.cold):
            if one.cold:
                _end_connections(group)
            differing, cost = _once(one, made, group, folder, environment)
            if differing:
                raise BenchError(f"{one.name} takes {sorted(differing)[:5]} for different")
            if number:
                costs[one.name].append(asdict(cost))
            click.echo(
                f"{number} {one.name:<38}{cost.wall:>8.2f} s, CPU {cost.controller:.2f} s here,"
                f" {cost.target:.2f} s on hosts",
                err=True,
            )
        # Whoever keeps connections has them again before it counts.
        pools = {one.pool: one for one in reversed(chosen) if one.pool and not one.cold}
        for one in pools.values() if number < rounds else ():
            _once(one, made, group, folder, environment)
    return costs


def _once(  # noqa: PLR0913, PLR0917
    one: Contender,
    made: Rig,
    group: Path,
    folder: Path,
    environment: Mapping[str, str],
    more: Sequence[str] = (),
) -> tuple[set[str], Any]:
    """Run a contender; return the hosts that it found to differ, and its cost."""
    out = folder / "out"
    code, cost = measure(
        [*one.argv, *more],
        group,
        made.groups,
        environment={**environment, **one.environment},
        output=out,
        timeout=LIMIT,
    )
    text = out.read_text() + out.with_suffix(".err").read_text()
    if one.name.startswith("gpuprep"):
        text = out.read_text()
    try:
        return one.gate(code, text), cost
    except (BenchError, ValueError) as error:
        raise BenchError(f"{one.name}: {error}\n{text[-3000:]}") from error


def _end_connections(group: Path) -> None:
    """End what contenders left running: masters of ssh, all in the group of the measurement."""
    empty(group)


def _see_drift(  # noqa: PLR0913, PLR0917
    chosen: Sequence[Contender],
    made: Rig,
    size: int,
    group: Path,
    folder: Path,
    environment: Mapping[str, str],
) -> None:
    """Change a file of one container; every contender that can look must name its hosts.

    Raises:
        BenchError: one named others.

    """
    container = made.hosts[0].container
    expected = {one.name for one in made.hosts[:size] if one.container == container}
    before = sandbox_hosts.run(container, ["cat", DRIFT]).stdout
    sandbox_hosts.write_file(container, DRIFT, "# changed\n")
    try:
        for one in chosen:
            if one.name in LOOKING:
                looking = replace(one, argv=tuple(word for word in one.argv if word != "-y"))
                found, _ = _once(looking, made, group, folder, environment, LOOKING[one.name])
                named = {name for name in found if not name.startswith("unnamed")}
                if not named or not named <= expected or len(found) != len(expected):
                    raise BenchError(f"{one.name} names {sorted(found)} of {sorted(expected)}")
                click.echo(f"{one.name} names the {len(found)} hosts that differ", err=True)
    finally:
        with contextlib.suppress(OSError):
            sandbox_hosts.write_file(container, DRIFT, before)


__all__ = ["run"]
