"""Oracle's SDK is an extra: without it all works but asking a tenancy, and that names the cure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BLOCKED = """
import sys
sys.modules["oci"] = None
import gpuprep.cli
raise SystemExit(gpuprep.cli.run(sys.argv[1:]))
"""


def without_sdk(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments],
        env={**os.environ, "HOME": str(home), "OCI_CONFIG_FILE": str(home / "config")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nobody_gets_the_sdk_unasked() -> None:
    assert not [name for name in PROJECT["dependencies"] if name.startswith("oci")]
    (extra,) = PROJECT["optional-dependencies"]["oci"]
    assert extra.startswith("oci>=")


def test_what_asks_no_tenancy_works_without(tmp_path: Path) -> None:
    done = without_sdk("explain", "VM.GPU.A10.1", "--os", "debian-12", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_doctor_says_what_to_install_where(form: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[DEFAULT]\nregion = eu-frankfurt-1\n")
    done = without_sdk("inventory", "doctor", "--output", form, home=tmp_path)
    assert done.returncode != 0
    told = done.stdout
    if form == "json":
        told = next(one for one in json.loads(told)["findings"] if one["step"] == "sdk")["detail"]
    assert f"{sys.executable} -m pip install oci" in told
    assert "[oci]" in told
