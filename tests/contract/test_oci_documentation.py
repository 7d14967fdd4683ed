"""What the plugin documents is what the package does."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from gpuprep.oci import Options
from gpuprep.oci import options as known

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "plugins/inventory/oci.py"
GUIDE = ROOT / "docs/inventory.md"
# Read by the plugin itself: Ansible's part of the work.
OWN = {"plugin", "include_filters", "exclude_filters", "stale_if_error", "fail_command"}


def documented() -> dict[str, dict[str, Any]]:
    for node in ast.parse(PLUGIN.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
            options: dict[str, dict[str, Any]] = yaml.safe_load(ast.literal_eval(node.value))[
                "options"
            ]
            return options
    raise LookupError(PLUGIN)


def test_the_same_options_are_documented_and_read() -> None:
    assert set(documented()) - OWN == known.names()


def test_defaults_are_the_same() -> None:
    options, default = documented(), Options()
    for one in fields(Options):
        value = getattr(default, one.name)
        plain = list(value) if isinstance(value, tuple) else value
        assert options[one.name].get("default") == plain, one.name


def test_types_are_the_same() -> None:
    kinds = {bool: "bool", int: "int", tuple: "list", dict: "dict", str: "str", type(None): "str"}
    options, default = documented(), Options()
    for one in fields(Options):
        assert options[one.name]["type"] == kinds[type(getattr(default, one.name))], one.name


def test_environment_variables_are_the_same() -> None:
    found = {
        name: tuple(one["name"] for one in option["env"])
        for name, option in documented().items()
        if "env" in option
    }
    assert found == dict(known.ENVIRONMENT)


def test_choices_are_the_same() -> None:
    options = documented()
    for name, values in {
        "auth_type": known.AUTH_TYPES,
        "on_partial": known.ON_PARTIAL,
        "resolve_public_ips": known.RESOLVE,
        "resolve_ipv6": known.RESOLVE,
    }.items():
        assert tuple(options[name]["choices"]) == values
    text = " ".join(options["hostnames"]["description"])
    assert all(f"V({value})" in text for value in known.NAMES)
    text = " ".join(options["filters"]["description"])
    assert all(f"V({value})" in text for value in known.FILTERS)


def test_the_guide_names_every_option() -> None:
    guide = GUIDE.read_text()
    missing = [name for name in documented() if f"`{name}`" not in guide]
    assert missing == []


def test_the_guide_tells_users_of_the_official_plugin_what_became_of_each_option() -> None:
    guide = GUIDE.read_text()
    rows = {
        line.split("|")[1].strip().strip("`")
        for line in guide.partition("## Moving from oracle.oci.oci")[2].splitlines()
        if line.startswith("| `")
    }
    assert set(known._ELSEWHERE) <= rows


def test_the_examples_are_valid() -> None:
    for node in ast.parse(PLUGIN.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            texts = list(yaml.safe_load_all(ast.literal_eval(node.value)))
    texts.append(yaml.safe_load((ROOT / "inventory/gpus.oci.yml").read_text()))
    assert len(texts) == 3
    for text in texts:
        assert text["plugin"] == "gpuprep.core.oci"
        Options.from_mapping({key: text[key] for key in text if key in known.names()})
