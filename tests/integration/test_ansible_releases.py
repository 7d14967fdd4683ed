"""Every supported ansible-core that this machine can run takes a bare host all the way."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tools import releases

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Fresh, Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


@pytest.mark.parametrize("release", releases.supported())
def test_a_release_prepares_a_host(release: str, fresh: Fresh, lab: Lab, tmp_path: Path) -> None:
    programs = releases.place(release) / "bin"
    if not (programs / "gpuprep").exists():
        pytest.skip(
            f"no environment with ansible-core {release}; python -m tools.releases says why"
        )
    name = fresh(gpus=["10de:2236"], shape="VM.GPU.A10.1")
    inventory = str(lab.inventory(name))

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(programs / program), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    environment = {"PATH": f"{programs}:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(tmp_path)}
    assert f"[core {release}." in run("ansible", "--version").stdout

    def host(*options: str) -> dict[str, Any]:
        done = run("gpuprep", "apply", "-i", inventory, "--output", "json", *options)
        found: dict[str, Any] = json.loads(done.stdout)["hosts"][name]
        return found

    part = host("--tags", "install", "--diff")
    assert part["error"] is None
    assert (part["state"], part["changed"]) == ("drifted", True)
    assert {step["status"] for step in part["steps"]} == {"done", "planned"}
    assert "/etc/profile.d/gpuprep-cuda.sh" in {diff["path"] for diff in part["diffs"]}
    assert all(done["seconds"] is not None for done in part["operations"])
    rest = host()
    assert rest["error"] is None
    assert (rest["state"], rest["changed"]) == ("prepared", True)
    assert host()["changed"] is False
    found = run("gpuprep", "env").stdout.strip().removeprefix("export ").partition("=")
    environment[found[0]] = found[2].strip("'")
    plain = run("ansible-playbook", "-i", inventory, "gpuprep.core.status")
    assert plain.returncode == 0, plain.stdout + plain.stderr
    assert "DEPRECATION" not in plain.stdout + plain.stderr
