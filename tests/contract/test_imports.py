"""The contracts on imports hold, and a wrong import, even a late one, breaks them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
WRONG = {
    "gpuprep/resolve/text.py": "def late() -> None:\n    from gpuprep.run import runner\n",
    "gpuprep/on_host/observe.py": "from gpuprep import layout\n",
    "gpuprep/model/stack.py": "from gpuprep.errors import ConfigError\n",
    "gpuprep/api.py": "import ansible_runner\n",
    "gpuprep/report/view.py": "import oci\n",
    "gpuprep/catalog/load.py": "from tools import docs\n",
    "sandbox/register.py": "from sandbox import inventory\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("gpuprep", "sandbox", "tools"):
        skipped = shutil.ignore_patterns("_collections", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(LINT, cwd=place, capture_output=True, text=True, check=False)


def test_the_contracts_hold(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_import_breaks_one(tree: Path, path: str) -> None:
    with (tree / path).open("a") as source:
        source.write(f"\n{WRONG[path]}")
    done = lint(tree)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
