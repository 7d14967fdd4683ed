"""Support bundle: one archive per host with what an engineer needs to diagnose it, redacted."""

from __future__ import annotations

import io
import json
import re
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuprep.errors import ConfigError, EngineError
from gpuprep.observe.probe import diagnosis
from gpuprep.run.ansible_errors import engine_error
from gpuprep.run.directory import run_directory
from gpuprep.run.execution import Run
from gpuprep.run.options import limit_pattern
from gpuprep.run.redact import Redactor, secrets_in_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gpuprep.run.inventories import Source
    from gpuprep.run.options import Limit, RunOptions, Variables

SCRIPT = "diagnosis.py"
ANSWERS = "diagnosis-*.json"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one host said.

    Attributes:
        host: inventory name.
        answer: of the collecting script; empty when it failed.
        error: why there is none.

    """

    host: str
    answer: Mapping[str, Any]
    error: str | None = None


class _Collection(Run):
    """A run of the playbook that collects; its results are files in the run's directory."""

    def collect(self) -> dict[str, Diagnosis]:
        """Ask the hosts.

        Raises:
            ConfigError: no host fits, or an argument is wrong.
            EngineError: Ansible cannot work.

        """
        from gpuprep.run.runner import run_playbook  # noqa: PLC0415 - keeps the start-up short

        with run_directory() as run_dir:
            (run_dir / SCRIPT).write_text(diagnosis(), encoding="utf-8")
            request = self._request(run_dir)
            outcome = run_playbook(request)
            found = {
                answer["host"]: Diagnosis(answer["host"], request.redactor.data(answer["said"]))
                for answer in map(_read, sorted(run_dir.glob(ANSWERS)))
            }
        for host, failure in outcome.transcript.failures.items():
            found.setdefault(host, Diagnosis(host, {}, failure.message))
        if not found and outcome.code:
            raise engine_error(outcome.code, outcome.transcript.output, limit_pattern(self.limit))
        return found


def _read(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        said = data["said"]
        data["said"] = json.loads(said) if isinstance(said, str) else said
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(f"a host's answer cannot be read: {error}") from error
    return data


def collect(
    inventory: Source | None = None,
    *,
    limit: Limit | None = None,
    variables: Variables | None = None,
    options: RunOptions | None = None,
) -> dict[str, Diagnosis]:
    """Collect from hosts; arguments, and errors, as of :func:`gpuprep.apply`."""
    # the verb names the playbook
    run = _Collection("bundle", inventory, limit, variables, None, None, options or {})  # type: ignore[arg-type]
    return run.collect()


def pack(
    diagnosis: Diagnosis, folder: Path, result: Mapping[str, Any] | None, when: datetime
) -> Path:
    """Write a host's archive; only the owner can read it.

    Args:
        diagnosis: what the host said.
        folder: where to.
        result: its result as JSON types (plan, checks, versions), None = not known.
        when: time of the collection.

    Raises:
        ConfigError: the folder cannot be written to.

    """
    safe = re.sub(r"[^\w.-]+", "_", diagnosis.host).lstrip(".") or "host"
    name = f"gpuprep-{safe}-{when.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    path = folder / f"{name}.tar.gz"
    try:
        with path.open("xb") as stream:
            path.chmod(0o600)
            with tarfile.open(fileobj=stream, mode="w:gz") as archive:
                for member, text in _members(diagnosis, result, when):
                    data = _scrub(text).encode("utf-8", "replace")
                    info = tarfile.TarInfo(f"{name}/{member}")
                    info.size, info.mtime, info.mode = len(data), int(when.timestamp()), 0o600
                    archive.addfile(info, io.BytesIO(data))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return path


def _members(
    diagnosis: Diagnosis, result: Mapping[str, Any] | None, when: datetime
) -> Iterator[tuple[str, str]]:
    answer = diagnosis.answer
    commands = answer.get("commands") or ()
    yield "README.txt", _readme(diagnosis, when)
    if result is not None:
        yield "report.json", json.dumps(result, indent=1)
    for number, command in enumerate(commands):
        argv = [str(word) for word in command.get("argv", ())]
        word = re.sub(r"\W+", "-", " ".join(argv))[:60].strip("-")
        end = "cut off" if command.get("timed_out") else f"exit code {command.get('rc')}"
        text = f"$ {' '.join(argv)}\n{command.get('output', '')}\n[{end}]\n"
        yield f"commands/{number:02}-{word}.txt", text
    for path, text in (answer.get("files") or {}).items():
        yield f"files/{path.lstrip('/').replace('..', '_')}", text
    yield "kernel-log.txt", "\n".join(answer.get("kernel_log") or ()) + "\n"
    yield "device-nodes.txt", "\n".join(answer.get("device_nodes") or ()) + "\n"


def _readme(diagnosis: Diagnosis, when: datetime) -> str:
    lines = [
        f"Support bundle of {diagnosis.host}, {when.astimezone(UTC):%Y-%m-%d %H:%M UTC}",
        "",
        "report.json      plan, checks and versions as gpuprep saw them",
        "commands/        what programs on the host said",
        "files/           files of the host, long ones from their end",
        "kernel-log.txt   the kernel's lines about GPUs and PCIe, this boot",
        "",
        "Known secrets, and values whose names look like secrets, are masked. Read it before you",
        "pass it on all the same.",
    ]
    if diagnosis.error:
        lines += ["", f"The host could not be asked: {diagnosis.error}"]
    return "\n".join(lines) + "\n"


def _scrub(text: str) -> str:
    """Mask what looks like a secret by its name, in any text."""
    return Redactor(secrets_in_text(text)).text(text)
