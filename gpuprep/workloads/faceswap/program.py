"""What is sent to a host for its jobs, and its answers."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Final

from gpuprep.layout import package_root
from gpuprep.observe.converge import modules
from gpuprep.observe.ship import ROOT, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE: Final = "/opt/gpuprep/faceswap"
UNIT_FILE: Final = "/etc/systemd/system/gpuprep-faceswap@.service"
MOST: Final = 16 << 20  # characters of an answer
_RUNNER: Final = ("files", "label", "locks", "progress", "runner", "saves", "steps")


class AnswerError(ValueError):
    """A host's answer is none, or tells of a failure.

    Attributes:
        code: stable code.

    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def script(request: Mapping[str, Any]) -> tuple[str, str]:
    """Return the program that carries out a request, and the marker of its answer."""
    marker = f"gpuprep-jobs-{secrets.token_hex(16)}"
    text = packed(
        (*modules(), "faceswap.place"),
        f"from {ROOT}.faceswap.place import main",
        f"main({json.dumps(request)!r}, {marker!r})",
    )
    return text, marker


def read(text: str, marker: str) -> dict[str, Any]:
    """Return a host's answer, whatever else it printed.

    Raises:
        AnswerError: there is none, or it tells of a failure.

    """
    _, found, rest = text.rpartition(f"{marker}\n")
    try:
        if not found or len(rest) > MOST:
            raise ValueError(" ".join(text.split())[-300:])  # noqa: TRY301 - told as any other
        answer, _ = json.JSONDecoder().raw_decode(rest)
        failed = answer.get("failed")
    except (ValueError, AttributeError, RecursionError) as error:
        raise AnswerError("E_ANSWER", f"the host gave no answer but: {error}") from error
    if failed:
        raise AnswerError(str(failed.get("code")), str(failed.get("message")))
    return dict(answer)


def runner_files(installed: Mapping[str, Any], interpreter: str) -> dict[str, str]:
    """Return the files of the runner and its unit, by path on the host.

    Args:
        installed: record of Faceswap's installation on the host.
        interpreter: Python of the host.

    """
    folder = package_root() / "on_host/faceswap"
    package = f"{BASE}/runner/{ROOT}"
    files = {
        f"{BASE}/runner/__main__.py": (folder / "start.py").read_text(encoding="utf-8"),
        f"{package}/__init__.py": "",
        f"{package}/faceswap/__init__.py": "",
    }
    for name in _RUNNER:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        files[f"{package}/faceswap/{name}.py"] = text
    unit = (folder / "gpuprep-faceswap@.service").read_text(encoding="utf-8")
    values = {
        "{user}": str(installed["user"]),
        "{root}": str(installed["root"]),
        "{python}": interpreter,
    }
    for mark, value in values.items():
        unit = unit.replace(mark, value)
    files[UNIT_FILE] = unit
    return files
