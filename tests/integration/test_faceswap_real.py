"""Faceswap itself, at the catalog's commit, with its packages as they are published."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.catalog import load
from gpuprep.layout import package_root
from gpuprep.model import HostStatus
from sandbox import hosts, python_index
from sandbox.fleet import HostSpec
from sandbox.paths import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
REPOSITORY = os.environ.get("FACESWAP_REPOSITORY")
RULES = load().faceswap
VARIANT = RULES.variants[0]  # what a host without a GPU gets
ENV = "/opt/conda/envs/faceswap"
SOURCE = "/opt/gpuprep/faceswap/source"


@pytest.fixture(scope="module")
def wheelhouse() -> Path:
    """The locked files, fetched once, each held to its hash."""
    folder = STATE / "cache" / "faceswap-wheels"
    folder.mkdir(parents=True, exist_ok=True)
    lock = package_root() / f"workloads/faceswap/locks/{VARIANT.name}.txt"
    python = next(each for each in (f"python{RULES.python}", sys.executable) if shutil.which(each))
    options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    options += ["--python-version", RULES.python, "--quiet", "--find-links", str(folder)]
    command = [python, "-m", "pip", "download", *options, "-r", str(lock), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the locked packages cannot be fetched here: {done.stderr.strip()[-300:]}")
    return folder


@pytest.fixture(scope="module")
def settings(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The role's settings: nothing but where source and packages come from."""
    if REPOSITORY is None:
        pytest.skip(
            "NOT TESTED: Faceswap's source; set FACESWAP_REPOSITORY to a git repository that has"
            f" commit {RULES.commit}"
        )
    place = tmp_path_factory.mktemp("source") / "faceswap.git"
    git = ["git", "-c", "safe.directory=*"]
    subprocess.run([*git, "init", "-q", "--bare", str(place)], check=True)
    fetch = [*git, "-C", str(place), "fetch", "-q", "--depth=1"]
    address = Path(REPOSITORY).resolve().as_uri() if Path(REPOSITORY).exists() else REPOSITORY
    subprocess.run([*fetch, address, f"{RULES.commit}:refs/heads/pinned"], check=True)
    return {
        "gpuprep_components": ["conda", "faceswap"],
        "faceswap_index": python_index.publish(STATE / "www", wheelhouse),
        "source": place,
    }


@pytest.fixture(scope="module")
def host(lab: Lab, settings: dict[str, Any]) -> Iterator[str]:
    name = f"faceswap-real-{os.getpid()}"
    try:
        lab.start(HostSpec.from_dict(name, {"image": "debian-12"}))
        _prepare(lab, name, settings.pop("source"))
        settings["faceswap_repository"] = "file:///srv/faceswap.git"
        settings["faceswap_index"] = f"{lab.mirror}/{settings['faceswap_index']}"
        yield name
    finally:
        hosts.stop_all([name])


def _prepare(lab: Lab, name: str, source: Path) -> None:
    # The substitute of conda-forge's Python is the host's own, and has tkinter from there.
    install = "apt-get -qq update; apt-get -qq install -y --no-install-recommends python3-tk git"
    done = hosts.run(name, ["sh", "-euc", install], timeout=1800)
    assert done.returncode == 0, done.stderr
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(source, "faceswap.git")
    unpack = "base64 -d | tar -xz --no-same-owner -C /srv"
    lab.run(name, "sh", "-euc", unpack, stdin=base64.b64encode(buffer.getvalue()).decode())


def test_faceswap_is_installed_and_starts(lab: Lab, host: str, settings: dict[str, Any]) -> None:
    first = lab.apply(host, **settings).hosts[host]
    assert first.state is HostStatus.PREPARED, (first.code, first.error)
    record = json.loads(lab.sh(host, "cat /opt/gpuprep/faceswap/installed.json"))
    assert (record["commit"], record["backend"]) == (RULES.commit, "cpu")
    variables = "FACESWAP_BACKEND=cpu KERAS_BACKEND=torch PYTHONDONTWRITEBYTECODE=1"
    program = (
        "import torch, keras; from lib.utils import get_backend;"
        "print(torch.__version__, keras.backend.backend(), get_backend())"
    )
    run = f"cd {SOURCE} && env {variables} {ENV}/bin/python -c '{program}' 2>/dev/null"
    told = lab.run(host, "su", "-s", "/bin/sh", "faceswap", "-c", run).splitlines()[-1]
    assert told.split() == [f"{VARIANT.torch.version}+{VARIANT.name}", "torch", "cpu"]
    again = lab.apply(host, **settings).hosts[host]
    assert (again.changed, again.steps) == (False, ())
