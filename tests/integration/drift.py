"""Alter a converged host step by step, look after each step, repair all at once, compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import PACKAGE_BOOKS, Lab, State, failed_checks, ids

from gpuprep.errors import ExitCode
from gpuprep.model import FleetResult, HostStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "t-a10"
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Alteration:
    """One thing done to a converged host.

    Attributes:
        name: id of the test.
        script: shell script that does it, as root.
        steps: ids of steps that must be named because of it.
        probe: shell command whose output tells the artefact's state.
        besides: ids of steps that may be named with it, by whichever alteration comes first.

    """

    name: str
    script: str
    steps: frozenset[str]
    probe: str
    besides: frozenset[str] = NOTHING


@dataclass(frozen=True)
class Seen:
    """What was seen of one alteration: steps newly named, and the artefact over time."""

    named: set[str]
    before: str
    altered: str
    repaired: str


@dataclass(frozen=True)
class Batch:
    """Alterations of one host, and how it came back."""

    host: str
    seen: dict[str, Seen]
    planned: FleetResult
    applied: FleetResult
    before: State
    after: State
    left: set[str]


def run_batch(lab: Lab, alterations: Sequence[Alteration], host: str = HOST) -> Batch:
    """Alter, look after each; plan, apply, look again."""
    before = lab.state(host)
    known = ids(lab.look(host))
    assert known == set()
    named, old, altered = {}, {}, {}
    for one in alterations:
        old[one.name] = lab.sh(host, one.probe)
        lab.sh(host, one.script)
        altered[one.name] = lab.sh(host, one.probe)
        now = ids(lab.look(host))
        named[one.name] = now - known
        known |= now
    planned = lab.plan(host)
    applied = lab.apply(host)
    seen = {
        one.name: Seen(named[one.name], old[one.name], altered[one.name], lab.sh(host, one.probe))
        for one in alterations
    }
    return Batch(host, seen, planned, applied, before, lab.state(host), ids(lab.look(host)))


def check_alteration(batch: Batch, one: Alteration, *, planned: bool = True) -> None:
    """Assert that an alteration had an effect, was named alone, and was undone.

    Args:
        batch: what was seen.
        one: the alteration.
        planned: a step of its own has to be in the plan of all alterations together.

    """
    seen = batch.seen[one.name]
    assert seen.altered != seen.before, "the alteration did nothing"
    assert one.steps <= seen.named, (one.steps, seen.named)
    assert seen.named <= one.steps | one.besides, (one.steps, seen.named)
    assert seen.repaired == seen.before, batch.applied.hosts[batch.host].error
    if not planned:
        return
    assert one.steps <= ids(batch.planned, batch.host)
    done = {s.id for s in batch.applied.hosts[batch.host].steps if s.status is StepStatus.DONE}
    assert one.steps <= done, batch.applied.hosts[batch.host].error


def conda_book(path: str) -> bool:
    """Whether a file is what conda keeps for itself: it writes there whenever it runs."""
    return path.startswith(("/opt/conda/pkgs/", "/opt/conda/lib/")) or path.endswith(
        "/conda-meta/history"
    )


def check_whole(
    batch: Batch, alterations: Sequence[Alteration], without: Sequence[str] = ()
) -> None:
    """Assert that all came back, and that nothing else was planned or changed.

    Args:
        batch: what was seen.
        alterations: what was done.
        without: directories that repairs may leave otherwise: logs of builds.

    """
    host = batch.applied.hosts[batch.host]
    assert (host.state, host.error) == (HostStatus.PREPARED, None)
    assert failed_checks(host) == []
    assert batch.applied.exit_code is ExitCode.OK
    expected = NOTHING.union(*(one.steps | one.besides for one in alterations))
    assert ids(batch.planned, batch.host) <= expected
    assert ids(batch.applied, batch.host) == ids(batch.planned, batch.host)
    assert batch.left == set()
    changed = batch.before.differences(
        batch.after, without=(*PACKAGE_BOOKS, *without), stamps=False
    )
    assert {path for path in changed if not conda_book(path)} == set()
