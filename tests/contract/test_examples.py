"""What people copy: read by the schemas, parsers and programs that will read it."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from repository import ROOT, tracked
from test_docs import parse

from gpuprep.planner.settings import all_options
from gpuprep.report.formats import render
from tools.survey import ASKED

BIN = Path(sys.executable).parent
EXAMPLES = ROOT / "docs/examples"
AWX = ROOT / "docs/awx"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where a line of a pipeline, a boot script or a unit calls the command line.
CALL = re.compile(
    r"(?<![\w/.-])(?:/opt/gpuprep/bin/|\.gpuprep/bin/)?gpuprep (plan|apply|verify|report) (.*)"
)


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- pipelines, boot, timers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "name"),
    [("github-workflows", "github-actions.yml"), ("gitlab-ci", "gitlab-ci.yml")],
)
def test_a_pipeline_fits_its_schema(schema: str, name: str) -> None:
    run(str(BIN / "check-jsonschema"), "--builtin-schema", f"vendor.{schema}", str(EXAMPLES / name))


def calls() -> list[tuple[str, str, str]]:
    return [
        (path.name, verb, rest.split(" >>")[0].replace("$CI_JOB_NAME", "plan"))
        for path in tracked("docs/examples/*")
        for verb, rest in CALL.findall(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("name", "verb", "rest"), calls())
def test_every_call_of_gpuprep_is_one(name: str, verb: str, rest: str) -> None:
    assert name
    parse([verb, *shlex.split(rest)])


def test_the_calls_are_found() -> None:
    assert {name for name, _, _ in calls()} == {
        *("github-actions.yml", "gitlab-ci.yml", "cloud-init.yml", "gpuprep-verify.service"),
    }


def test_cloud_init_knows_its_own_file() -> None:
    text = (EXAMPLES / "cloud-init.yml").read_text()
    assert text.startswith("#cloud-config\n")
    for command in yaml.safe_load(text)["runcmd"]:
        words = command if isinstance(command, list) else shlex.split(command)
        assert all(isinstance(word, str) for word in words)


def test_packer_can_read_the_template() -> None:
    text = (EXAMPLES / "packer.pkr.hcl").read_text()
    names = [name.strip('"') for entry in hcl2.loads(text)["variable"] for name in entry]
    assert names
    assert set(names) == set(re.findall(r"\bvar\.(\w+)", text))


@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for path in EXAMPLES.glob("gpuprep-verify.*"):
        text = path.read_text().replace("/opt/gpuprep/bin/gpuprep", "/bin/true")
        (tmp_path / path.name).write_text(text)
    done = run("systemd-analyze", "verify", *map(str, tmp_path.iterdir()))
    assert str(tmp_path) not in done.stderr


def test_the_unit_counts_hosts_that_are_not_ready_as_done() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(EXAMPLES / "gpuprep-verify.service")
    assert unit["Service"]["SuccessExitStatus"].split() == ["3", "4", "5"]


def test_alerts_ask_for_metrics_that_there_are() -> None:
    host = {
        "name": "a",
        "state": "ready",
        "checks": [{"id": "driver.loaded", "status": "failed", "detail": ""}],
        "versions": {"driver": "580"},
    }
    result = {
        "schema": 1,
        "verb": "verify",
        "started": "2026-01-01T00:00:00Z",
        "hosts": {"a": host},
    }
    there = set(re.findall(r"^(gpuprep_\w+)", render(result, "prometheus"), re.MULTILINE))
    rules = [rule for group in load(EXAMPLES / "alerts.yml")["groups"] for rule in group["rules"]]
    asked = [set(re.findall(r"gpuprep_\w+", rule["expr"])) for rule in rules]
    assert all(asked)
    assert set().union(*asked) <= there
    page = (ROOT / "docs/automation.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(gpuprep_\w+)`", page)) == there


# --- execution environment, AWX ----------------------------------------------------------------


def test_an_execution_environment_with_the_collection_gets_the_sdk(tmp_path: Path) -> None:
    place = tmp_path / "ansible_collections/gpuprep/core"
    place.mkdir(parents=True)
    (place / "meta").symlink_to(ROOT / "meta")
    (place / "galaxy.yml").symlink_to(ROOT / "galaxy.yml")
    found = yaml.safe_load(run(str(BIN / "ansible-builder"), "introspect", str(tmp_path)).stdout)
    (wanted,) = [one.split("  #")[0] for one in found["python"]]
    assert [wanted] == PROJECT["optional-dependencies"]["oci"]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ansible-builder makes of the definition, without an image."""
    folder = tmp_path_factory.mktemp("builder") / "context"
    run(str(BIN / "ansible-builder"), "create", "--context", str(folder))
    return folder


def stages(context: Path) -> dict[str, str]:
    text = (context / "Containerfile").read_text()
    found = re.split(r"^FROM (?:\S+) AS (\w+)$", text, flags=re.MULTILINE)
    return {"": found[0], **dict(zip(found[1::2], found[2::2], strict=True))}


