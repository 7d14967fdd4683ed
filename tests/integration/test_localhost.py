"""`gpuprep apply localhost`: a host prepares itself, with the wheel and nothing else from here."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox import hosts
from sandbox.podman import podman

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Fresh, Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

PLACE = "/opt/gpuprep"


def carry_to(name: str, wheel: Path, folder: Path) -> None:
    """Put gpuprep and what it needs onto a host, for the Python that Debian 12 has."""
    options = ["--quiet", "--python-version", "3.11", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True)
    podman("cp", f"{folder}/.", f"{hosts.find(name).container}:{PLACE}")


def test_a_host_prepares_itself(lab: Lab, fresh: Fresh, wheel: Path, tmp_path: Path) -> None:
    name = fresh(gpus=["10de:2236"], shape="VM.GPU.A10.1")
    carry_to(name, wheel, tmp_path)
    command = [sys.executable, "-m", "ansible", "inventory", "-i", str(lab.inventory(name))]
    given = json.loads(
        subprocess.run([*command, "--host", name], check=True, capture_output=True).stdout
    )
    settings = {key: value for key, value in given.items() if not key.startswith("ansible_")}
    lab.run(name, "tee", "/root/settings.json", stdin=json.dumps(settings))
    itself = (
        f"cd /root; PYTHONPATH={PLACE} python3 -m gpuprep apply localhost -e @settings.json -o json"
    )
    first = json.loads(lab.sh(name, itself))
    host = first["hosts"]["localhost"]
    assert (host["state"], host["error"], host["changed"]) == ("prepared", None, True)
    assert lab.look(name).state == "converged"  # as seen from outside
    again = json.loads(lab.sh(name, itself))
    assert (again["exit_code"], again["hosts"]["localhost"]["changed"]) == (0, False)
