"""The stand-in as a git repository, as Faceswap's own is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("source")
KEPT_EMPTY = ("config", ".fs_cache")  # folders that Faceswap writes to
_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "sandbox"),
        ("EMAIL", "sandbox@localhost"),
        ("DATE", "2026-01-01T00:00:00Z"),
    )
}


def make(folder: Path) -> str:
    """Make the repository and return its commit, the same for the same files.

    Args:
        folder: new; holds the work tree and its ``.git`` afterwards.

    """
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in KEPT_EMPTY:
        (folder / name).mkdir()
        (folder / name / ".keep").touch()
    _git(folder, "init", "--quiet", "--initial-branch=master")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message=Stand-in for Faceswap")
    return _git(folder, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str:
    safe = {
        **os.environ,
        **_AUTHOR,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=safe, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
