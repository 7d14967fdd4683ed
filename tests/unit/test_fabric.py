"""What the bus of an observed host shows decides over what its model or shape usually has."""

from __future__ import annotations

import pytest

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.model import DesiredStack, HostFacts, Stack
from gpuprep.model.fabric import fabric_kind
from gpuprep.planner.facts_file import parse_facts

CATALOG = load()
A100, A10, H100, B200 = "10de:20b0", "10de:2236", "10de:2330", "10de:2901"
FABRIC_MANAGER = "nvidia-fabricmanager"


def stack(gpu: str, nvswitches: int | None, shape: str | None = None) -> Stack:
    facts = HostFacts(
        gpus=(gpu,), os="ubuntu-24.04", kernel="6.8.0-40-generic", nvswitches=nvswitches,
        shape=shape,
    )  # fmt: skip
    found = resolve(facts, DesiredStack(), CATALOG)
    assert isinstance(found, Stack), found
    return found


@pytest.mark.parametrize(
    ("gpu", "nvswitches", "kind"),
    [
        (A100, None, "fm"),  # explain: nobody looked
        (A100, 0, "none"),
        (A100, 6, "fm"),
        (H100, 0, "none"),
        (A10, None, "none"),
        (A10, 0, "none"),
        (A10, 2, "fm"),
        (B200, None, "fm+nvlsm"),
        (B200, 0, "fm+nvlsm"),  # these boards hide their switches
        (B200, 2, "fm+nvlsm"),
    ],
)
def test_models(gpu: str, nvswitches: int | None, kind: str) -> None:
    found = stack(gpu, nvswitches)
    assert found.fabric == kind
    has_manager = any(unit.startswith(FABRIC_MANAGER) for unit in found.services)
    assert has_manager == (kind != "none")
    packages = {package.name for package in found.packages}
    assert any(name.startswith(FABRIC_MANAGER) for name in packages) == (kind != "none")


def test_a_shape_is_overruled_by_the_bus_too() -> None:
    shape = "BM.GPU4.8"
    assert CATALOG.shapes[shape].fabric == "fm"
    assert stack(A100, None, shape).fabric == "fm"
    assert stack(A100, 6, shape).fabric == "fm"
    assert stack(A100, 0, shape).fabric == "none"


def test_a_known_shape_speaks_before_the_model() -> None:
    assert fabric_kind("none", ["fm"], None) == "none"
    assert fabric_kind(None, ["none", "fm"], None) == "fm"
    assert fabric_kind(None, [], 1) == "fm"


def test_a_facts_file_that_does_not_say_leaves_it_to_the_model() -> None:
    data = {"gpus": [A100], "os": "ubuntu-24.04"}
    assert parse_facts(data)[0].nvswitches is None
    assert parse_facts({**data, "nvswitches": None})[0].nvswitches is None
    assert parse_facts({**data, "nvswitches": 0})[0].nvswitches == 0
