"""Evidence for the ladder's tests: one healthy host, and what to change for each failure."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.catalog import load
from gpuprep.ladder.evaluate import evaluate
from gpuprep.ladder.expect import expectation
from gpuprep.model import CheckResult, CudaToolkit, Stack

if TYPE_CHECKING:
    from gpuprep.ladder.checks import Tier

FOLDER = Path(__file__).parents[1] / "fixtures" / "verify"
CATALOG = load()


@dataclass(frozen=True, slots=True)
class Host:
    observation: dict[str, Any]
    probe: dict[str, Any]
    shape: str | None = None

    def checks(self, stack: Stack | None, tier: Tier = "burn-in") -> dict[str, CheckResult]:
        expect = expectation(CATALOG, "deb", self.shape)
        results = evaluate(self.observation, self.probe, stack, tier, expect)
        return {result.id: result for result in results}


def _healthy() -> dict[str, Any]:
    return json.loads((FOLDER / "healthy.json").read_text())  # type: ignore[no-any-return]


def stack() -> Stack:
    setting = _healthy()["stack"]
    toolkits = tuple(
        CudaToolkit(version, f"cuda-toolkit-{version.replace('.', '-')}")
        for version in setting["cuda"]
    )
    return Stack(
        family="deb",
        branch=setting["branch"],
        driver_version=setting["driver_version"],
        flavour=setting["flavour"],
        fabric=setting["fabric"],
        cuda=toolkits,
        cudnn=setting["cudnn"],
        services=tuple(setting["services"]),
        version_locked=CATALOG.driver.closure["deb"],
    )


def healthy(change: dict[str, Any] | None = None, shape: str | None = None) -> Host:
    """Give the healthy host with paths (``probe.nvml.gpus.1.persistence``) set to other values."""
    data = _healthy()
    # from behind, so that deleting a list's item does not move those still to be changed
    for path, value in sorted((change or {}).items(), reverse=True):
        _set(data, re.split(r"(?<!\\)\.", path), value)
    return Host(data["observation"], data["probe"], shape)


def _set(data: Any, path: list[str], value: Any) -> None:
    keys = [step.replace("\\.", ".") for step in path]
    for key in keys[:-1]:
        data = data[int(key)] if isinstance(data, list) else data[key]
    last = int(keys[-1]) if isinstance(data, list) else keys[-1]
    if value == "__delete__":
        del data[last]
    else:
        data[last] = copy.deepcopy(value)


def failures() -> list[dict[str, Any]]:
    """Give all failure cases: check, name, says, change, also (consequences), shape."""
    return json.loads((FOLDER / "failures.json").read_text())  # type: ignore[no-any-return]
