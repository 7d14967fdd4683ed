"""Roles: inputs said once, no decisions in YAML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from repository import ROOT, tracked

from gpuprep.catalog.rules import host_rules
from gpuprep.components import COMPONENTS
from gpuprep.planner.settings import all_options, fleet_options, unknown_variables
from sandbox.el.systems import SYSTEMS as ENTERPRISE
from sandbox.images import SUITES
from sandbox.ubuntu.systems import SYSTEMS as UBUNTU

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuprep.components.base import Component

ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/meta"))
CONTENT = tracked("roles/*.yml", "playbooks/*.yml")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: Path) -> dict[str, Any]:
    loaded = load(role / "meta/argument_specs.yml")
    found: dict[str, Any] = loaded["argument_specs"]["main"]["options"]
    return found


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from mappings(value)


def test_there_are_roles() -> None:
    known = {"conda", "cuda_toolkit", "cudnn", "faceswap", "gpu_driver"}
    assert {role.name for role in ROLES} == known


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_platforms_of_a_role_are_the_systems_that_are_proven(role: Path) -> None:
    told = {
        (platform["name"], version)
        for platform in load(role / "meta/main.yml")["galaxy_info"]["platforms"]
        for version in platform["versions"]
    }
    ubuntu = {name: ("Ubuntu", system.codename) for name, system in UBUNTU.items()}
    debian = {name: ("Debian", suite) for name, suite in SUITES.items()}
    enterprise = {name: ("EL", name.rpartition("-")[2]) for name in ENTERPRISE}
    releases = debian | ubuntu | enterprise
    assert told == {releases[name] for name in host_rules().proven_systems}


def test_proven_systems_are_those_that_the_sandbox_has_hosts_of() -> None:
    proven = set(host_rules().proven_systems)
    assert set(SUITES) <= proven <= set(SUITES) | set(UBUNTU) | set(ENTERPRISE)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_equal_the_argument_specification(role: Path) -> None:
    specified = {
        name: option["default"] for name, option in options(role).items() if "default" in option
    }
    assert load(role / "defaults/main.yml") == specified


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_input_has_default_type_and_description(role: Path) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role.name}_")
        assert {"default", "type", "description"} <= option.keys(), name


def test_every_fleet_variable_has_default_type_and_description() -> None:
    for name, option in fleet_options().items():
        assert name.startswith("gpuprep_")
        assert {"default", "type", "description"} <= option.keys(), name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_has_its_parts(role: Path) -> None:
    for part in ("README.md", "defaults/main.yml", "meta/main.yml", "tasks/main.yml"):
        assert (role / part).is_file(), part


@pytest.mark.parametrize("path", CONTENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_failure_is_hidden(path: Path) -> None:
    for mapping in mappings(load(path)):
        assert "ignore_errors" not in mapping
        assert "ignore_unreachable" not in mapping
        assert mapping.get("failed_when") is not False


@pytest.mark.parametrize("path", CONTENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_task_asks_for_the_distribution(path: Path) -> None:
    """Which system it is, is the catalog's and the planner's business."""
    asked = r"ansible_distribution|distribution\w* *[=!]=|os_family|ansible_facts"
    assert not re.search(asked, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CONTENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_generic_or_looped_package_task(path: Path) -> None:
    for mapping in mappings(load(path)):
        assert "ansible.builtin.package" not in mapping
        if "ansible.builtin.apt" in mapping:
            assert not {"loop", "with_items"} & mapping.keys()


@pytest.mark.parametrize("path", CONTENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_says_whether_it_changes(path: Path) -> None:
    for mapping in mappings(load(path)):
        if {"ansible.builtin.command", "ansible.builtin.shell"} & mapping.keys():
            assert "changed_when" in mapping, mapping.get("name")


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.role)
def test_a_role_leaves_the_facts_that_its_component_names(component: Component) -> None:
    tasks = load(ROOT / "roles" / component.role / "tasks/main.yml")
    left = {name for m in mappings(tasks) for name in m.get("ansible.builtin.set_fact", ())}
    assert left == set(component.exports)
    assert unknown_variables(left) == {}


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.role)
def test_outputs_are_documented_and_no_inputs(component: Component) -> None:
    """A fact named like an input would become the setting of the run that follows."""
    text = (ROOT / "roles" / component.role / "README.md").read_text(encoding="utf-8")
    assert set(component.exports).isdisjoint(all_options())
    for name in component.exports:
        assert f"- `{name}`: " in text


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_at_most_four_tasks_reach_the_host_and_all_have_a_tag(role: Path) -> None:
    tasks = load(role / "tasks/main.yml")
    converge = [task["gpuprep.core.converge"] for task in tasks if "gpuprep.core.converge" in task]
    stages = [arguments["stage"] for arguments in converge]
    assert 0 < len(stages) == len(set(stages)) <= 4
    for task in tasks:
        assert task["tags"]
        for phase in ("install", "configure", "verify"):
            assert (phase in task["tags"]) == (f"{role.name}_{phase}" in task["tags"])
        local = {"ansible.builtin.debug", "ansible.builtin.set_fact"}
        assert {"gpuprep.core.converge", "gpuprep.core.role_plan", *local} & task.keys()
