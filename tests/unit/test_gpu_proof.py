"""The proof of a GPU: one file that runs anywhere, evidence judged elsewhere, a report kept."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from verify_cases import healthy

from gpuprep.report.formats import validate
from tools import gpu_proof

if TYPE_CHECKING:
    from pathlib import Path


def evidence(change: dict[str, Any] | None = None) -> dict[str, Any]:
    host = healthy(change)
    return {**host.observation, "probe": host.probe, "seconds": 0.1}


def test_script_needs_nothing_and_its_answer_is_judged(tmp_path: Path) -> None:
    script = tmp_path / "gpu-proof.py"
    assert gpu_proof.main(["--tier", "quick", "--script", str(script)]) == 0
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-I", str(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={},
    )
    answer = tmp_path / "evidence.json"
    answer.write_text(done.stdout)
    code = gpu_proof.main(["--evidence", str(answer), "--folder", str(tmp_path / "proof")])
    assert code in {0, 5}  # this machine may have a GPU
    (kept,) = (tmp_path / "proof").glob("*.json")
    validate(json.loads(kept.read_text()))
    assert kept.with_suffix(".html").exists()


def test_healthy_evidence_is_kept_as_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = tmp_path / "evidence.json"
    answer.write_text(json.dumps(evidence()))
    assert gpu_proof.main(["--evidence", str(answer), "--folder", str(tmp_path)]) == 0
    (kept,) = tmp_path.glob("2x-nvidia-h100-80gb-hbm3-*.json")
    report = json.loads(kept.read_text())
    (host,) = report["hosts"].values()
    assert host["state"] == "ready"
    assert report["evidence"]["probe"]["burn"]["gpus"][0]["matrix"]["tflops"] == 700
    assert "kernel.runs" in capsys.readouterr().out


def test_broken_gpu_is_no_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = tmp_path / "evidence.json"
    answer.write_text(json.dumps(evidence({"probe.programs.gpus.0.gemm.bf16.wrong_rows": 1})))
    assert gpu_proof.main(["--evidence", str(answer), "--folder", str(tmp_path)]) == 5
    assert "failed  gemm.correct" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "Traceback", json.dumps({"schema": 1})])
def test_other_texts_are_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = tmp_path / "evidence.json"
    answer.write_text(text)
    assert gpu_proof.main(["--evidence", str(answer), "--folder", str(tmp_path)]) == 64
    assert capsys.readouterr().err.startswith("gpu-proof: ")
