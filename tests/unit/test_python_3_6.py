"""Everything that is sent to a host is run by a real Python 3.6, not only read."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pythons import oldest

from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.model import Tier
from gpuprep.observe import converge
from gpuprep.planner import observation_request, settings_from
from tools import gpu_proof

ON_HOST = Path(observe.__file__).parents[1] / "on_host"
MODULES = sorted(
    ".".join(path.relative_to(ON_HOST.parent).with_suffix("").parts)
    for path in ON_HOST.rglob("*.py")
    if path.name not in {"__init__.py", "start.py"}  # a script, below
)


@pytest.fixture(scope="module")
def python() -> str:
    return oldest()


def answer(python: str, program: str, *options: str) -> str:
    done = subprocess.run(
        [python, "-S", "-E", *options, "-"],
        input=program,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_a_real_one(python: str) -> None:
    assert answer(python, "import sys; print(*sys.version_info[:2])").split() == ["3", "6"]


def test_there_are_modules() -> None:
    assert {"on_host.openpgp", "on_host.observe.rpm", "on_host.converge.main"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_can_be_imported(name: str, python: str) -> None:
    answer(python, f"import sys; sys.path.insert(0, {str(ON_HOST.parent)!r}); import {name}")


def test_the_unit_of_a_job_starts(python: str, tmp_path: Path) -> None:
    (tmp_path / "gpuprep_on_host").symlink_to(ON_HOST)
    start = tmp_path / "start.py"
    start.write_text((ON_HOST / "faceswap/start.py").read_text())
    done = subprocess.run(
        [python, "-S", "-E", str(start), "none"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (78, "there is no job none: gpuprep writes them\n")


def test_a_host_is_observed(python: str) -> None:
    request = observation_request(load(), settings_from({}))
    found: dict[str, Any] = json.loads(answer(python, observe.script(request)))
    assert found["schema"] == 1
    assert json.loads(found["alike"])["kernel"]


def test_a_request_is_carried_out(python: str, tmp_path: Path) -> None:
    entry = {"path": str(tmp_path / "a"), "kind": "profile", "content": "x\n"}
    asked = converge.request([{"op": "files", "files": [entry]}], check=True)
    text, marker = converge.script(asked)
    read = converge.read(answer(python, text), marker)
    assert (read.changed, read.failed) == (True, None)


def test_the_proof_of_a_gpu_is_one_program(python: str, tmp_path: Path) -> None:
    file = tmp_path / "gpu-proof.py"
    file.write_text(gpu_proof.script(Tier.QUICK))
    done = subprocess.run([python, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == 1
