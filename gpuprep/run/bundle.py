"""Support bundle: one archive per host with what an engineer needs to diagnose it, redacted."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError
from gpuprep.model.text import clean, clean_line
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
    from gpuprep.run.options import Cancel, Limit, RunOptions, Variables

SCRIPT = "diagnosis.py"
ANSWERS = "diagnosis-*.json"
_LISTS: Final = ("kernel_log", "device_nodes")
_MOST: Final = 1000  # commands, files or lines of a list that are kept
_NAME_BYTES: Final = 150  # of a host's name in a file's, which may have 255 with all else
_CHARACTERS: Final = 1 << 20  # of one file or output; the host sends less


@dataclass(frozen=True, slots=True)
class Command:
    """A program that ran on the host, and what it said; ``end`` says how it ended."""

    argv: tuple[str, ...]
    output: str
    end: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one host said; whatever else was in its answer is named, not kept.

    Attributes:
        host: inventory name.
        commands: programs that ran.
        files: text by path, long ones from their end.
        lists: lines by subject (``kernel_log``, ``device_nodes``).
        error: why there is no answer.
        gaps: what of the answer could not be read.

    """

    host: str
    commands: tuple[Command, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None
    gaps: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """What is wrong with the answer, None when it is whole."""
        return self.error or ("; ".join(self.gaps) or None)


def read_answer(host: str, said: object) -> Diagnosis:
    """Read what a host said: whatever can be had, and the names of what cannot."""
    try:
        data = json.loads(said) if isinstance(said, str) else said
    except (ValueError, RecursionError) as error:
        return Diagnosis(host, error=f"its answer cannot be read: {error}")
    if not isinstance(data, dict):
        return Diagnosis(host, error=f"its answer is no object but {_kind(data)}")
    gaps: list[str] = []
    commands = _take(data, "commands", list, gaps)
    files = _take(data, "files", dict, gaps)
    return Diagnosis(
        host,
        tuple(filter(None, (_command(n, each, gaps) for n, each in enumerate(commands)))),
        {
            clean(path): clean(text, _CHARACTERS)
            for path, text in files.items()
            if _is(text, str, f"files: {clean_line(path)}", gaps)
        },
        {
            name: tuple(
                clean(line)
                for line in _take(data, name, list, gaps)
                if _is(line, str, f"{name}: a line", gaps)
            )
            for name in _LISTS
        },
        gaps=tuple(dict.fromkeys(gaps)),
    )


def _take(data: Mapping[str, Any], key: str, kind: type, gaps: list[str]) -> Any:  # noqa: ANN401
    """Return a part of an answer, empty when it is missing or something else."""
    value: Any = data.get(key)
    if not _is(value, kind, key, gaps):
        return kind()
    if len(value) > _MOST:
        gaps.append(f"{key}: only the first {_MOST} of {len(value)}")
    return dict(islice(value.items(), _MOST)) if kind is dict else value[:_MOST]


def _is(value: object, kind: type, where: str, gaps: list[str]) -> bool:
    if not isinstance(value, kind):
        gaps.append(f"{where}: expected a {kind.__name__}, found {_kind(value)}")
    return isinstance(value, kind)


def _command(number: int, raw: object, gaps: list[str]) -> Command | None:
    where = f"commands: number {number}"
    if not isinstance(raw, dict):
        _is(raw, dict, where, gaps)
        return None
    argv, output = raw.get("argv"), raw.get("output")
    words = tuple(clean_line(str(word)) for word in argv) if isinstance(argv, list) else ()
    if not words:
        gaps.append(f"{where}: no program is named")
    whole = _is(output, str, f"{where} ({' '.join(words)[:40]}): output", gaps)
    code = raw.get("rc")
    end = (
        "cut off" if raw.get("timed_out") else f"exit code {code if isinstance(code, int) else '?'}"
    )
    return Command(words, clean(str(output), _CHARACTERS) if whole else "", end)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


class _Collection(Run):
    """A run of the playbook that collects; its results are files in the run's directory."""

    def collect(self) -> dict[str, Diagnosis]:
        """Ask the hosts; when it is stopped, give what those have said that were asked.

        Raises:
            ConfigError: no host fits, or an argument is wrong.
            EngineError: Ansible cannot work.

        """
        from gpuprep.run.runner import run_playbook  # noqa: PLC0415 - keeps the start-up short

        with run_directory() as run_dir:
            (run_dir / SCRIPT).write_text(diagnosis(), encoding="utf-8")
            request = self._request(run_dir)
            outcome = run_playbook(request)
            documents = [json.loads(path.read_text()) for path in sorted(run_dir.glob(ANSWERS))]
            found = {
                document["host"]: read_answer(
                    document["host"], request.redactor.data(document["said"])
                )
                for document in documents
            }
        if outcome.stopped is not None:
            return found
        for host, failure in outcome.transcript.failures.items():
            found.setdefault(host, Diagnosis(host, error=failure.message))
        if not found and outcome.code:
            raise engine_error(outcome.code, outcome.transcript.output, limit_pattern(self.limit))
        return found


def collect(
    inventory: Source | None = None,
    *,
    limit: Limit | None = None,
    variables: Variables | None = None,
    options: RunOptions | None = None,
    cancel: Cancel | None = None,
) -> dict[str, Diagnosis]:
    """Collect from hosts; arguments, and errors, as of :func:`gpuprep.apply`.

    Of a run that was cancelled, what it has collected is returned.
    """
    # the verb names the playbook
    run = _Collection("bundle", inventory, limit, variables, None, cancel, options or {})  # type: ignore[arg-type]
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
    name = f"gpuprep-{_file_name(diagnosis.host)}-{when.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    path = folder / f"{name}.tar.gz"
    try:
        stream = path.open("xb")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        with stream:
            path.chmod(0o600)
            with tarfile.open(fileobj=stream, mode="w:gz") as archive:
                for member, text in _members(diagnosis, result, when):
                    data = _scrub(text).encode("utf-8", "replace")
                    info = tarfile.TarInfo(f"{name}/{member}")
                    info.size, info.mtime, info.mode = len(data), int(when.timestamp()), 0o600
                    archive.addfile(info, io.BytesIO(data))
    except OSError as error:
        path.unlink(missing_ok=True)  # half an archive would pass for a whole one
        raise ConfigError(f"{path}: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _file_name(host: str) -> str:
    """Return a host's name as a part of a file's, of no more bytes than that may have."""
    whole = re.sub(r"[^\w.-]+", "_", host).lstrip(".") or "host"
    cut = whole.encode()[:_NAME_BYTES].decode(errors="ignore")
    if cut == host:
        return cut
    # Another host's name may have become the same.
    return f"{cut}-{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _members(
    diagnosis: Diagnosis, result: Mapping[str, Any] | None, when: datetime
) -> Iterator[tuple[str, str]]:
    yield "README.txt", _readme(diagnosis, when)
    if result is not None:
        yield "report.json", json.dumps(result, indent=1)
    for number, command in enumerate(diagnosis.commands):
        line = " ".join(command.argv)
        word = re.sub(r"\W+", "-", line)[:60].strip("-")
        yield f"commands/{number:02}-{word}.txt", f"$ {line}\n{command.output}\n[{command.end}]\n"
    for path, text in diagnosis.files.items():
        yield f"files/{path.lstrip('/').replace('..', '_')}", text
    for name in _LISTS:
        yield f"{name.replace('_', '-')}.txt", "\n".join(diagnosis.lists.get(name, ())) + "\n"


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
    if diagnosis.gaps:
        lines += ["", "Parts of the host's answer could not be read:", *diagnosis.gaps]
    return "\n".join(lines) + "\n"


def _scrub(text: str) -> str:
    """Mask what looks like a secret by its name, in any text."""
    return Redactor(secrets_in_text(text)).text(text)
