from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuprep import model
from gpuprep.components import NAMES
from gpuprep.model.codec import DecodeError, decode

TEXT = st.text(max_size=12)
MESSAGES = st.builds(model.Message, code=TEXT, message=TEXT, nearest=st.none() | TEXT)
STEPS = st.from_type(model.Step)
CHECKS = st.builds(
    model.CheckResult,
    id=TEXT,
    status=st.sampled_from(model.CheckStatus),
    detail=TEXT,
    seconds=st.none() | st.floats(0, 1e6),
)
STACKS = st.builds(
    model.Stack,
    family=st.sampled_from(["deb", "rpm"]),
    branch=st.none() | TEXT,
    cuda=st.lists(st.builds(model.CudaToolkit, version=TEXT, package=TEXT)).map(tuple),
    packages=st.lists(st.builds(model.Package, name=TEXT, component=st.sampled_from(NAMES))).map(
        tuple
    ),
    repository=st.none()
    | st.builds(
        model.Repository,
        url=TEXT,
        family=st.just("deb"),
        key=st.builds(model.SigningKey, url=TEXT, fingerprint=TEXT),
    ),
    warnings=st.lists(MESSAGES).map(tuple),
)
FACTS = st.builds(model.HostFacts, gpus=st.lists(TEXT).map(tuple), os=TEXT)
HOSTS = st.builds(
    model.HostResult,
    name=TEXT,
    state=st.sampled_from(model.HostStatus),
    steps=st.lists(STEPS, max_size=3).map(tuple),
    checks=st.lists(CHECKS, max_size=3).map(tuple),
    stack=st.none() | STACKS,
    facts=st.none() | FACTS,
    versions=st.dictionaries(TEXT, TEXT, max_size=3),
)
FLEETS = st.builds(
    model.FleetResult,
    verb=TEXT,
    hosts=st.dictionaries(TEXT, HOSTS, max_size=3),
    counts=st.dictionaries(TEXT, st.integers(), max_size=2),
    seconds=st.floats(0, 1e6),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are busy
@given(FLEETS)
def test_a_result_survives_the_way_through_json(fleet: model.FleetResult) -> None:
    assert decode(model.FleetResult, json.loads(json.dumps(fleet.to_dict()))) == fleet


def test_unknown_keys_are_tolerated() -> None:
    step = dict.fromkeys(("id", "role", "kind", "target", "action", "reason"), "x")
    assert decode(model.Step, {**step, "colour": "green"}).id == "x"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"code": "E_X"}, "Message: the key 'message' is missing"),
        ({"code": 1, "message": "m"}, "Message.code: expected str, found int"),
        ([], "Message: expected an object, found list"),
    ],
)
def test_what_does_not_fit_is_named(data: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message.replace("[", r"\[")):
        decode(model.Message, data)


def test_a_bool_is_no_number_and_an_enum_only_takes_its_values() -> None:
    with pytest.raises(DecodeError, match="nvswitches: expected int, found bool"):
        decode(model.HostFacts, {"gpus": [], "os": "debian-12", "nvswitches": True})
    with pytest.raises(DecodeError, match="'fine' is none of passed"):
        decode(model.CheckResult, {"id": "x", "status": "fine", "detail": ""})


def test_the_place_of_a_mistake_in_nested_data_is_named() -> None:
    data = {"name": "h", "state": "ready", "warnings": [{"code": "W"}]}
    with pytest.raises(DecodeError, match=r"HostResult\.warnings\[0\]: the key 'message'"):
        decode(model.HostResult, data)
