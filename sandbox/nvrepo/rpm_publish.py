"""Index and sign dnf repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.paths import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.nvrepo.publish import SigningKey

_PROGRAMS = Path(sys.executable).parent


def repository(
    directory: Path, rpms: Iterable[Path], key: SigningKey, key_name: str, modules: str = ""
) -> None:
    """Fill `directory` with packages, their signed index, module streams and the public key.

    The directory is replaced as a whole, so that no reader meets half of a new one.

    Raises:
        SandboxError: createrepo_c failed; its last words are quoted.

    """
    stage = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    for rpm in rpms:
        os.link(rpm, stage / rpm.name)
    # Enterprise Linux 8 reads no zstd.
    _run("createrepo_c", "--quiet", "--no-database", "--general-compress-type", "gz", str(stage))
    if modules:
        listed = stage / "modules.yaml"
        listed.write_text(modules)
        metadata = str(stage / "repodata")
        _run("modifyrepo_c", "--mdtype=modules", "--compress-type=gz", str(listed), metadata)
        listed.unlink()
    key.sign_detached(stage / "repodata" / "repomd.xml")
    (stage / key_name).write_text(key.public())
    shutil.rmtree(directory, ignore_errors=True)
    stage.rename(directory)


def _run(program: str, *arguments: str) -> None:
    """Run a program of the package createrepo-c, which lies beside this Python."""
    try:
        done = subprocess.run(
            [_PROGRAMS / program, *arguments], check=False, capture_output=True, text=True
        )
    except FileNotFoundError as missing:
        raise SandboxError(f"{program} is not installed: make setup") from missing
    if done.returncode:
        raise SandboxError(f"{program}: exit {done.returncode}: {done.stderr.strip()}")
