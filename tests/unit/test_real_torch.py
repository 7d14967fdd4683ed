"""The framework probe with PyTorch as published: what it holds is seen without a GPU. Gigabytes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from verify_cases import healthy, stack

from gpuprep.model import CheckStatus
from gpuprep.on_host.probe import frameworks

if TYPE_CHECKING:
    from pathlib import Path

    from gpuprep.model import CheckResult

pytestmark = pytest.mark.slow

TORCH, VISION, OTHER_VISION = "torch==2.14.1", "torchvision==0.29.1", "torchvision==0.20.1"
A10, V100 = "10de:2236", "10de:1db1"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    interpreter = folder / "bin" / "python"
    install(interpreter, TORCH, VISION)
    return interpreter


def install(python: Path, *what: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", *what], check=True)


def checks(probed: dict[str, Any], gpu: str) -> dict[str, CheckResult]:
    """Judge what was probed as if it were found on a host with this GPU."""
    vendor, device = gpu.split(":")
    pci = [{"slot": "0000:00:04.0", "vendor": vendor, "device": device, "pci_class": "030200"}]
    return healthy({"observation.pci": pci, "probe.frameworks": probed}).checks(stack())


@pytest.fixture(scope="module")
def probed(python: Path) -> dict[str, Any]:
    result: dict[str, Any] = frameworks.collect({"pythons": [str(python)], "conda_prefixes": ["/"]})
    return result


def test_pytorch_is_recognised_with_what_it_bundles(probed: dict[str, Any]) -> None:
    (env,) = probed["envs"]
    (found,) = env["frameworks"]
    assert found["framework"] == "torch"
    assert found["version"].startswith(TORCH.partition("==")[2])
    assert found["cuda"].startswith("13.")
    assert found["cudnn"] >= 90000
    assert {"sm_86", "sm_90"} <= set(found["architectures"])
    assert found["extensions"]["torchvision"] is None


def test_a_gpu_that_the_build_dropped_is_told(probed: dict[str, Any]) -> None:
    assert checks(probed, A10)["framework.arch"].status is CheckStatus.PASSED
    volta = checks(probed, V100)["framework.arch"]
    assert volta.status is CheckStatus.FAILED
    assert "no code for compute capability 7.0" in volta.detail


def test_where_no_gpu_can_be_used_no_kernel_is_claimed(probed: dict[str, Any]) -> None:
    kernel = checks(probed, A10)["framework.kernel"]
    assert (kernel.status, "sees no GPU" in kernel.detail) == (CheckStatus.FAILED, True)


def test_extensions_of_another_build_are_told(python: Path, probed: dict[str, Any]) -> None:
    assert checks(probed, A10)["framework.extensions"].status is CheckStatus.PASSED
    install(python, "--no-deps", OTHER_VISION)
    again = frameworks.collect({"pythons": [str(python)], "conda_prefixes": ["/"]})
    broken = checks(again, A10)["framework.extensions"]
    assert broken.status is CheckStatus.FAILED
    assert "torchvision::nms" in broken.detail
