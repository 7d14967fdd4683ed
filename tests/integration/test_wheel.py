"""The built wheel in an empty environment: command line, API and plain ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
CARRIED = ("roles", "playbooks", "plugins", "meta")


@pytest.fixture(scope="module")
def installed(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs a program of an environment that holds the wheel alone."""
    folder = tmp_path_factory.mktemp("venv")
    home = tmp_path_factory.mktemp("home")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/pip"), "install", "--quiet", str(wheel)]
    subprocess.run(pip, check=True)
    clean = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    environment = {**clean, "HOME": str(home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}

    def run(program: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(folder / "bin" / program), *arguments],
            cwd=home,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_wheel_carries_the_collection_as_the_checkout_has_it(wheel: Path) -> None:
    prefix = "gpuprep/_collections/ansible_collections/gpuprep/core/"
    names = zipfile.ZipFile(wheel).namelist()
    carried = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    tracked = subprocess.run(
        ["git", "ls-files", *CARRIED],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert set(tracked) <= carried
    assert {"galaxy.yml", "README.md"} <= carried


def test_the_command_line_starts_outside_the_path(
    installed: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = installed("gpuprep", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "apply" in done.stdout


def test_this_machine_can_be_planned(
    installed: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = installed("gpuprep", "plan", "localhost", "--output", "json")
    result = json.loads(done.stdout)
    host = result["hosts"]["localhost"]
    assert done.returncode == result["exit_code"]
    # Whatever this machine is, it was looked at and judged; a failure would be ours.
    assert host["state"] in {"ready", "prepared", "drifted", "refused"}, done.stdout + done.stderr
    assert result["counts"] == {"host_tasks": 1, "round_trips": 1, "observations": 1}


def test_the_python_interface_works(
    installed: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    program = "import gpuprep; print(gpuprep.status('localhost').hosts['localhost'].name)"
    done = installed("python", "-c", program)
    assert done.stdout.strip() == "localhost", done.stderr


def test_plain_ansible_playbook_finds_the_collection(
    installed: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    line = installed("gpuprep", "env").stdout.strip()
    name, _, value = line.removeprefix("export ").partition("=")
    arguments = ["-i", "localhost,", "-c", "local", "gpuprep.core.plan"]
    done = installed("ansible-playbook", *arguments, **{name: value.strip("'")})
    assert "Observe and plan" in done.stdout, done.stdout + done.stderr
