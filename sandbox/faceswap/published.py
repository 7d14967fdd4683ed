"""Faceswap itself, and its packages as they are published, for whoever has its source at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuprep.catalog import load
from gpuprep.layout import package_root
from sandbox import hosts
from sandbox.paths import CACHE, SandboxError
from sandbox.podman import podman

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE: Final = "FACESWAP_REPOSITORY"
"""Environment variable: a git repository on this machine that has the catalog's commit."""
REPOSITORY: Final = "/srv/faceswap.git"
"""Where it is on a host."""


def repository() -> Path | None:
    """Return the repository that the environment names; None without one.

    Raises:
        SandboxError: there is none at that place.

    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    path = Path(named).expanduser().resolve()
    if not path.is_dir():
        raise SandboxError(f"{VARIABLE}: {named} is no folder: name a git repository")
    return path


def copy(source: Path, place: Path) -> None:
    """Copy what a repository has of the catalog's commit; its history may be cut off there.

    Args:
        source: the repository; bare or not.
        place: becomes a bare one; what is there is replaced.

    Raises:
        SandboxError: it does not have the commit, or not all of it.

    """
    commit = load().faceswap.commit
    shutil.rmtree(place, ignore_errors=True)
    _git("init", "--quiet", "--bare", str(place))
    pinned = f"{commit}:refs/heads/pinned"
    _git("-C", str(place), "fetch", "--quiet", "--depth=1", source.as_uri(), pinned)


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"git {' '.join(arguments)}: {done.stderr.strip()}")


def wheelhouse() -> Path:
    """Fetch the locked packages of a host without a GPU, each held to its hash; 3 GB, kept.

    Raises:
        SandboxError: they cannot be fetched; pip's last words are quoted.

    """
    rules = load().faceswap
    folder = CACHE / "faceswap-wheels"
    folder.mkdir(parents=True, exist_ok=True)
    lock = package_root() / f"workloads/faceswap/locks/{rules.variants[0].name}.txt"
    options: Sequence[str] = (
        *("--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-cache-dir"),
        *("--python-version", rules.python, "--find-links", str(folder)),
    )
    fetch = [sys.executable, "-m", "pip", "download", *options, "-r", str(lock), "-d", str(folder)]
    for where in (["--no-index"], []):  # what is here need not be asked for
        done = subprocess.run([*fetch, *where], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    else:
        raise SandboxError(f"the locked packages cannot be had: {done.stderr.strip()[-300:]}")
    return folder


def place_on(host: str, repository: Path) -> str:
    """Put a repository on a host, and what its substitute of conda-forge's Python lacks: tkinter.

    A web server without git cannot hand out a commit without its history.

    Returns:
        The repository's address there.

    Raises:
        SandboxError: something cannot be installed.

    """
    podman("cp", str(repository), f"{hosts.find(host).container}:{REPOSITORY}")
    install = "apt-get -qq update; apt-get -qq install -y --no-install-recommends python3-tk"
    done = hosts.run(host, ["sh", "-euc", install], timeout=1800)
    if done.returncode:
        raise SandboxError(f"host {host}: python3-tk cannot be installed: {done.stderr.strip()}")
    return f"file://{REPOSITORY}"
