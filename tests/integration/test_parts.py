"""A part of the plan on a real host: chosen by tags, told with what files become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from stranger import Stranger

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus, StepStatus

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Fresh, Lab

pytestmark = pytest.mark.sandbox
RC, PROFILE = "/opt/conda/.condarc", "/etc/profile.d/gpuprep-conda.sh"
LOGIN = "https://me:unsayable@mirror.example/conda"


def test_a_host_is_prepared_part_by_part(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="debian-12")
    inventory = lab.inventory(
        name, variables={"gpuprep_components": ["conda"], "conda_channel_alias": LOGIN}
    )
    before = lab.state(name)
    told = gpuprep.plan(inventory, diff=True).hosts[name]
    assert before.differences(lab.state(name)) == set()
    shown = {diff.path: diff for diff in told.diffs}
    assert shown.keys() == {RC, PROFILE, "/opt/conda/conda-meta/gpuprep"}
    assert "unsayable" not in shown[RC].after
    assert shown[PROFILE].before == ""

    first = gpuprep.apply(inventory, tags=["install"])
    host = first.hosts[name]
    assert (host.state, host.error, first.exit_code) == (HostStatus.DRIFTED, None, ExitCode.OK)
    left = {step.target for step in host.steps if step.status is StepStatus.PLANNED}
    assert left == {RC, PROFILE}
    assert {done.op for done in host.operations} == {"conda_install", "files"}
    assert all(done.seconds is not None and done.seconds > 0 for done in host.operations)

    second = gpuprep.apply(inventory, tags=["configure", "verify"], diff=True)
    host = second.hosts[name]
    assert (host.state, {step.target for step in host.steps}) == (HostStatus.PREPARED, left)
    assert lab.run(name, "cat", PROFILE) == shown[PROFILE].after
    assert {diff.path: diff.after for diff in host.diffs} == {p: shown[p].after for p in left}
    assert gpuprep.plan(inventory).hosts[name].steps == ()


def test_a_role_alone_answers_for_what_its_tags_choose(
    lab: Lab, fresh: Fresh, tmp_path: Path
) -> None:
    name = fresh(image="debian-12")
    play = {"name": "Mine", "hosts": "all", "gather_facts": False, "roles": ["gpuprep.core.conda"]}
    site = tmp_path / "site.yml"
    site.write_text(yaml.safe_dump([play]))
    stranger = Stranger(lab, tmp_path)

    def tagged(*tags: str) -> tuple[int, str]:
        played = stranger.play(str(site), name, options=("--tags", ",".join(tags)))
        return played.code, played.text

    code, text = tagged("verify")
    assert (code, "conda.installation./opt/conda" in text) == (2, True), text
    code, text = tagged("install", "conda_verify")
    assert code == 0, text
    assert "conda.condarc" in tagged("conda_verify")[1]
    assert tagged("configure")[0] == 0
    code, text = tagged("verify")
    assert code == 0, text
