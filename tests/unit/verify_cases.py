"""Evidence for the ladder's tests: one healthy host, and what to change for each failure."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuprep.catalog import load
from gpuprep.ladder.evaluate import evaluate
from gpuprep.ladder.expect import expectation
from gpuprep.model import CheckResult, CudaToolkit, Family, Stack, Tier
from gpuprep.observe import HostObservation, read

FOLDER = Path(__file__).parents[1] / "fixtures" / "verify"
CATALOG = load()


@dataclass(frozen=True, slots=True)
class Host:
    observation: dict[str, Any]
    probe: dict[str, Any]
    shape: str | None = None

    def read(self) -> HostObservation:
        """Give the observation as the host's text reads."""
        return read(json.dumps({**self.observation, "probe": self.probe}))

    def checks(self, stack: Stack | None, tier: str = "burn-in") -> dict[str, CheckResult]:
        expect = expectation(CATALOG, Family.DEB, self.shape)
        results = evaluate(self.read(), stack, Tier(tier), expect)
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
        family=Family.DEB,
        branch=setting["branch"],
        driver_version=setting["driver_version"],
        flavour=setting["flavour"],
        fabric=setting["fabric"],
        cuda=toolkits,
        cudnn=setting["cudnn"],
        services=tuple(setting["services"]),
        version_locked=CATALOG.driver.closure[Family.DEB],
    )


def healthy(change: dict[str, Any] | None = None, shape: str | None = None) -> Host:
    """Give the healthy host with paths (``probe.nvml.gpus.1.persistence``) set to other values."""
    data = _healthy()
    # from behind, so that deleting a list's item does not move those still to be changed
    for path, value in sorted((change or {}).items(), reverse=True):
        _set(data, re.split(r"(?<!\\)\.", path), value)
    return Host(data["observation"], data["probe"], shape)


def least(probe: dict[str, Any]) -> Host:
    """Give a host that says no more than it must."""
    names = ("schema", "uid", "os", "arch", "kernel", "package_manager")
    data = _healthy()["observation"]
    return Host({name: data[name] for name in names}, probe)


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
