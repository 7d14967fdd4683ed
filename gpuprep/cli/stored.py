"""Stored results as input: read, and ``--limit @report.json`` for the hosts that failed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORDINARY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def read_result(name: str) -> Mapping[str, Any]:
    """Return the result that ``--report`` or ``--output json`` wrote; ``-`` is stdin.

    Raises:
        ConfigError: the file cannot be read or holds something else.

    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        data = json.loads(text)
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{name}: no JSON ({error}); expected is what --report wrote") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: no result of gpuprep; expected is what --report wrote")
    return data


def with_failed_hosts(limit: str | None) -> str | None:
    """Return a limit with each ``@FILE`` that is a stored result replaced by its failed hosts.

    Raises:
        ConfigError: a file is no result of gpuprep, or none of its hosts failed.

    """
    if limit is None or "@" not in limit:
        return limit
    return ",".join(_failed(part) for part in limit.split(","))


def _failed(part: str) -> str:
    path = Path(part.strip()[1:]).expanduser()
    if not part.strip().startswith("@") or not _is_json(path):
        return part  # a pattern, or a file of patterns: Ansible's
    from gpuprep.report.schema import check  # noqa: PLC0415 - slow, and rarely needed
    from gpuprep.report.view import failed_hosts  # noqa: PLC0415

    result = read_result(str(path))
    check(result)
    names = failed_hosts(result)
    if not names:
        raise ConfigError(f"--limit {part}: no host of this result failed")
    return ",".join(map(_literally, names))


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False  # the run says what is wrong with it


def _literally(name: str) -> str:
    """Return a pattern for this host and no other, whatever its name looks like."""
    if _ORDINARY.fullmatch(name):
        return name
    escaped = "".join(
        each if each.isalnum() and each.isascii() else f"\\U{ord(each):08x}" for each in name
    )
    return f"~^{escaped}$"