def test_the_execution_environment_has_what_the_project_asks_for(context: Path) -> None:
    arguments = stages(context)[""]
    wanted = load(ROOT / "execution-environment.yml")
    dependencies = wanted["dependencies"]
    packages = [dependencies[key]["package_pip"] for key in ("ansible_core", "ansible_runner")]
    assert set(packages) <= set(PROJECT["dependencies"])
    assert f'ANSIBLE_INSTALL_REFS="{" ".join(packages)}"' in arguments
    assert f'EE_BASE_IMAGE="{wanted["images"]["base_image"]["name"]}"' in arguments
    version = dependencies["python_interpreter"]["package_system"].removeprefix("python3.")
    assert int(version) >= int(PROJECT["requires-python"].removeprefix(">=3."))
    assert f'PYCMD="/usr/bin/python3.{version}"' in arguments
    assert "ssh" in (context / "_build/bindep.txt").read_text()


def test_a_collection_from_a_repository_finds_git_in_its_stage(context: Path) -> None:
    (collection,) = load(context / "_build/requirements.yml")["collections"]
    assert collection["type"] == "git"
    before, install, _ = stages(context)["galaxy"].partition("ansible-galaxy collection install")
    assert install
    assert "$PKGMGR install -y git-core" in before


def test_the_collection_of_a_repository_brings_the_sdk_into_the_environment(
    context: Path, tmp_path: Path
) -> None:
    """The stages galaxy and builder, with this repository in place of the published one."""
    requirements = load(context / "_build/requirements.yml")
    (collection,) = requirements["collections"]
    collection.update(name=f"git+file://{ROOT}", version="HEAD")
    path = tmp_path / "requirements.yml"
    path.write_text(yaml.safe_dump(requirements))
    place = tmp_path / "collections"
    install = ["collection", "install", "--requirements-file", str(path)]
    run(str(BIN / "ansible-galaxy"), *install, "--collections-path", str(place))
    assert (place / "ansible_collections/gpuprep/core/playbooks/apply.yml").is_file()
    script = context / "_build/scripts/introspect.py"
    packages, system = tmp_path / "requirements.txt", tmp_path / "bindep.txt"
    user = context / "_build/bindep.txt"
    written = (f"--user-bindep={user}", f"--write-bindep={system}", f"--write-pip={packages}")
    run(sys.executable, str(script), "introspect", *written, str(place))
    (wanted,) = [line.split("  #")[0] for line in packages.read_text().splitlines()]
    assert [wanted] == PROJECT["optional-dependencies"]["oci"]
    assert "openssh-clients [platform:rpm]" in system.read_text()


def test_the_credential_gives_what_the_inventory_reads() -> None:
    credential = load(AWX / "credential-type.yml")
    fields = {field["id"] for field in credential["inputs"]["fields"]}
    assert set(credential["inputs"]["required"]) <= fields
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(credential["injectors"])))
    assert used == fields
    plugin = (ROOT / "plugins/inventory/oci.py").read_text()
    known = set(re.findall(r"- name: (OCI_\w+)", plugin))
    assert set(credential["injectors"]["env"]) <= known
    secret = {field["id"] for field in credential["inputs"]["fields"] if field.get("secret")}
    assert secret == {"key", "pass_phrase"}


def survey() -> list[dict[str, Any]]:
    spec = json.loads((AWX / "survey.json").read_text())
    assert set(spec) == {"name", "description", "spec"}
    return list(spec["spec"])


def answer(question: dict[str, Any], chosen: object) -> object:
    """Give what AWX makes of an answer."""
    return str(chosen).split("\n") if question["type"] == "multiselect" else chosen


def test_every_answer_of_the_survey_is_taken() -> None:
    spec = {name: dict(option) for name, option in all_options().items() if name in ASKED}
    validator = ArgumentSpecValidator(
        {name: {k: v for k, v in one.items() if k != "description"} for name, one in spec.items()}
    )
    for question in survey():
        for chosen in [*question["choices"], question["default"]]:
            given = {question["variable"]: answer(question, chosen)}
            assert validator.validate(given).error_messages == []


def test_who_answers_nothing_gets_the_defaults() -> None:
    options = all_options()
    for question in survey():
        default = options[question["variable"]].get("default")
        if isinstance(default, bool):
            assert yaml.safe_load(question["default"]) is default
        else:
            assert answer(question, question["default"]) == default


def test_questions_have_the_form_that_awx_demands() -> None:
    kinds = {"text", "integer", "multiplechoice", "multiselect"}
    for question in survey():
        assert question["type"] in kinds
        assert question["question_name"]
        assert isinstance(question["required"], bool)
        if question["type"].startswith("multi"):
            assert set(str(question["default"]).split("\n")) <= set(question["choices"])
