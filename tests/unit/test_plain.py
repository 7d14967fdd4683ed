"""Values as JSON types: as ``dataclasses.asdict`` gives them, in far fewer calls."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from planner_cases import bare, observed
from test_scaling import calls

from gpuprep.catalog import load
from gpuprep.fleet.report import HostReport
from gpuprep.fleet.verdicts import report_of
from gpuprep.model.codec import decode
from gpuprep.model.plain import plain
from gpuprep.planner import plan_host, settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Leaf:
    name: str
    value: int | float | bool | None = None


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    below: Tree | None = None


leaf = st.builds(Leaf, st.text(), st.none() | st.booleans() | st.integers() | st.floats())
tree = st.recursive(
    st.builds(Tree, st.lists(leaf).map(tuple)),
    lambda inner: st.builds(
        Tree, st.lists(leaf).map(tuple), st.dictionaries(st.text(), inner | leaf), inner
    ),
    max_leaves=5,
)


@given(tree)
def test_it_gives_what_asdict_gives(value: Tree) -> None:
    assert repr(plain(value)) == repr(asdict(value))  # NaN equals nothing, itself included


def test_a_report_of_a_host_is_written_in_few_calls_and_read_again() -> None:
    seen = observed(bare())
    report = report_of(plan_host(seen, settings_from({}), load()), (), "plan")
    assert plain(report) == asdict(report) == report.to_dict()
    assert decode(HostReport, plain(report)) == report
    assert calls(lambda: plain(report)) * 3 < calls(lambda: asdict(report))
