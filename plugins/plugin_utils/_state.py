"""Private: what the plays of one run tell each other, in Ansible's own temporary directory.

The directory belongs to one ansible-playbook process, is private to its user and is removed when
that process ends, so plans never reach a log, a fact cache or a later run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.module_utils.common.text.converters import to_text


def state_directory() -> Path:
    """Return the run's directory, made when it is not there."""
    path = Path(to_text(C.DEFAULT_LOCAL_TMP)) / "gpuprep"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write(name: str, document: Any) -> None:
    """Store a JSON document under a name."""
    (state_directory() / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def read(name: str) -> Any:
    """Return a stored document, None when there is none."""
    path = state_directory() / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def plan_name(host: str) -> str:
    """Return the name under which the plan of a host is stored."""
    return "plan-" + host.encode().hex()


def write_report(directory: str, name: str, document: Any) -> None:
    """Write a document for the caller of the run (``gpuprep_run_dir``), readable by its user."""
    path = Path(directory) / f"{name}.json"
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(document, default=str), encoding="utf-8")
    part.replace(path)  # a run that is stopped leaves the whole document or none
