"""``--tags`` and ``--skip-tags``: what Ansible runs of the roles, and what a run answers for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest
import yaml
from ansible.playbook.taggable import Taggable
from hypothesis import given
from hypothesis import strategies as st
from planner_cases import bare, observed

from gpuprep.catalog import load
from gpuprep.components import ROLES
from gpuprep.errors import ConfigError, ExitCode
from gpuprep.fleet.tags import Tags, known, tags_of
from gpuprep.layout import collection_root
from gpuprep.model import HostStatus, Phase, StepStatus
from gpuprep.planner import plan_host, settings_from
from gpuprep.planner.plan import phase_of_stage

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_rig import Rig

HOST = {"rig_roles": ["gpu_driver", "conda"], "rig_configure": True}
WORDS = [*known(), "all", "tagged", "untagged", "always", "never", "another"]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return fleet_rig.make(tmp_path, monkeypatch, "runs")


def made(rig: Rig, name: str = "a") -> set[str]:
    """What the roles brought about on a host."""
    found = (path.name for path in rig.folder.iterdir())
    return {
        name_ for name_ in found if name_.startswith(("done-", "configured-")) and name in name_
    }


class Task(Taggable):  # type: ignore[misc]  # without types
    def __init__(self, tags: frozenset[str]) -> None:
        self.tags = sorted(tags)
        self._loader = None
        self._parent = None

    def get_play(self) -> None:
        return None


@given(
    run=st.sets(st.sampled_from(WORDS), min_size=1),
    skip=st.sets(st.sampled_from(WORDS)),
    role=st.sampled_from(ROLES),
    phase=st.sampled_from(Phase),
)
def test_a_phase_is_chosen_where_ansible_runs_its_tasks(
    run: set[str], skip: set[str], role: str, phase: Phase
) -> None:
    chosen = Tags(frozenset(run), frozenset(skip)).choose(role, phase)
    assert chosen is bool(Task(tags_of(role, phase)).evaluate_tags(run, skip, {}))


@pytest.mark.parametrize("role", ROLES)
def test_tasks_have_the_tags_of_their_stages_phase(role: str) -> None:
    tasks = yaml.safe_load((collection_root() / f"roles/{role}/tasks/main.yml").read_text())
    converging = [task for task in tasks if "gpuprep.core.converge" in task]
    assert converging
    for task in converging:
        phase = phase_of_stage(task["gpuprep.core.converge"]["stage"])
        assert set(task["tags"]) == tags_of(role, phase)


def test_every_step_of_a_bare_host_belongs_to_the_phase_of_its_operations() -> None:
    plan = plan_host(observed(bare()), settings_from({}), load())
    phases = {step.id: part.phase_of(step) for part in plan.roles.values() for step in part.steps}
    assert phases["gpu_driver.package.nvidia-open-580"] is Phase.INSTALL
    assert phases["gpu_driver.unit.nvidia-persistenced"] is Phase.CONFIGURE
    assert phases["cuda_toolkit.alternative.cuda"] is Phase.CONFIGURE
    assert phases["cuda_toolkit.profile./etc/profile.d/gpuprep-cuda.sh"] is Phase.INSTALL
    assert phases["conda.installation./opt/conda"] is Phase.INSTALL
    assert phases["conda.marker./opt/conda/conda-meta/gpuprep"] is Phase.INSTALL
    assert phases["conda.profile./etc/profile.d/gpuprep-conda.sh"] is Phase.CONFIGURE


@pytest.mark.parametrize(
    ("tags", "skip", "expected"),
    [
        (["install"], [], {"done-a-gpu_driver", "done-a-conda"}),
        (["conda_configure"], [], {"configured-a-conda"}),
        (["gpu_driver_install,conda_configure"], [], {"done-a-gpu_driver", "configured-a-conda"}),
        ([], ["configure", "gpu_driver_install"], {"done-a-conda"}),
    ],
)
def test_what_is_chosen_is_carried_out_and_the_rest_is_left(
    rig: Rig, tags: list[str], skip: list[str], expected: set[str]
) -> None:
    result = rig.run("apply", {"a": HOST}, tags=tags, skip_tags=skip)
    assert made(rig) == expected
    host = result.hosts["a"]
    assert (host.state, host.changed, host.error) == (HostStatus.DRIFTED, True, None)
    assert result.exit_code is ExitCode.OK
    left = [step.id for step in host.steps if step.status is StepStatus.PLANNED]
    assert len(left) == 4 - len(expected)
    assert {step.status for step in host.steps} == {StepStatus.PLANNED, StepStatus.DONE}
    assert f"leave {len(left)} step" in result.warnings[0]


def test_the_rest_is_carried_out_by_the_run_that_follows(rig: Rig) -> None:
    rig.run("apply", {"a": HOST}, tags=["install"])
    result = rig.run("apply", {"a": HOST}, tags=["configure"])
    assert (result.hosts["a"].state, len(made(rig))) == (HostStatus.PREPARED, 4)
    assert result.warnings == ()


def test_hosts_for_which_the_tags_have_nothing_are_left_alone(rig: Rig) -> None:
    (rig.folder / "done-a-conda").touch()
    host = {"rig_roles": ["conda"], "rig_configure": True}
    result = rig.run("apply", {"a": host}, tags=["install"])
    assert rig.log() == ["observe a"]
    found = result.hosts["a"]
    assert (found.state, found.changed, found.error) == (HostStatus.DRIFTED, False, None)
    assert result.exit_code is ExitCode.OK


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_prediction_names_what_the_tags_choose(rig: Rig, verb: str) -> None:
    options: dict[str, Any] = {"check": True} if verb == "apply" else {}
    result = rig.run(verb, {"a": HOST}, tags=["conda_install"], **options)
    assert [step.id for step in result.hosts["a"].steps] == ["conda"]
    assert made(rig) == set()
    assert "the tags leave 3 steps of 1 host to another run" in result.warnings


def test_a_run_that_only_verifies_answers_for_all_that_differs(rig: Rig) -> None:
    result = rig.run("apply", {"a": HOST}, tags=["verify"])
    assert made(rig) == set()
    assert {step.status for step in result.hosts["a"].steps} == {StepStatus.FAILED}
    assert result.exit_code is ExitCode.NOT_PROVEN


def test_plain_ansible_playbook_takes_the_same_tags(rig: Rig) -> None:
    played = rig.play("apply", {"a": HOST, "b": {"rig_fault": "odd"}}, "--tags", "conda_install")
    assert made(rig) == {"done-a-conda"}
    assert played.recap["a"]["failed"] == 0, played.text
    assert played.recap["b"]["failed"] == 1
    assert played.code == 2
    (rig.folder / "log").unlink()
    assert rig.play("apply", {"a": HOST}, "--skip-tags", "install").code == 0
    assert made(rig) == {"done-a-conda", "configured-a-conda", "configured-a-gpu_driver"}
    assert rig.log("lease") == ["lease present a", "lease absent a"]


def test_tags_of_ansibles_own_configuration_change_no_run_of_ours(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_RUN_TAGS", "nothing")
    monkeypatch.setenv("ANSIBLE_SKIP_TAGS", "install")
    result = rig.run("apply", {"a": HOST}, tags=["conda_install"])
    assert (made(rig), result.exit_code) == ({"done-a-conda"}, ExitCode.OK)
    result = rig.run("apply", {"a": HOST})
    assert (result.hosts["a"].state, len(made(rig))) == (HostStatus.PREPARED, 4)


def test_a_role_that_fails_under_tags_fails_its_host(rig: Rig) -> None:
    result = rig.run("apply", {"a": {**HOST, "rig_fail": "conda"}}, tags=["install"])
    assert result.hosts["a"].state is HostStatus.FAILED
    assert result.exit_code is ExitCode.ALL_HOSTS_FAILED


@pytest.mark.parametrize(
    ("verb", "tags", "told"),
    [
        ("apply", ["instal"], "did you mean install?"),
        ("apply", ["install,nonsense"], "there are install, configure, verify, gpu_driver_install"),
        ("status", ["install"], "are for plan and apply"),
        ("apply", [""], "no task has the tag ''"),
    ],
)
def test_tags_that_mean_nothing_are_refused(
    rig: Rig, verb: str, tags: list[str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        rig.run(verb, {"a": HOST}, tags=tags)
    assert rig.log() == []
