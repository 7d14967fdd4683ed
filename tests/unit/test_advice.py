"""What a refusal advises can be pasted, and helps."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import bare
from test_resolver_codes import B200, V100
from verify_cases import CATALOG

from gpuprep.cli import run
from gpuprep.cli.params import parse_variables
from gpuprep.model import PlanState
from gpuprep.model.variables import VARIABLE_OF
from gpuprep.observe.reading import decode_observation
from gpuprep.planner import plan_host, settings_from

if TYPE_CHECKING:
    from gpuprep.planner.plan import HostPlan


def plan(variables: dict[str, Any], *gpus: str) -> HostPlan:
    devices = [
        {"slot": str(slot), "vendor": gpu[:4], "device": gpu[5:], "pci_class": "030200"}
        for slot, gpu in enumerate(gpus)
    ]
    observation = decode_observation(bare(pci=devices))
    return plan_host(observation, settings_from(variables), CATALOG)


A10 = "10de:2236"
REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ()),
    ({"gpu_driver_branch": "470"}, (B200,)),
    ({"gpu_driver_branch": "999"}, (A10,)),
    ({"gpu_driver_version": "999.1.2"}, (A10,)),
    ({"gpu_driver_flavour": "open"}, (V100,)),
    ({"cuda_toolkit_versions": ["13.0"]}, (V100,)),
    ({"cuda_toolkit_versions": ["99.0"]}, (A10,)),
    ({"cuda_toolkit_versions": ["12.8"], "cuda_toolkit_default": "12.9"}, (A10,)),
    ({"cudnn_version": "7"}, (A10,)),
    ({"conda_installer_version": "1.2.3"}, (A10,)),
    ({"gpu_driver_branch": "999", "cuda_toolkit_versions": ["99.0"]}, (A10,)),
    ({"gpu_driver_branch": "999"}, ()),
]


@pytest.mark.parametrize(("variables", "gpus"), REFUSED, ids=str)
def test_what_is_advised_can_be_pasted_and_helps(
    variables: dict[str, Any], gpus: tuple[str, ...]
) -> None:
    refused = plan(variables, *gpus)
    assert refused.state is PlanState.REFUSED, refused
    text = refused.error or ""
    assert "Nearest" not in text
    found = re.search(r"[.!] Would work: (-e .*), giving ", text)
    assert found, text
    options = [part for part in shlex.split(found[1]) if part != "-e"]
    for given in parse_variables(tuple(options)):
        assert isinstance(given, dict)
        assert set(given) <= set(VARIABLE_OF.values())
        variables = {**variables, **given}
    helped = plan(variables, *gpus)
    assert helped.state is not PlanState.REFUSED, f"{found[1]}: {helped.error}"


def test_what_no_setting_helps_against_is_said_so() -> None:
    text = plan({"gpu_driver_branch": "470"}, B200, V100).error or ""
    assert re.search(r"\. Other settings do not help: .* \(E_FLAVOUR_CONFLICT\)$", text), text


def test_explain_advises_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    run(["explain", "BM.GPU3.8", "--os", "debian-12", "--cuda", "13.0", "--flavour", "open"])
    said = capsys.readouterr().out
    assert "Clashing gpu_driver_flavour (flavour here)" in said or "cuda_toolkit" in said
    assert re.search(
        r"^Would work: -e gpu_driver_flavour=auto -e '\{.*\}', giving driver", said, re.MULTILINE
    )


def test_a_system_that_no_role_installs_is_refused_with_those_that_roles_do() -> None:
    observation = bare(os={"id": "amzn", "version_id": "2023", "pretty": "Amazon Linux 2023"})
    refused = plan_host(decode_observation(observation), settings_from({}), CATALOG)
    assert refused.code == "E_OS_FAMILY"
    assert "amzn-2023 is explained only: " in (refused.error or "")
    assert "debian-13 (x86_64)" in (refused.error or "")
