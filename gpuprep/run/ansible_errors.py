"""What Ansible's own complaints mean, as gpuprep's errors."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuprep.errors import ConfigError, EngineError, ExitCode, GpuprepError, InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.fleet.failures import Failure

_ERROR_LINE: Final = re.compile(r"^(?:\[ERROR\]:|ERROR!)\s*")
_NEXT_MESSAGE: Final = re.compile(r"^(?:\[(?:ERROR|WARNING|DEPRECATION WARNING)\]:|PLAY |TASK |$)")

# Exit codes of ansible-playbook (ansible-core: ansible/cli/__init__.py, executor flags).
_PARSER_ERROR: Final = 4
_BAD_OPTIONS: Final = 5

# Words of ansible-core 2.18 to 2.21, the error they are, and what to do about it.
_MEANINGS: Final[tuple[tuple[str, type[GpuprepError], str], ...]] = (
    (
        r"leaves us with no hosts to target",
        ConfigError,
        "no host matches {limit}; `ansible-inventory --graph` with the same inventory lists them",
    ),
    (
        r"vault|decrypt",
        ConfigError,
        "encrypted data cannot be read: {error}; give --vault-password-file or --ask-vault-pass",
    ),
    (
        r"playbook.*could not be found|couldn't resolve module/action|Unable to retrieve file",
        EngineError,
        "gpuprep's playbooks cannot be run: {error}. Is gpuprep installed as a whole?",
    ),
    (
        r"Unexpected Exception|this is probably a bug|Traceback",
        EngineError,
        "Ansible broke down: {error}",
    ),
)
_UNPARSED: Final = re.compile(r"failed to parse inventory source (\S+)|parse (\S+) as an inventory")
_REASON: Final = re.compile(
    r"Failed to parse (?:inventory|\S+) with '?\w+'? plugin: "
    r"(.+(?:\n(?!\[|Origin: |<<<|Failed to parse ).+)*)"
)
_OWN_REASON: Final = re.compile(r"inventory source \S+ with plugin gpuprep\S+: (.+)$")
_NO_MAPPING: Final = re.compile(
    r"Invalid extra vars data supplied\. '@?(.+?)' could not be made into a dictionary"
)
_ORIGIN: Final = re.compile(r"^Origin: (.+)$", re.MULTILINE)
_ENCRYPTED: Final = b"$ANSIBLE_VAULT;"
_DECRYPT: Final = re.compile("decrypt", re.IGNORECASE)
_SHOWN: Final = 5  # files
_NO_REASON: Final = "not YAML inventory"  # one plugin refusing what is meant for another


def error_text(output: str) -> str:
    r"""Find the errors in Ansible's output, each joined to one line; else the last line.

    >>> error_text("[WARNING]: old\n[ERROR]: no such\nfile\n\nPLAY RECAP")
    'no such file'
    """
    found: list[list[str]] = []
    inside = False
    for line in output.splitlines():
        if _ERROR_LINE.match(line):
            found.append([_ERROR_LINE.sub("", line)])
            inside = True
        elif _NEXT_MESSAGE.match(line):
            inside = False
        elif inside:
            found[-1].append(line)
    if found:
        return "; ".join(" ".join(" ".join(lines).split()) for lines in found)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def engine_error(code: int, output: str, limit: str | None) -> GpuprepError:
    """Return the error of a run that ended with ``code`` before it had a plan."""
    # Read with the inventory, which Ansible then blames for it.
    if no_mapping := _NO_MAPPING.search(" ".join(output.split())):
        return ConfigError(
            f"variables file {no_mapping[1]}: expected a mapping (name: value), found"
            f" {_content_of(Path(no_mapping[1]))}"
        )
    error = error_text(output)
    unparsed = _UNPARSED.search(error)
    if unparsed:
        source = unparsed.group(1) or unparsed.group(2)
        own = _OWN_REASON.search(error)
        reason, origin = (own.group(1), None) if own else _reason_of_unparsed(output)
        place = source if origin is None or origin.startswith("<") else origin
        error = f"{place}: {reason}"
        # Ansible reads variables together with the inventory and blames the latter for both.
        code = _PARSER_ERROR if source not in place else code
    for pattern, kind, message in _MEANINGS:
        if re.search(pattern, error, re.IGNORECASE):
            wanted = "the inventory" if limit is None else f"--limit {limit}"
            return kind(message.format(error=error.rstrip("."), limit=wanted))
    if unparsed and code != _PARSER_ERROR:
        return InventoryError(f"the inventory cannot be read: {error}")
    if code in {_PARSER_ERROR, _BAD_OPTIONS}:
        return ConfigError(f"Ansible refuses the input: {error}")
    return EngineError(f"ansible-playbook ended with exit code {code}: {error}")


def _content_of(path: Path) -> str:
    """Return what is in a file of variables that is no mapping."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return "something else"
    said = [line for line in lines if line.strip() not in {"", "---"} and line.strip()[0] != "#"]
    if not said:
        return "nothing: the file is empty"
    return "a list" if said[0].lstrip().startswith(("- ", "[")) else "something else"


def encrypted_error(error: GpuprepError, files: Iterable[Path]) -> GpuprepError:
    """Return an error about encrypted data with the files that are encrypted as a whole.

    Ansible names none; such a file of the first host's variables ends the run of all.
    """
    if "encrypted data" not in str(error):
        return error
    found = []
    for path in files:
        with contextlib.suppress(OSError), path.open("rb") as file:
            if file.read(len(_ENCRYPTED)) == _ENCRYPTED:
                found.append(str(path))
    return ConfigError(f"{error} ({', '.join(found[:_SHOWN])})") if found else error


def _reason_of_unparsed(output: str) -> tuple[str, str | None]:
    """Find why an inventory was refused, and the place: each plugin that tried says its own."""
    told = [reason for reason in _REASON.finditer(output) if _NO_REASON not in reason.group(1)]
    # What cannot be decrypted stops every plugin; some of them say other things besides.
    told.sort(key=lambda reason: _DECRYPT.search(reason.group(1)) is None)
    for reason in told:
        origin = _ORIGIN.search(output, reason.end())
        return reason.group(1), origin.group(1) if origin else None
    return "no inventory plugin understands it", None


def plan_error(failure: Failure) -> GpuprepError:
    """Return the error of a plan that could not be made for any host.

    What is wrong with a host, or with its settings, is part of a plan; so this is a fault of
    gpuprep, unless the action says otherwise by a code.
    """
    if failure.code == "E_CONFIG" or failure.exit_code == ExitCode.USAGE:
        return ConfigError(failure.message)
    if failure.exit_code == ExitCode.UNAVAILABLE:
        return EngineError(failure.message)
    return GpuprepError(f"the plan could not be made: {failure.message}")


def no_hosts_error(inventory: str, output: str) -> GpuprepError:
    """Return the error of a run that found no host to work on."""
    unmatched = re.search(r"Could not match supplied host pattern, ignoring: (\S+)", output)
    if unmatched and unmatched.group(1) != "all":
        return ConfigError(f"no host of {inventory} matches the pattern {unmatched.group(1)}")
    return InventoryError(f"{inventory} lists no hosts")
