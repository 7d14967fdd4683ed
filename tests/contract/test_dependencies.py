"""Dependencies point one way: plugins -> gpuprep -> (ansible-runner, oci) in one place each."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from repository import ROOT, tracked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORBIDDEN = ("ansible", "ansible_runner", "ansible_collections", "oci", "click", "rich")
HOOK = """
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden!r}:
            raise ImportError("forbidden here: " + name)
sys.meta_path.insert(0, Forbid())
"""


def run(code: str, forbidden: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HOOK.format(forbidden=forbidden) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Module names that a file imports, and whether only for the type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, id(node) in for_types


def importers(package: str, *patterns: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in tracked(*patterns)
        for name, for_types in imports(path)
        if name.split(".")[0] == package and not for_types
    }


@pytest.mark.parametrize(
    "code",
    [
        "import gpuprep.catalog; gpuprep.catalog.load()",
        "import gpuprep.planner; gpuprep.planner.settings_from({})",
        "import gpuprep.observe",
        "import gpuprep.ladder.evaluate",
    ],
)
def test_decisions_need_no_ansible(code: str) -> None:
    done = run(code, FORBIDDEN)
    assert done.returncode == 0, done.stderr


def test_the_import_hook_forbids() -> None:
    assert "forbidden here: ansible" in run("import ansible.release", FORBIDDEN).stderr


def test_help_needs_no_engine() -> None:
    """Neither Ansible nor the cloud's library is loaded before there is work for it."""
    code = "import gpuprep.cli; raise SystemExit(gpuprep.cli.run(['--help']))"
    done = run(code, ("ansible", "ansible_runner", "oci"))
    assert done.returncode == 0, done.stderr


def test_ansible_runner_is_imported_in_one_place() -> None:
    everywhere = ("gpuprep/*.py", "plugins/*.py", "sandbox/*.py")
    assert importers("ansible_runner", *everywhere) == {"gpuprep/run/runner.py"}


def test_oci_is_imported_by_the_inventory_only() -> None:
    users = importers("oci", "gpuprep/*.py", "plugins/*.py")
    assert users
    assert all(path.startswith("gpuprep/oci/") for path in users)


def test_package_imports_neither_plugins_nor_sandbox() -> None:
    for other in ("plugins", "ansible_collections", "sandbox", "tools", "tests"):
        assert not importers(other, "gpuprep/*.py")


def test_decisions_import_no_ansible_anywhere() -> None:
    """Not even within a function."""
    pure = (
        "gpuprep/catalog/*.py",
        "gpuprep/planner/*.py",
        "gpuprep/ladder/*.py",
        "gpuprep/model/*.py",
    )
    for package in FORBIDDEN:
        assert not importers(package, *pure)


def test_shipped_plugins_import_nothing_of_the_sandbox() -> None:
    for other in ("sandbox", "tools", "tests"):
        assert not importers(other, "plugins/*.py")
