"""Stored results: what ``--report`` writes, and ``--limit @report.json`` reads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from gpuprep.cli.output import write_file
from gpuprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODE: Final = 0o600
_ORDINARY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Result(Protocol):
    """What a verb gives, of whatever kind."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        ...


def report_file(name: str | None) -> Path | None:
    """Check before the run that its result can be stored after it.

    Raises:
        ConfigError: it cannot.

    """
    if name is None:
        return None
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        path = Path(name).expanduser().absolute()
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that is too long is told here, not after the run
        if not path.is_dir() and os.access(path.parent, os.W_OK | os.X_OK):
            return path
    raise ConfigError(f"--report {name}: not a file in a directory that this user can write to")


def store(path: Path | None, result: Result) -> None:
    """Store a result where ``--report`` says, if it does."""
    if path is None:
        return
    try:
        write_file(path, f"{json.dumps(result.to_dict())}\n", _MODE)
    except OSError as error:  # the disk is full, say: the result is told all the same
        lost = f"--report {path}: {error.strerror}; the result was not stored"
        click.echo(f"gpuprep: {lost}", err=True)


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
    names = _failed_hosts(read_result(str(path)))
    if not names:
        raise ConfigError(f"--limit {part}: no host of this result failed")
    return ",".join(map(_literally, names))


def _failed_hosts(result: Mapping[str, Any]) -> list[str]:
    from gpuprep.report.schema import JOBS, check  # noqa: PLC0415 - slow, and rarely needed
    from gpuprep.report.view import failed_hosts  # noqa: PLC0415

    if result.get("verb") != JOBS:
        check(result)
        return failed_hosts(result)
    hosts = result.get("hosts")
    if not isinstance(hosts, dict) or not all(isinstance(one, dict) for one in hosts.values()):
        raise ConfigError(f"not a result of gpuprep {JOBS}: it names no hosts")
    return [name for name, host in hosts.items() if not host.get("ok")]


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
