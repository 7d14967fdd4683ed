"""``gpuprep.explain()``: what the command of its name tells, as values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import gpuprep
from gpuprep.cli.explain import explain
from gpuprep.errors import ConfigError
from gpuprep.resolve.answer import answer

if TYPE_CHECKING:
    from pathlib import Path


def told(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(explain, [*arguments, "-o", "json"], catch_exceptions=False)
    said: dict[str, Any] = json.loads(result.output)
    said.pop("support", None)
    return said


@pytest.mark.parametrize(
    ("shape", "system", "variables", "options"),
    [
        ("BM.GPU.H100.8", "debian-12", {}, ()),
        ("VM.GPU.A10.1", "ol-9", {"gpu_driver_branch": 570}, ("--branch", "570")),
        ("VM.GPU.A10.1", "ubuntu-24.04", {"gpuprep_channel": "pb"}, ("--channel", "pb")),
        ("VM.GPU3.1", "debian-12", {"cuda_toolkit_versions": ["13.0"]}, ("--cuda", "13.0")),
        ("VM.GPU.A10.1", "debian-99", {}, ()),
        (
            "VM.GPU.A10.1",
            "debian-12",
            {"gpu_driver_kernel": "6.1.0-40-amd64"},
            ("--kernel", "6.1.0-40-amd64"),
        ),
        (
            "VM.GPU.A10.1",
            "debian-12",
            {"gpuprep_components": ["driver"]},
            ("--only", "driver"),
        ),
    ],
)
def test_it_is_what_the_command_tells(
    shape: str, system: str, variables: dict[str, Any], options: tuple[str, ...]
) -> None:
    found = gpuprep.explain(shape, os=system, variables=variables)
    assert answer(found) == told(shape, "--os", system, *options)


def test_a_host_may_be_described() -> None:
    host = gpuprep.HostFacts(gpus=("10DE:2236",), os="debian-12", driver="570.211.01")
    stack = gpuprep.explain(host)
    assert isinstance(stack, gpuprep.Stack)
    assert answer(stack) == told("--gpu", "10de:2236", "--os", "debian-12")
    other = gpuprep.explain(host, os="ol-9")
    assert isinstance(other, gpuprep.Stack)
    assert other.family == "rpm"
    kept = gpuprep.explain(host, variables={"gpu_driver_branch": "keep"})
    assert isinstance(kept, gpuprep.Stack)
    assert (kept.manage_driver, kept.branch) == (False, "570")
    without = gpuprep.HostFacts(gpus=("10de:2236",), os="debian-12")
    refused = gpuprep.explain(without, variables={"gpu_driver_branch": "keep"})
    assert isinstance(refused, gpuprep.Refusal)
    assert refused.code == "E_KEEP_NOTHING"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": "BM.GPU.H100"}, r"'BM.GPU.H100' is not in the catalog; did you mean BM.GPU.H100"),
        ({"host": ""}, "host: expected a shape or gpuprep.HostFacts, found empty text"),
        ({"host": 5}, "host: expected a shape or gpuprep.HostFacts, found int"),
        ({"os": None}, "os: a shape has many; name one of ubuntu-20.04"),
        ({"os": ""}, "os: expected the name of a system, found ''"),
        ({"os": 12}, "os: expected the name of a system, found 12"),
        ({"variables": 5}, "variables: expected a mapping, found int"),
        ({"variables": {"gpu_driver_branche": "580"}}, "reads no 'gpu_driver_branche'; did you"),
        ({"variables": {"gpu_driver_branch": ["580"]}}, "gpu_driver_branch: expected auto, keep"),
        ({"variables": {"gpuprep_lock_file": "/nowhere.yml"}}, "/nowhere.yml"),
        (
            {"host": gpuprep.HostFacts(gpus="10de:2236", os="debian-12")},  # type: ignore[arg-type]
            "gpus: expected a tuple of PCI ids, found text",
        ),
    ],
)
def test_what_is_wrong_is_told(arguments: dict[str, Any], message: str) -> None:
    asked = {"host": "VM.GPU.A10.1", "os": "debian-12", **arguments}
    with pytest.raises(ConfigError, match=message):
        gpuprep.explain(asked.pop("host"), **asked)


def test_files_of_the_controller_are_not_asked_for(tmp_path: Path) -> None:
    environments = [{"name": "train", "file": str(tmp_path / "not-there.yml")}]
    found = gpuprep.explain(
        "VM.GPU.A10.1", os="debian-12", variables={"conda_environments": environments}
    )
    assert isinstance(found, gpuprep.Stack)
