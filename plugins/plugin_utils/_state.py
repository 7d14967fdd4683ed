"""Private: what the plays of one run tell each other, in Ansible's own temporary directory.

The directory belongs to one ansible-playbook process, is private to its user and is removed when
that process ends, so plans never reach a log, a fact cache or a later run. A run of the command
line or the API has a directory of its own for it, and removes it likewise. What is kept of a host
is in files of its own: a task of one host reads nothing of the others.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.module_utils.common.text.converters import to_text
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.model.plain import encoded

OWNER = "owner"  # file that tells whose directory it is
HANDED_OVER = "GPUPREP_STATE_DIR"  # set by the program that starts a run in several parts
STOP = "stop"  # name under which is stored why no further wave may begin


def state_directory() -> Path:
    """Return the run's directory, made when it is not there."""
    if given := os.environ.get(HANDED_OVER):
        path = Path(given)  # in the directory of the run, which outlives each of its processes
        path.mkdir(mode=0o700, exist_ok=True)
        return path
    path = Path(to_text(C.DEFAULT_LOCAL_TMP)) / "gpuprep"
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / OWNER).write_text(_owner(), encoding="utf-8")
        _remove_abandoned(path)
    return path


def started(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _owner() -> str:
    """Return what tells this ansible-playbook from all others: boot, process and its start."""
    pid = os.getpid() if multiprocessing.parent_process() is None else os.getppid()
    return f"{_boot()} {pid} {started(pid)}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _remove_abandoned(own: Path) -> None:
    """Remove what runs left in Ansible's directory that were killed: their plans may hold logins."""
    for owner in own.parent.parent.glob(f"*/{own.name}/{OWNER}"):
        with suppress(OSError, ValueError):
            if owner.parent == own or owner.lstat().st_uid != os.geteuid():
                continue
            boot, pid, since = owner.read_text(encoding="utf-8").split(" ")
            if boot != _boot() or started(int(pid)) != since:
                shutil.rmtree(owner.parent, ignore_errors=True)


def write(name: str, document: Any) -> None:
    """Store a JSON document under a name."""
    (state_directory() / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def read(name: str) -> Any:
    """Return a stored document, None when there is none."""
    path = state_directory() / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def plan_name(host: str) -> str:
    """Return the name under which the plan of a host is stored: what its roles carry out."""
    return _name("plan", host)


def part_name(role: str, host: str) -> str:
    """Return the name under which a role's part of a host's plan is stored, as its tasks need it."""
    return _name(f"part-{role}", host)


def others_on(machine: str, host: str) -> list[str]:
    """Note that a host is a machine; return the other names that this machine has in this run."""
    folder = state_directory() / f"machine-{machine}"
    folder.mkdir(mode=0o700, exist_ok=True)
    own = digest_of(host)
    part = folder / f".{own}"
    part.write_bytes(_bytes(host))
    part.replace(folder / own)  # whole before anybody reads it
    others = (path for path in folder.glob("[!.]*") if path.name != own)
    return sorted(path.read_bytes().decode("utf-8", "surrogatepass") for path in others)


def work_name(host: str) -> str:
    """Return the name under which is stored what the plays do with a host."""
    return _name("work", host)


def verdict_name(host: str) -> str:
    """Return the name under which the proof's verdict on a host is stored."""
    return _name("verdict", host)


def _name(kind: str, host: str) -> str:
    return f"{kind}-{digest_of(host)}"


def digest_of(host: str) -> str:
    """Return what stands for a host in the names of files, which its own name may be too long for."""
    return hashlib.sha256(_bytes(host)).hexdigest()


def _bytes(host: str) -> bytes:
    return host.encode("utf-8", "surrogatepass")  # JSON can say lone surrogates


def count_command(host: str, purpose: str, prefix: str) -> None:
    """Write down that a command ran on a host as root; for the caller of the run, if there is one.

    Args:
        host: inventory name.
        purpose: what the command was for, one word.
        prefix: of the file's name.

    """
    directory = Path(os.environ.get("GPUPREP_RUN_DIR") or state_directory())
    line = f"{purpose}\n".encode()
    path = directory / f"{prefix}{digest_of(host)}"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line)  # one write: other processes append to the same file
    finally:
        os.close(handle)


def write_report(directory: str, name: str, document: Any) -> None:
    """Write a document for the caller of the run (``gpuprep_run_dir``), readable by its user."""
    path = Path(directory) / f"{name}.json"
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_bytes(encoded(document))
    part.replace(path)  # a run that is stopped leaves the whole document or none
