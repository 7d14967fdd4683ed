"""A fifth component, defined by one object and one role, reaches everything that lists them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_component import tree_with_toy

TESTS = Path(__file__).parent
PROGRAM = """
import json, sys
sys.path.insert(0, {tests!r})
from planner_cases import bare, observed
from gpuprep.catalog import load
from gpuprep.components import NAMES
from gpuprep.fleet.report import HostReport
from gpuprep.lock.lockfile import LockFile, lock_document, resolve_locked
from gpuprep.lock.repository_index import PackageIndex
from gpuprep.model import FleetResult, HostResult, HostStatus
from gpuprep.planner import plan_host, settings_from
from gpuprep.report.formats import render, validate
from gpuprep.report.text import fleet_in_words

settings = settings_from({{"gpuprep_components": ["conda", "toy"], "toy_greeting": "good day"}})
catalog = load()
plan = plan_host(observed(bare()), settings, catalog)
alone = plan_host(observed(bare()), settings, catalog, role="toy")
host = HostResult("h", HostStatus.PREPARED, steps=plan.steps, stack=plan.stack,
                  facts=plan.facts, versions={{"toy": "1.2"}})
result = FleetResult("plan", {{"h": host}}).to_dict()
validate(json.loads(json.dumps(result)))
lock = lock_document([host], catalog, lambda repository: PackageIndex({{}}))
json.dump({{
    "names": NAMES,
    "plan": [step.id for step in plan.steps],
    "operations": plan.roles["toy"].to_dict()["operations"],
    "alone": list(alone.roles),
    "same": alone.roles["toy"].state == plan.roles["toy"].state,
    "words": list(fleet_in_words({{"h": plan}})),
    "markdown": render(result, "markdown"),
    "html": render(result, "html"),
    "lock": lock.to_text(),
}}, sys.stdout)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree_with_toy(tmp_path_factory.mktemp("tree"))


def run(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reached(tree: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(tree, "-c", PROGRAM.format(tests=str(TESTS))))
    return found


def test_it_is_a_component_like_the_others(reached: dict[str, Any]) -> None:
    assert reached["names"] == ["driver", "cuda", "cudnn", "conda", "toy"]


def test_it_is_planned_in_the_whole_and_alone(reached: dict[str, Any]) -> None:
    assert "toy.toy./etc/gpuprep-toy" in reached["plan"]
    ((operation,),) = reached["operations"].values()
    assert (operation["op"], operation["files"][0]["content"]) == ("files", "good day 1.2\n")
    assert (reached["alone"], reached["same"]) == (["toy"], True)


def test_it_is_in_every_report(reached: dict[str, Any]) -> None:
    assert "toy 1.2" in reached["words"][0]
    assert "| Toy |" in reached["markdown"]
    assert '"toy": "Toy"' in reached["html"] or '"toy":"Toy"' in reached["html"]


def test_it_is_locked(reached: dict[str, Any]) -> None:
    assert "toy: '1.2'" in reached["lock"]


def test_it_is_in_the_tables_of_the_documentation(tree: Path) -> None:
    run(tree, "-m", "tools.docs")
    variables = (tree / "docs/variables.md").read_text()
    assert "| `toy_greeting` |" in variables
    assert "`driver`, `cuda`, `cudnn`, `conda`, `toy`" in variables.replace('"', "`")
    readme = (tree / "roles/toy/README.md").read_text()
    for text in ("| `toy_greeting` |", "| the greeting | /etc/gpuprep-toy |", "`pci.device`"):
        assert text in readme
