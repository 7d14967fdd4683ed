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
    "gpuprep/on_host/observe.py",
    "gpuprep/on_host/probe/*.py",
    "plugins/modules/*.py",
    "plugins/module_utils/*.py",
)
FILES = tracked(*OWN)
# Ansible ships these with a module, and our own module_utils.
SHIPPED = ("ansible.module_utils.", "ansible_collections.gpuprep.core.plugins.module_utils.")


def imported(tree: ast.Module) -> set[str]:
    """Modules of other packages; the probe's parts import each other and travel together."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names


def test_there_are_files() -> None:
    assert {path.parent.name for path in FILES} == {"on_host", "probe", "modules", "module_utils"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_3_6_reads_it(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 6))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_imports_the_standard_library_only(path: Path) -> None:
    strange = {
        name
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] not in sys.stdlib_module_names and not f"{name}.".startswith(SHIPPED)
    }
    assert not strange


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_probe_imports_its_siblings(path: Path) -> None:
    relative = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative or path.parent == ROOT / "gpuprep/on_host/probe"
