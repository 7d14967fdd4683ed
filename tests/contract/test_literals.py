"""Versions, URLs, keys, checksums, packages, GPUs and shapes are named by the catalog only."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from repository import ROOT, tracked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CATALOG = ROOT / "gpuprep/catalog/nvidia.yml"
PYTHON = tracked("gpuprep/*.py", "plugins/*.py")
CONTENT = tracked("roles/*.yml", "playbooks/*.yml", "inventory/*", "gpuprep/planner/*.yml")
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
PROSE = {"description", "short_description"}
PACKAGE = re.compile(r"[a-z][a-z0-9+.]*(-[a-z0-9+.]+)+")


def keys_of(node: Any, *path: str) -> list[str]:
    for part in path:
        node = node[part]
    return [str(key) for key in node]


def strings(node: Any, parent: str = "") -> Iterator[tuple[str, str]]:
    """(Name of the nearest key, text) of every scalar."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(value, str(key))
    elif isinstance(node, list):
        for value in node:
            yield from strings(value, parent)
    elif isinstance(node, str):
        yield parent, node


@cache
def facts() -> re.Pattern[str]:
    """One expression for everything that the catalog alone may name."""
    data = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    known = {
        *keys_of(data, "gpus", "items"),
        *keys_of(data, "shapes", "items"),
        *keys_of(data, "branches", "items"),
        *keys_of(data, "cuda", "items"),
        *keys_of(data, "conda", "releases"),
    }
    for block in ("branches", "cuda", "cudnn", "archives", "conda", "repositories"):
        for _, text in strings(data[block]):
            if re.fullmatch(r"\d+\.\d+\.\d+[\d.-]*|[0-9A-F]{40}|[0-9a-f]{64}", text):
                known.add(text)
            elif text.startswith("https://"):
                known.add(text.split("/")[2])
    assert {"580", "12.9", "VM.GPU.A10.1", "10de:2236", "developer.download.nvidia.com"} <= known
    alternatives = "|".join(sorted(map(re.escape, known), key=len, reverse=True))
    return re.compile(rf"(?<![\w.-])({alternatives})(?![\w-]|\.\d)")


@cache
def packages() -> frozenset[str]:
    """Names of packages; as a whole text only, for programs and units have the same names."""
    data = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    blocks = ("driver_packages", "fabrics", "archives", "cudnn")
    known = {text for block in blocks for _, text in strings(data[block])}
    found = frozenset(text for text in known if PACKAGE.fullmatch(text))
    assert {"nvidia-open", "nvidia-fabricmanager"} <= found
    return found


def code_strings(path: Path) -> Iterator[str]:
    """Constants of a program that are no documentation; help texts of options are."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.add(id(node.value))
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in DOCUMENTATION:
            prose |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.keyword) and node.arg == "help":
            prose |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose:
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, int) and node.value > 400:
                yield str(node.value)


PROGRAMS = {"nvidia-smi"}  # that are called, whatever package they come from


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_program_names_no_fact(path: Path) -> None:
    texts = set(code_strings(path)) - PROGRAMS
    found = {hit for text in texts for hit in facts().findall(text)} | (texts & packages())
    assert not found, f"{sorted(found)} belong in {CATALOG.relative_to(ROOT)}"


@pytest.mark.parametrize("path", CONTENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_content_names_no_fact(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for key, text in strings(document):
            found = {*facts().findall(text), *({text} & packages())}
            if path.name == "host_rules.yml":
                found -= packages()  # what a host is asked about: processes, witnesses
            assert key in PROSE or not found, f"{key}: {found}"


@pytest.mark.parametrize("path", [*PYTHON, *CONTENT], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_download_address(path: Path) -> None:
    """Not even one the catalog does not know; names of XML elements ({http...}) are none."""
    texts = (
        list(code_strings(path))
        if path.suffix == ".py"
        else [text for _, text in strings(list(yaml.safe_load_all(path.read_text())))]
    )
    assert not [text for text in texts if re.search(r"(?<!{)https?://[\w.-]+\.\w", text)]
