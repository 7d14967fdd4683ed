"""Faceswap itself, at the catalog's commit, with its packages as they are published."""

from __future__ import annotations

import json
import os
import shutil
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

    from lab import Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
RULES = load().faceswap
VARIANT = RULES.variants[0]  # what a host without a GPU gets
ENV = "/opt/conda/envs/faceswap"
SOURCE = "/opt/gpuprep/faceswap/source"


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, Any]]:
    """The role's settings: nothing but where source and packages come from."""
    source = published.repository()
    if source is None:
        pytest.skip(
            f"NOT TESTED: Faceswap's source; set {published.VARIABLE} to a git repository that has"
            f" commit {RULES.commit}"
        )
    try:
        wheels = published.wheelhouse()
    except SandboxError as problem:
        pytest.skip(str(problem))
    place = STATE / "www" / f"faceswap-real-{os.getpid()}.git"
    published.clone(source, place)
    yield {
        "gpuprep_components": ["conda", "faceswap"],
        "faceswap_index": python_index.publish(STATE / "www", wheels),
        "faceswap_repository": place.name,
    }
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def host(lab: Lab, settings: dict[str, Any]) -> Iterator[str]:
    name = f"faceswap-real-{os.getpid()}"
    try:
        lab.start(HostSpec.from_dict(name, {"image": "debian-12"}))
        published.add_tkinter(name)
        for key in ("faceswap_repository", "faceswap_index"):
            settings[key] = f"{lab.mirror}/{settings[key]}"
        yield name
    finally:
        hosts.stop_all([name])


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
