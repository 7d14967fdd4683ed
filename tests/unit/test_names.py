"""Package names and patterns: what fits, and at what cost."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st
from planner_cases import bare, carried_out, observed

from gpuprep.catalog import load
from gpuprep.model import names
from gpuprep.model.names import matches
from gpuprep.planner import plan_host, settings_from

PARTS = st.text(alphabet="abAB-_.1*?[]!|()\\^$\n", max_size=6)


@given(name=PARTS, patterns=st.lists(PARTS | PARTS.map(lambda part: f"!{part}"), max_size=5))
def test_a_name_fits_when_a_pattern_does_and_none_excludes_it(
    name: str, patterns: list[str]
) -> None:
    excluded = any(fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!"))
    fits = any(fnmatchcase(name, p) for p in patterns if not p.startswith("!"))
    assert matches(name, patterns) is (fits and not excluded)


def test_patterns_are_read_once_for_all_hosts_of_a_stack() -> None:
    settings, catalog = settings_from({}), load()
    seen = observed(carried_out(bare(), plan_host(observed(bare()), settings, catalog)))
    names._compiled.cache_clear()
    plan_host(seen, settings, catalog)
    first = names._compiled.cache_info()
    assert 0 < first.misses < 30
    for _ in range(20):
        plan_host(seen, settings, catalog)
    again = names._compiled.cache_info()
    assert again.misses == first.misses
    # Names looked at per planned host, each with one test: 16 packages here.
    assert (again.hits - first.hits) / 20 < 200
