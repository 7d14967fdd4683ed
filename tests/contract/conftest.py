"""What the cross-file rules look at: the repository's files, and what is built from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository, also those not yet committed, that match git's patterns."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return sorted(path for name in listed if name and (path := ROOT / name).is_file())


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with sdist, wheel (built from the sdist, as pip would) and collection tarball."""
    out = tmp_path_factory.mktemp("dist")
    tools = Path(sys.executable).parent
    for command in (
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        [
            str(tools / "ansible-galaxy"),
            "collection",
            "build",
            "--output-path",
            str(out),
            str(ROOT),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out
