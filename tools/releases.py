"""Environments with each supported ansible-core, for tests: ``python -m tools.releases``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# Minor versions of Python 3 that a controller may have; ansible-core's own documentation says so.
PYTHONS: Final = {18: (11, 12, 13), 19: (11, 12, 13), 20: (12, 13, 14), 21: (12, 13, 14)}


def supported() -> tuple[str, ...]:
    """Return the releases that pyproject.toml allows, but for the one that runs this."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (core,) = [name for name in project["dependencies"] if name.startswith("ansible-core")]
    lowest, above = (int(minor) for minor in re.findall(r"2\.(\d+)", core))
    found = (f"2.{minor}" for minor in range(lowest, above))
    return tuple(one for one in found if not version("ansible-core").startswith(f"{one}."))


def place(release: str) -> Path:
    """Return the directory of a release's environment, whether it is there or not."""
    return ROOT / f".cache/ansible-{release}"


def python_for(release: str) -> str | None:
    """Return a Python of this machine that can run a release."""
    managed = Path.home() / ".pyenv/versions"
    for minor in PYTHONS[int(release.split(".")[1])]:
        here = [
            shutil.which(f"python3.{minor}"),
            *map(str, managed.glob(f"3.{minor}.*/bin/python")),
        ]
        for candidate in filter(None, here):
            check = f"import sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
            done = subprocess.run([candidate, "-c", check], capture_output=True, check=False)
            if done.returncode == 0:
                return candidate
    return None


def make(release: str) -> str:
    """Make a release's environment where it is missing; return what became of it."""
    folder = place(release)
    mark = folder / ".installed"
    if mark.exists():
        return "there"
    python = python_for(release)
    if python is None:
        minors = ", ".join(f"3.{minor}" for minor in PYTHONS[int(release.split(".")[1])])
        return f"left out: this machine has no Python {minors}"
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin/pip"), "install", "--quiet", "--editable", ".[oci]"]
    subprocess.run([*pip, f"ansible-core~={release}.0"], cwd=ROOT, check=True)
    mark.touch()
    return f"made with {python}"


def main() -> int:
    """Make all of them, and say which this machine cannot run."""
    for release in supported():
        print(f"ansible-core {release}: {make(release)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
