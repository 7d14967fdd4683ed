"""A made-up fleet of any size, with every state and every kind of entry, for the reports' tests."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

from verify_cases import CATALOG, failures, healthy, stack

from gpuprep.components import resolve
from gpuprep.ladder.evaluate import state_of
from gpuprep.model import (
    DesiredStack,
    FleetResult,
    HostFacts,
    HostResult,
    HostStatus,
    Message,
    Stack,
    Step,
    StepStatus,
)

H100 = HostFacts(
    gpus=("10de:2330",) * 8,
    os="ubuntu-24.04",
    kernel="6.8.0-1035-oracle",
    shape="BM.GPU.H100.8",
    nvswitches=4,
)
A10 = HostFacts(
    gpus=("10de:2236",), os="ubuntu-24.04", kernel="6.8.0-1035-oracle", shape="VM.GPU.A10.1"
)
VERSIONS = {"driver": "580.95.05", "cuda": "13.0", "cudnn": "9.19.0", "conda": "26.3.2"}
INSTALL = Step(
    "gpu_driver.package.nvidia-open-580",
    "gpu_driver",
    "package",
    "nvidia-open-580",
    "install",
    "the driver is not installed",
    None,
    "580.95.05-1",
    StepStatus.DONE,
)
CHANGE = replace(
    INSTALL,
    action="change",
    reason="unattended-upgrades has moved the driver",
    before="580.105.08-1",
    status=StepStatus.PLANNED,
)
LOST = {
    HostStatus.REFUSED: ("E_RUNFILE_PRESENT", "a runfile-installed driver was found; remove it"),
    HostStatus.UNREACHABLE: ("E_UNREACHABLE", "connect to host 10.0.3.17 port 22: timed out"),
}


def fleet(size: int, seed: int = 1) -> dict[str, Any]:
    """Give a fleet's result as it is read from report.json."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable sample
    hosts = [_host(number, chance.random()) for number in range(size)]
    result = FleetResult(
        "verify",
        {host.name: host for host in hosts},
        started="2026-11-21T02:00:13+00:00",
        seconds=73.4,
        counts={"round_trips": size, "host_tasks": 0},
    )
    return json.loads(json.dumps(result.to_dict()))  # type: ignore[no-any-return]


_RESOLVED = {facts.shape: resolve(facts, DesiredStack(), CATALOG) for facts in (H100, A10)}
_CASES = failures()


def _host(number: int, draw: float) -> HostResult:
    facts = H100 if number % 3 else A10
    name = f"gpu-{'h100' if number % 3 else 'a10'}-{number:04d}"
    resolved = _RESOLVED[facts.shape]
    host = HostResult(
        name,
        HostStatus.READY,
        facts=facts,
        stack=resolved if isinstance(resolved, Stack) else None,
        versions=VERSIONS,
        steps=(INSTALL,) if draw > 0.7 else (),
        warnings=(Message("W_BRANCH_EOL", "driver branch 570 is past its end of life", "580"),)
        if number % 17 == 0
        else (),
    )
    if 0.15 < draw < 0.18:
        state = HostStatus.REFUSED if draw < 0.17 else HostStatus.UNREACHABLE
        code, error = LOST[state]
        return replace(host, state=state, code=code, error=error, versions={}, steps=())
    case = _CASES[number % len(_CASES)]
    evidence = healthy(case["change"] if draw < 0.08 else {})
    for gpu in evidence.probe.get("nvml", {}).get("gpus", []):
        gpu["uuid"] = f"GPU-{number:08d}-{gpu['index']}"
    checks = tuple(evidence.checks(stack()).values())
    if 0.1 < draw < 0.13:
        return replace(host, state=HostStatus.DRIFTED, steps=(CHANGE,), checks=checks)
    state = state_of(checks, plan_is_empty=True, has_gpu_proof=True)
    return replace(host, state=state, checks=checks)
