"""What roles of one run do for one another: packages together, the installer meanwhile.

What that saves is counted here in runs of the package manager's solver, which no load changes.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from converge_rig import Commands
from planner_cases import bare, carried_out, observed

from gpuprep.catalog import load
from gpuprep.fleet.handover import parts
from gpuprep.fleet.tags import Tags
from gpuprep.on_host.converge import ahead, base, deb, files, job, packages
from gpuprep.planner import HostPlan, plan_host, settings_from

PACKAGES = ("gpu_driver", "cuda_toolkit", "cudnn")


def plan(**variables: Any) -> HostPlan:
    return plan_host(observed(bare()), settings_from(variables), load())


def handed(made: HostPlan, tags: Tags = Tags()) -> dict[str, Any]:  # noqa: B008 - frozen
    return parts(made, tags.roles(made), tags)


def operations(part: Any, name: str, stage: str = "packages") -> list[Any]:
    return [one for one in part["operations"].get(stage, ()) if one["op"] == name]


def alone(made: HostPlan) -> dict[str, Any]:
    return {role: part.to_dict() for role, part in made.roles.items()}


def test_the_first_role_installs_the_packages_of_all() -> None:
    made = plan()
    found, own = handed(made), alone(made)
    together = {
        package["name"] for package in operations(found["gpu_driver"], "packages")[-1]["together"]
    }
    later = {
        package["name"]
        for role in ("cuda_toolkit", "cudnn")
        for package in operations(own[role], "packages")[-1]["install"]
    }
    assert together == later
    assert later
    # What the later roles do is what they would do alone.
    assert {role: found[role] for role in ("cuda_toolkit", "cudnn")} == {
        role: own[role] for role in ("cuda_toolkit", "cudnn")
    }


def test_pins_take_nothing_along() -> None:
    pins, main = operations(handed(plan())["gpu_driver"], "packages")
    assert "together" not in pins
    assert "together" in main


def test_the_installer_runs_beside_the_packages_and_is_known_again() -> None:
    made = plan()
    found = handed(made)
    (begun,) = operations(found["gpu_driver"], "ahead")
    assert found["gpu_driver"]["operations"]["packages"][0] is begun
    asked = {"role": "conda", "stage": "install", "family": "deb"}
    own = asked | {"operations": found["conda"]["operations"]["install"]}
    assert begun["request"] == own
    assert ahead.number_of(own)
    # What another run asks for is the same step, by another number.
    other = asked | {"operations": handed(made)["conda"]["operations"]["install"]}
    assert ahead.number_of(other) != ahead.number_of(own)
    assert job.digest_of(other) == job.digest_of(own)
    first = found["gpu_driver"] | {"stage": "packages"}
    without = copy.deepcopy(first)
    request = {**first, "operations": first["operations"]["packages"]}
    bare_request = {**without, "operations": without["operations"]["packages"][1:]}
    assert job.digest_of(request) == job.digest_of(bare_request)


@pytest.mark.parametrize("left_out", ["cuda_toolkit", "cudnn", "conda", "gpu_driver"])
def test_what_the_run_leaves_out_no_other_role_does(left_out: str) -> None:
    made = plan()
    found = handed(made, Tags(skip=frozenset({f"{left_out}_install"})))
    told = json.dumps(found["gpu_driver"]["operations"])
    marks = {"cuda_toolkit": '"cuda-toolkit', "cudnn": '"libcudnn', "conda": '"ahead"'}
    for role, mark in marks.items():
        assert (mark in told) is (left_out not in {role, "gpu_driver"}), role
    if left_out == "gpu_driver":  # then the next one is first
        assert operations(found["cuda_toolkit"], "packages")[-1]["together"]
        assert operations(found["cuda_toolkit"], "ahead")


def test_one_role_alone_and_a_host_without_packages_to_install_are_as_planned() -> None:
    for names in (["conda"], ["driver"], ["cudnn"]):
        made = plan(gpuprep_components=names)
        assert handed(made) == alone(made)
    seen = carried_out(bare(), plan())
    del seen["files"]["/etc/profile.d/gpuprep-conda.sh"]
    made = plan_host(observed(seen), settings_from({}), load())
    assert made.steps
    assert handed(made) == alone(made)


def test_a_transaction_that_removes_stays_by_itself() -> None:
    made = plan()
    part = made.roles["cudnn"]
    removing = replace(part, state=replace(part.state, remove=("libcudnn8",)))
    made = replace(made, roles={**made.roles, "cudnn": removing})
    (main,) = operations(handed(made)["gpu_driver"], "packages")[-1:]
    names = {package["name"] for package in main["together"]}
    assert any(name.startswith("cuda-toolkit") for name in names)
    assert not any("cudnn" in name for name in names)


# --- the package manager's runs -------------------------------------------------------------------


class Apt(Commands):
    """Stands for apt and dpkg of a bare host: what is installed is there from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, str] = {}

    def __call__(self, argv: list[str], environment: Any = None, **more: Any) -> Any:
        super().__call__(argv, environment, **more)
        if argv[:2] == ["apt-get", "install"]:
            words = [word.partition("=") for word in argv[argv.index("--") + 1 :]]
            new = {name: "580-1" for name, _, _ in words if name not in self.there}
            if "-s" in argv:
                lines = "".join(f"Inst {name} (1 repo)\n" for name in new)
                return base.Outcome(0, lines, "")
            self.there |= new
        if argv[0] == "dpkg-query":
            fields = argv[-1].count("\\t")
            rows = (
                [name, "amd64", "installed", version][: fields + 1]
                for name, version in self.there.items()
            )
            return base.Outcome(0, "".join("\t".join(row) + "\n" for row in rows), "")
        return base.Outcome(0, "", "")

    @property
    def solved(self) -> list[str]:
        return [line for line in self.lines if line.startswith("apt-get install")]


def carried_out_by(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Apt:
    """Carry out the packages of all roles, one after the other, on a host that is pretended."""
    apt = Apt()
    monkeypatch.setattr(deb, "command", apt)
    monkeypatch.setattr(packages, "wait_for_locks", lambda _: None)
    monkeypatch.setattr(files, "keep_replaced", lambda: None)
    context = base.Context("deb", 1, check=False)
    for part in found.values():
        for operation in operations(part, "packages"):
            packages.packages(operation, context)
    return apt


def test_a_first_install_takes_two_transactions_and_looks_at_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = plan()
    apt = carried_out_by(handed(made), monkeypatch)
    simulated = [line for line in apt.solved if " -s " in line]
    assert len(apt.solved) - len(simulated) == 2  # the pins, and everything else
    assert len(simulated) == 2  # the first one also tells whether what comes after is offered
    every = {
        package["name"]
        for part in alone(made).values()
        for one in operations(part, "packages")
        for package in one["install"]
    }
    assert set(apt.there) == every
    one_by_one = carried_out_by(alone(made), monkeypatch)
    assert set(one_by_one.there) == every
    assert len(one_by_one.solved) > len(apt.solved) + 3
