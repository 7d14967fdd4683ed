"""``ansible-test sanity`` of every other supported release of Ansible accepts the collection."""

from __future__ import annotations

import subprocess

import pytest

from tools import releases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("release", releases.supported())
def test_a_release_finds_nothing(release: str) -> None:
    python = releases.place(release) / "bin/python"
    if not python.exists():
        pytest.skip(
            f"no environment with ansible-core {release}; python -m tools.releases says why"
        )
    command = [str(python), "-m", "tools.sanity"]
    done = subprocess.run(command, cwd=releases.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
