"""What runs on the GPU host: standard library only, Python 3.6 syntax."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest
from repository import ROOT, tracked

if TYPE_CHECKING:
    from pathlib import Path

OWN = (
    "gpuprep/on_host/*.py",
    "gpuprep/on_host/observe/*.py",
    "gpuprep/on_host/probe/*.py",
    "gpuprep/on_host/converge/*.py",
    "gpuprep/on_host/faceswap/*.py",
    "plugins/modules/*.py",
)
ROOT_ON_HOST = "gpuprep_on_host"  # what travels together, where it has become files
FILES = tracked(*OWN)


def imported(tree: ast.Module) -> set[str]:
    """Modules of other packages; parts of one program import each other and travel together."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names


def test_there_are_files() -> None:
    assert {path.parent.name for path in FILES} == {
        "on_host",
        "observe",
        "probe",
        "converge",
        "faceswap",
        "modules",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_3_6_reads_it(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 6))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_imports_the_standard_library_only(path: Path) -> None:
    strange = {
        name
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] not in {*sys.stdlib_module_names, ROOT_ON_HOST}
    }
    assert not strange


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_parts_that_travel_together_import_each_other(path: Path) -> None:
    relative = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative or path.parent.name in {"observe", "probe", "converge", "faceswap"}


def test_no_module_runs_on_a_host_by_itself() -> None:
    """Ansible's module runner needs a newer Python than hosts have; files there only document."""
    for path in tracked("plugins/modules/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert imported(tree) <= {"__future__"}, path
        assert not [node for node in tree.body if isinstance(node, ast.FunctionDef)], path
