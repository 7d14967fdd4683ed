"""Faceswap itself, at the catalog's commit, with its packages as they are published."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.catalog import load
from gpuprep.model import HostStatus
from sandbox import hosts, python_index
from sandbox.faceswap import published
from sandbox.fleet import HostSpec
from sandbox.paths import STATE, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab import Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
RULES = load().faceswap
VARIANT = RULES.variants[0]  # what a host without a GPU gets
ENV = "/opt/conda/envs/faceswap"
SOURCE = "/opt/gpuprep/faceswap/source"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What there is of Faceswap's source."""
    named = published.repository()
    if named is None:
        pytest.skip(
            f"NOT TESTED: Faceswap's source; set {published.VARIABLE} to a git repository that has"
            f" commit {RULES.commit}"
        )
    place = tmp_path_factory.mktemp("source") / "faceswap.git"
    published.copy(named, place)
    return place


@pytest.fixture(scope="module")
def wheels(source: Path) -> Path:
    """The locked files, fetched once, each held to its hash."""
    assert source.is_dir()
    try:
        return published.wheelhouse()
    except SandboxError as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="module")
def host(lab: Lab, source: Path) -> Iterator[str]:
    name = f"faceswap-real-{os.getpid()}"
    try:
        lab.start(HostSpec.from_dict(name, {"image": "debian-12"}))
        published.place_on(name, source)
        yield name
    finally:
        hosts.stop_all([name])


@pytest.fixture(scope="module")
def settings(lab: Lab, host: str, wheels: Path) -> dict[str, Any]:
    """The role's settings: nothing but where source and packages come from."""
    assert host
    index = python_index.publish(STATE / "www", wheels)
    return {
        "gpuprep_components": ["conda", "faceswap"],
        "faceswap_repository": f"file://{published.REPOSITORY}",
        "faceswap_index": f"{lab.mirror}/{index}",
    }


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
