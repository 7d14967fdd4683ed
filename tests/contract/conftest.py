"""What is built from the repository, once for all tests that look at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with sdist, wheel (built from the sdist, as pip would) and collection tarball."""
    out = tmp_path_factory.mktemp("dist")
    galaxy = str(Path(sys.executable).parent / "ansible-galaxy")
    for command in (
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        [galaxy, "collection", "build", "--output-path", str(out), str(ROOT)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out
