"""Values are what dataclasses take for their own, though they are made otherwise."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from msgspec import field

from gpuprep.model import CheckResult, CheckStatus, FleetResult, HostResult, HostStatus
from gpuprep.model.plain import plain
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence


class Base(Value, frozen=True, kw_only=True):
    first: str
    found: Sequence[int] = []


class Other(Base, frozen=True, kw_only=True):
    second: int = 2
    third: dict[str, int] = field(default_factory=lambda: {"a": 1})


def test_fields_and_their_defaults_are_told() -> None:
    told = {one.name: one for one in dataclasses.fields(Other)}
    assert list(told) == list(Other.__struct_fields__)
    assert told["first"].default is dataclasses.MISSING
    assert told["second"].default == 2
    assert told["found"].default_factory is list
    assert told["third"].default_factory is not dataclasses.MISSING
    assert told["third"].default_factory() == {"a": 1}
    assert dataclasses.is_dataclass(Other(first="x"))
    assert told["second"].type == "int"


def test_a_result_can_be_replaced_copied_and_written_as_a_dict() -> None:
    check = CheckResult("pci.device", CheckStatus.PASSED, "1 on the bus")
    host = HostResult("a", HostStatus.READY, checks=(check,))
    fleet = FleetResult("plan", {"a": host})
    other = dataclasses.replace(host, name="b")
    assert (other.name, other.checks, host.name) == ("b", host.checks, "a")
    assert dataclasses.asdict(fleet) == plain(fleet)
    assert copy.deepcopy(fleet) == pickle.loads(pickle.dumps(fleet)) == fleet  # noqa: S301 - our own


def test_a_value_does_not_change() -> None:
    host = HostResult("a", HostStatus.READY)
    with pytest.raises(AttributeError):
        host.name = "b"  # type: ignore[misc]
    assert HostResult("a", HostStatus.READY).versions is not host.versions


def test_a_start_makes_hardly_any_dataclass() -> None:
    """Each takes as long as fifty of ours, and every run makes them all before it does anything."""
    program = """
import dataclasses, sys
made, process = [], dataclasses._process_class
def counted(cls, *args, **options):
    made.append(cls)
    return process(cls, *args, **options)
dataclasses._process_class = counted
import gpuprep.fleet.policy, gpuprep.fleet.verdicts, gpuprep.ladder.evaluate, gpuprep.planner.alike
from gpuprep.run.own_words import own_words
own_words()
print(*(cls.__qualname__ for cls in made if cls.__module__.startswith("gpuprep.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"Case", "Differences", "Environment"}
