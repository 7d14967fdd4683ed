"""The program that observes a host, as one text for ``python3 -S -E -``."""

from __future__ import annotations

import json
import secrets
from functools import cache
from typing import TYPE_CHECKING, Any

from gpuprep.layout import package_root
from gpuprep.observe.reading import marker_line
from gpuprep.observe.ship import ROOT, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERPRETER_FLAGS = "-S -E -"  # no site-packages, no PYTHON* variables, program on standard input


def new_marker() -> str:
    """Return a random word that no noise of a host contains by chance."""
    return secrets.token_hex(12)


@cache
def _modules() -> tuple[str, ...]:
    names = sorted(path.stem for path in (package_root() / "on_host/observe").glob("*.py"))
    return (
        "checkouts",
        "labels",
        "openpgp",
        *(f"observe.{name}" for name in names if name != "__init__"),
    )


def script(
    request: Mapping[str, Any], probe: str = "", tier: str = "quick", marker: str | None = None
) -> str:
    """Return the program to feed to ``python3 -S -E -`` on a host.

    Args:
        request: what to look at; keys as in the head of ``on_host/observe/main.py``.
        probe: source that defines ``probe(tier, options)``; its answer comes back as ``probe``.
            Empty = observe only.
        tier: what the probe tries.
        marker: random word to print before the answer; give the same to ``read``.

    """
    setting = json.dumps(json.dumps(request))
    options = {"conda_prefixes": [request["conda"]]} if request.get("conda") else {}
    # In two parts, so that a host that echoes the program does not print the line itself.
    line = marker_line(marker or "").rpartition(":")
    lines = [
        "import json",
        f"from {ROOT}.observe.main import observe, told",
        probe,
        f"answer = observe(json.loads({setting}))",
        f"answer['probe'] = probe({str(tier)!r}, {options!r})" if probe else "",
        f"sys.stdout.write({line[0]!r} + {line[1] + line[2]!r} + '\\n')" if marker else "",
        "sys.stdout.write(told(answer) + '\\n')",
    ]
    return packed(_modules(), *lines)
