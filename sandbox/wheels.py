"""Fetch wheels from the configured package index and unpack them, once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.paths import SandboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

PLATFORM = (
    *("--platform", "manylinux2010_x86_64", "--platform", "manylinux2014_x86_64"),
    *("--platform", "manylinux_2_27_x86_64", "--platform", "manylinux_2_28_x86_64"),
    *("--python-version", "3.11", "--implementation", "cp", "--abi", "abi3", "--abi", "none"),
)
"""Ask for the hosts' platform, whatever the machine that builds has."""


def fetch(name: str, version: str, cache: Path, platform: Sequence[str] = PLATFORM) -> Path:
    """Return the wheel file of `name` at exactly `version`, downloading it on first use.

    `platform` are pip's options that say for which machine and Python.

    Raises:
        SandboxError: pip could not fetch it; its last lines are quoted.

    """
    home = cache / "wheels" / f"{name}-{version}"
    found = list(home.glob("*.whl"))
    if found:
        return found[0]
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as stage:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
        options = ["--disable-pip-version-check", "--only-binary=:all:", *platform]
        done = subprocess.run(
            [*command, *options, "--dest", stage, f"{name}=={version}"],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.splitlines()[-5:])
            raise SandboxError(f"pip download {name}=={version}: exit {done.returncode}:\n{tail}")
        shutil.rmtree(home, ignore_errors=True)
        Path(stage).rename(home)
        Path(stage).mkdir()  # what the context manager removes
    return next(home.glob("*.whl"))


def unpacked(name: str, version: str, cache: Path) -> Path:
    """Return a directory with the contents of the wheel of `name` at exactly `version`."""
    wheel = fetch(name, version, cache)
    home = cache / "unpacked" / wheel.stem
    if not home.is_dir():
        stage = home.with_name(f".{home.name}.new")
        shutil.rmtree(stage, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(stage)
        stage.rename(home)
    return home
