"""The survey of an AWX job template, from the specifications of the variables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gpuprep.planner.settings import all_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# What may differ from one job to the next; the rest belongs into the inventory.
ASKED: Final = (
    "gpuprep_hosts",
    "gpuprep_components",
    "gpuprep_channel",
    "gpu_driver_branch",
    "gpu_driver_flavour",
    "gpu_driver_reboot_allowed",
    "cudnn_version",
    "gpuprep_batch",
    "gpuprep_max_fail_percentage",
    "gpuprep_verify_tier",
)
_KINDS: Final = {"str": "text", "raw": "text", "int": "integer"}


def survey(prose: Callable[[str | list[str]], str]) -> str:
    """Return the survey as JSON, in the form of AWX's ``survey_spec``.

    Args:
        prose: turns Ansible's markup of a description into text.

    """
    options = all_options()
    asked = [_question(name, options[name], prose(options[name]["description"])) for name in ASKED]
    told = {"name": "gpuprep", "description": "What the hosts should run.", "spec": asked}
    return json.dumps(told, indent=2) + "\n"


def _question(name: str, option: Mapping[str, Any], meaning: str) -> dict[str, Any]:
    kind, choices, default = _answer(option)
    return {
        "variable": name,
        "question_name": name,
        "question_description": meaning.replace("`", ""),
        "type": kind,
        "choices": choices,
        "default": default,
        "required": False,
    }


def _answer(option: Mapping[str, Any]) -> tuple[str, list[str], object]:
    """Return how a variable is asked for, the answers to choose from, and the default."""
    default = option.get("default", "")
    if option["type"] == "list":
        return "multiselect", list(option["choices"]), "\n".join(default)
    if option["type"] == "bool":  # AWX knows no such type; Ansible reads the words
        return "multiplechoice", ["false", "true"], str(default).lower()
    if "choices" in option:
        return "multiplechoice", list(option["choices"]), default
    return _KINDS[option["type"]], [], default
