"""What to set instead where settings of a host clash: options that can be pasted. Pure."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from gpuprep.model.variables import VARIABLE_OF
from gpuprep.planner.settings import NONE, all_options

if TYPE_CHECKING:
    from gpuprep.model import Message


def advice(message: Message) -> str:
    """Return which settings would work instead of those that a refusal names; empty where none do.

    The resolver says what the host would then get (``nearest``), or why that does not help.
    """
    if not message.nearest:
        return ""
    if not message.settings:
        return f"Other settings do not help: {message.nearest}"
    return f"Would work: {_options(message.settings)}, giving {message.nearest}"


def with_advice(message: Message) -> str:
    """Return the words of a refusal, and what would work instead."""
    end = "" if message.message.endswith((".", "!", "?")) else "."
    told = advice(message)
    return f"{message.message}{end} {told}" if told else message.message


def _options(settings: tuple[str, ...]) -> str:
    """Return the options of the command line that take these settings back."""
    values: dict[str, Any] = {}
    words = []
    for setting in sorted(settings, key=lambda name: name == "components"):  # it has the last word
        variable = VARIABLE_OF.get(setting)
        if setting == "components":
            values[VARIABLE_OF["branch"]] = NONE  # leaves the driver out
        elif setting == "locked":
            words.append(f"no lock file ({variable}, --locked)")
        elif variable is None:
            words.append(f"without {setting}")
        else:
            values[variable] = all_options()[variable]["default"]
    return " ".join((*(f"-e {_assigned(*item)}" for item in values.items()), *words))


def _assigned(name: str, value: object) -> str:
    """Return a variable and its value as ``-e`` takes it; JSON where a text would lose its type."""
    return shlex.quote(f"{name}={value}" if isinstance(value, str) else json.dumps({name: value}))
