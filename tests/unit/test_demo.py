"""The demonstration's own check: it passes for what had to happen and names everything else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sandbox.demo import EXPECTED_EXIT, PREPARED, REFUSED, differences


def report() -> dict[str, Any]:
    prepared = {
        name: {
            "state": "prepared",
            "code": None,
            "error": None,
            "changed": True,
            "versions": {
                "driver": f"{wanted.branch}.1.2",
                "cuda": wanted.cuda,
                "cudnn": f"{wanted.cudnn}.1",
                "conda": "1.0",
            },
            "stack": {
                "branch": wanted.branch,
                "flavour": wanted.flavour,
                "packages": [{"name": name} for name in wanted.packages],
            },
        }
        for name, wanted in PREPARED.items()
    }
    refused: dict[str, Any] = {
        name: {
            "state": "refused",
            "code": code,
            "error": "remove it",
            "changed": False,
            "versions": {},
            "stack": None,
        }
        for name, code in REFUSED.items()
    }
    return {"hosts": {**prepared, **refused}}


def test_the_expected_is_no_difference() -> None:
    assert list(differences(report(), EXPECTED_EXIT)) == []


def test_another_exit_code_is_told() -> None:
    assert list(differences(report(), 0)) == ["the exit code is 0, expected 3"]


@pytest.mark.parametrize(
    ("host", "path", "value"),
    [
        ("gpu-runfile", ("changed",), True),
        ("gpu-runfile", ("code",), "E_NO_GPU"),
        ("gpu-runfile", ("state",), "prepared"),
        ("gpu-a10", ("state",), "ready"),
        ("gpu-a10", ("versions", "driver"), "595.1"),
        ("gpu-a10", ("versions",), {}),
        ("gpu-v100", ("stack", "flavour"), "open"),
        ("gpu-v100", ("versions", "cudnn"), "9.11.0"),
        ("gpu-v100", ("versions", "cudnn"), "9.100.2"),
        ("gpu-v100", ("stack",), None),
        ("gpu-h100", ("stack", "packages"), []),
        ("gpu-ol9", ("stack", "packages"), []),
    ],
)
def test_each_difference_is_told(host: str, path: tuple[str, ...], value: object) -> None:
    changed = copy.deepcopy(report())
    place = changed["hosts"][host]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    told = list(differences(changed, EXPECTED_EXIT))
    assert told
    assert all(line.startswith(host) for line in told)


def test_a_missing_host_is_told() -> None:
    short = report()
    del short["hosts"]["gpu-a10"]
    (told,) = differences(short, EXPECTED_EXIT)
    assert "expected gpu-a10" in told
