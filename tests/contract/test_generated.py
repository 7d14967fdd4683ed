"""What is generated is fresh."""

from __future__ import annotations

from repository import ROOT

from tools import docs


def test_generated_pages_are_fresh() -> None:
    stale = [str(path.relative_to(ROOT)) for path in docs.stale()]
    assert not stale, f"run make docs: {', '.join(stale)}"


def test_roles_and_variables_are_among_them() -> None:
    names = {str(path.relative_to(ROOT)) for path in docs.texts()}
    assert {"docs/variables.md", "roles/conda/README.md", "docs/codes.md"} <= names
