"""`ansible-playbook gpuprep.core.apply` does the same job as the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from lab import FirstRun, Fresh, Lab, Restore, ids
from stranger import Stranger

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sandbox


@pytest.fixture
def stranger(lab: Lab, tmp_path: Path) -> Stranger:
    return Stranger(lab, tmp_path)


def test_apply_prepares_a_bare_host_and_then_finds_nothing_to_do(
    lab: Lab, fresh: Fresh, stranger: Stranger
) -> None:
    name = fresh(gpus=["10de:1db1"], image="debian-13")
    settings = ("-e", '{"gpuprep_components": ["driver"]}')
    first = stranger.play("gpuprep.core.apply", name, options=settings)
    assert first.code == 0, first.text
    assert first.stats["changed"] > 0
    assert lab.look(name, gpuprep_components=["driver"]).state == "converged"
    second = stranger.play("gpuprep.core.apply", name, options=settings)
    assert (second.code, second.stats["changed"], second.stats["ok"]) == (0, 0, 2), second.text


def test_check_mode_shows_the_steps_of_the_plan(
    first_run: FirstRun, lab: Lab, fresh: Fresh, stranger: Stranger
) -> None:
    name = fresh(gpus=["10de:2236"], shape="VM.GPU.A10.1")
    before = lab.state(name)
    played = stranger.play("gpuprep.core.apply", name, options=("--check", "--diff"))
    assert played.code == 0, played.text
    named = {one for one in ids(first_run.applied, "t-a10") if "environment" not in one}
    files = {one.partition(".")[2].partition(".")[2] for one in named if "/" in one}
    untold = {one for one in named if f"{one}: " not in played.text}
    assert {one for one in untold if not one.endswith(tuple(files))} == set()
    for path in files - {"/opt/conda"}:  # told with what they would hold
        assert f"+++ after: {path}" in played.text
    assert before.differences(lab.state(name)) == set()


def test_a_refused_host_fails_with_its_reason(restore: Restore, stranger: Stranger) -> None:
    restore("t-v100")
    played = stranger.play("gpuprep.core.apply", "t-v100", "t-runfile")
    assert played.code == 2
    assert "E_RUNFILE_PRESENT" in played.text
    assert "failed=1" in played.text


def test_plan_touches_nothing_and_tells_what_would_be_done(
    lab: Lab, restore: Restore, stranger: Stranger
) -> None:
    restore("t-a10")
    lab.sh("t-a10", "apt-mark unhold libcuda1")
    played = stranger.play("gpuprep.core.plan", "t-a10")
    assert played.code == 0, played.text
    assert "t-a10: 1 step to do; driver 580 open, cuda 13.0, cudnn 9, conda" in played.text
    assert "  ~ gpu_driver: set hold packages: not held: libcuda1" in played.text
    assert "libcuda1" not in lab.run("t-a10", "apt-mark", "showhold")


def test_a_home_with_a_long_name_costs_time_and_nothing_else(
    lab: Lab, restore: Restore, stranger: Stranger, tmp_path: Path
) -> None:
    restore("t-a10")
    lab.sh("t-a10", "apt-mark unhold libcuda1")
    home = {
        "HOME": str(tmp_path / ("long" * 20)),
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s",
    }
    played = stranger.play("gpuprep.core.apply", "t-a10", environ=home)
    assert played.code == 0, played.text
    assert (played.stats["changed"], played.stats["unreachable"]) == (1, 0)
    assert "libcuda1" in lab.run("t-a10", "apt-mark", "showhold")
    told = " ".join(played.text.split())
    assert "too long a path for ssh's sockets" in told
    assert "set ANSIBLE_SSH_CONTROL_PATH_DIR to a shorter one" in told


def test_verify_tells_the_state_and_how_the_checks_went(
    restore: Restore, stranger: Stranger
) -> None:
    restore("t-a10")
    played = stranger.play("gpuprep.core.verify", "t-a10")
    assert played.code == 0, played.text
    assert re.search(
        r"t-a10: prepared; ladder: \d+ passed, \d+ not tried \(.*0 failed", played.text
    )
