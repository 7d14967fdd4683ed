"""Every module and plugin is documented, with what it does in check mode."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from repository import ROOT, tracked

if TYPE_CHECKING:
    from pathlib import Path

MODULES = tracked("plugins/modules/*.py")
ACTIONS = tracked("plugins/action/*.py")
OTHERS = tracked("plugins/lookup/*.py", "plugins/filter/*.py", "plugins/inventory/*.py")


def blocks(path: Path) -> dict[str, Any]:
    """Documentation blocks of a plugin, parsed."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in {"DOCUMENTATION", "EXAMPLES", "RETURN"}:
                found[name] = next(yaml.safe_load_all(ast.literal_eval(node.value)))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_is_documented(path: Path) -> None:
    found = blocks(path)
    assert found.keys() == {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    documentation = found["DOCUMENTATION"]
    assert documentation["module"] == path.stem
    assert {"short_description", "description", "author", "attributes"} <= documentation.keys()
    for attribute in ("check_mode", "diff_mode"):
        assert documentation["attributes"][attribute]["support"] in {"full", "partial", "none"}


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_plugin_is_documented(path: Path) -> None:
    documentation = blocks(path)["DOCUMENTATION"]
    assert documentation["name"] in {path.stem, f"gpuprep.core.{path.stem}"}
    assert {"short_description", "description", "author", "options"} <= documentation.keys()
    assert blocks(path)["EXAMPLES"]


def test_every_action_has_its_module_documentation() -> None:
    assert ACTIONS
    assert {path.stem for path in ACTIONS} <= {path.stem for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_example_uses_the_full_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert f"gpuprep.core.{path.stem}:" in text, str(path.relative_to(ROOT))
