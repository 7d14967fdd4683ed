"""The documentation says what is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import click
import pytest
from repository import ROOT, tracked

import gpuprep
from gpuprep.cli import COMMANDS
from gpuprep.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = [path for path in tracked("*.md") if "_collections" not in path.parts]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for path in PAGES:
        for kind, text in BLOCK.findall(path.read_text(encoding="utf-8")):
            if kind == language:
                yield path, text


def name(value: object) -> str:
    return str(value.relative_to(ROOT)) if hasattr(value, "relative_to") else str(value)


SHELL = [
    (path, line.split(" #")[0].strip())
    for path, text in blocks("sh")
    for line in text.splitlines()
    if line.split("#")[0].strip()
]


@pytest.mark.parametrize(("path", "line"), SHELL, ids=name)
def test_documented_command_exists(path: Path, line: str) -> None:
    program, *arguments = shlex.split(line)
    match program:
        case "make":
            assert set(arguments) <= TARGETS
        case "gpuprep":
            parse(arguments)
        case "ansible-playbook":
            (playbook,) = [word for word in arguments if word.startswith("gpuprep.core.")]
            assert (ROOT / f"playbooks/{playbook.rsplit('.', 1)[1]}.yml").is_file()
        case "eval":
            command = shlex.split(arguments[0].strip("$()"))
            if command[0] == "_GPUPREP_COMPLETE=bash_source":
                assert completion_of("bash_source").count("gpuprep") > 1
            else:
                parse(command[1:])
        case "ansible-builder":
            assert (ROOT / "execution-environment.yml").is_file()
        case "python":
            assert arguments[0] == "-m"
            assert (ROOT / arguments[1].replace(".", "/")).exists()
        case _:
            # tests/integration/test_install_lines.py runs these.
            installing = {"sudo", "python3", ".", "~/gpuprep-env/bin/pip"}
            assert program in {"export", *installing}, f"{path}: who checks {line!r}?"


def completion_of(shell: str) -> str:
    """Return what a shell is told to complete gpuprep's lines."""
    return subprocess.run(
        [sys.executable, "-m", "gpuprep"],
        env={"PATH": "/usr/bin:/bin", "_GPUPREP_COMPLETE": shell},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def parse(arguments: list[str]) -> None:
    """Let the command line's own parser read arguments, without doing anything."""
    known = {command.name: command for command in COMMANDS}
    assert arguments[0] in known, f"no verb {arguments[0]}"
    command, name = known[arguments[0]].load(), arguments[0]
    rest = arguments[1:]
    if isinstance(command, click.Group):
        name, rest = rest[0], rest[1:]
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"no verb {name}"
        command = found
    command.make_context(name, rest)


def test_the_parser_rejects() -> None:
    with pytest.raises(click.UsageError):
        parse(["plan", "--no-such-option"])


@pytest.mark.parametrize(("path", "text"), list(blocks("python")), ids=name)
def test_python_examples_use_what_there_is(path: Path, text: str) -> None:
    compile(text, str(path), "exec")
    for used in re.findall(r"\bgpuprep\.([a-z_]+)\(", text):
        assert used in gpuprep.__all__
    for module, names in re.findall(r"^from (gpuprep[\w.]*) import (.+)$", text, re.MULTILINE):
        for one in names.split(", "):
            assert hasattr(__import__(module, fromlist=[one]), one)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "#")):
            assert (path.parent / target.split("#")[0]).exists(), target


UNPUBLISHED = re.compile(
    r"(?:pip3?|pipx|uv tool) install (?:-\S+ )*[\"']?gpuprep(?:\[\w+\])?(?! ?@|[\[\w])",
    re.IGNORECASE,
)


def test_nobody_is_told_to_install_a_package_that_is_not_published() -> None:
    """Whoever registers the name would run code wherever the advice is followed."""
    assert UNPUBLISHED.search("run 'python3 -m pip install gpuprep'")
    assert UNPUBLISHED.search('pipx install --force "gpuprep[oci]"')
    assert not UNPUBLISHED.search("pip install 'gpuprep[oci] @ git+https://example.org/gpuprep'")
    for path in tracked("*.md", "*.py", "*.yml", "*.hcl", "tools/*", ".ci/*"):
        if path.name != "test_docs.py":
            assert not UNPUBLISHED.search(path.read_text(encoding="utf-8")), path


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    explained = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    assert set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)) == explained


def test_make_help_lists_the_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "test-full", "sandbox-up", "sandbox-down", "lint", "gpu-proof"):
        assert re.search(rf"^{target} ", done.stdout, re.MULTILINE)


def test_exit_codes_are_documented() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| \S", page, re.MULTILINE)
    assert rows == [(str(int(code)), code.name) for code in ExitCode]


def test_every_verb_is_documented() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([a-z]+)` \| ", page, re.MULTILINE))
    assert documented == {command.name for command in COMMANDS}


def test_the_map_shows_the_rooms_that_the_contracts_know() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    part = page[page.index("## The rooms") : page.index("## One setting")]
    shown = [
        {name.removesuffix(".py") for name in re.findall(r"`([a-z_.]+)`", row)}
        for row in re.findall(r"^\| (`.+?) \| ", part, re.MULTILINE)
    ]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [set(layer.split(" | ")) for layer in settings["contracts"][0]["layers"]]
    known = [layer for layer in layers if not next(iter(layer)).startswith(("__", "("))]
    flat = [name for rooms in known for name in sorted(rooms)]
    assert sorted(name for rooms in shown for name in rooms) == sorted(flat)
    height = {name: i for i, rooms in enumerate(known) for name in rooms}
    order = [max(height[name] for name in rooms) for rooms in shown]
    assert order == sorted(order), "the rooms are not in the order of the layers"


def test_every_host_state_is_documented() -> None:
    page = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE))
    assert rows == {state.value for state in gpuprep.HostStatus}


def test_roles_are_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for role in (ROOT / "roles").iterdir():
        assert f"roles/{role.name}/README.md" in text


def test_index_leads_to_every_page() -> None:
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for path in tracked("docs/*.md"):
        relative = str(path.relative_to(ROOT / "docs"))
        if relative != "index.md" and not relative.startswith("proof/"):
            assert f"]({relative})" in text, relative


def test_the_cases_from_the_field_name_tests_that_exist() -> None:
    named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", (ROOT / "docs/field-cases.md").read_text())
    assert len(named) > 40
    for name, test in named:
        (path,) = ROOT.glob(f"tests/*/{name}")
        assert not test or f"def {test}(" in path.read_text(), (name, test)
