"""The Pythons in which tests run what is sent to hosts; that of Enterprise Linux 8 is 3.6."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.el import python

OLDEST = 6


def interpreter(minor: int) -> str | None:
    """Find a Python 3.x: the sandbox's, one on the PATH or among pyenv's.

    Shims that start nothing do not count.
    """
    own = python.present() if minor == OLDEST else None
    managed = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
    for candidate in (own, shutil.which(f"python3.{minor}"), *managed):
        if candidate is not None:
            done = subprocess.run([candidate, "-c", "pass"], capture_output=True, check=False)
            if done.returncode == 0:
                return str(candidate)
    return None


def oldest() -> str:
    """Return Python 3.6; without one the test is skipped, in a whole run it fails."""
    found = interpreter(OLDEST)
    if found is None:
        give_up = pytest.fail if os.environ.get("TESTS_SKIP_NO_PROGRAM") else pytest.skip
        give_up("no Python 3.6 on this machine: python -m sandbox.el.python")
    return found
