"""Who competes on hosts where nothing is to be done, and how each must prove that it looked.

All work on the same hosts, as the same login with the same sudo, towards the same state: what
gpuprep's plan wants. Plain tasks and pyinfra's operations are written from that plan.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from bench.cost import BenchError
from bench.rig import login_key, settings
from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.model import Tier
from gpuprep.observe.probe import source
from gpuprep.planner import observation_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bench.rig import Rig

ROOT: Final = Path(__file__).resolve().parents[1]
PARALLEL: Final = 50


@dataclass(frozen=True)
class Contender:
    """One way to find that nothing is to be done.

    Attributes:
        name: as shown.
        argv: program and arguments.
        gate: gives the names of hosts that it found to differ, from output and exit code; raises
            where it did not look at every host.
        most: largest number of hosts that it is tried with; it would take too long with more.
        cold: all connections are ended before each run.
        pool: whose connections it goes on with; empty = it keeps none.
        environment: variables beside the others.

    """

    name: str
    argv: tuple[str, ...]
    gate: Callable[[int, str], set[str]]
    most: int = 10_000
    cold: bool = False
    pool: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def all_of(rig: Rig, count: int, folder: Path, python: Path | None) -> tuple[Contender, ...]:
    """Return the contenders for so many hosts.

    Args:
        rig: the hosts.
        count: how many of them.
        folder: for their files.
        python: of an environment that has pyinfra, None without one.

    """
    inventory = rig.inventory(count, folder / "hosts.yml")
    chosen = rig.hosts[:count]
    control = folder / "ssh"
    control.mkdir(exist_ok=True)
    playbook = written_tasks(rig, folder)
    warm = (
        f"-o ControlMaster=auto -o ControlPersist=300s -o PreferredAuthentications=publickey"
        f" -o ControlPath={control}/a-%C"
    )
    ansible = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORKS": str(PARALLEL),
        "ANSIBLE_SSH_ARGS": warm,
    }
    playbooks = (sys.executable, "-m", "ansible", "playbook", "-i", str(inventory))
    found = [
        Contender(
            "ssh floor, warm",
            floor(rig, count, folder, str(control)),
            _floor_gate(count),
            pool="floor",
        ),
        Contender("ssh floor, cold", floor(rig, count, folder, "-"), _floor_gate(count), cold=True),
    ]
    for verb in ("apply", "plan", "status"):
        argv: tuple[str, ...] = (sys.executable, "-m", "gpuprep", verb, "-q")
        argv += ("-i", str(inventory), "-f", str(PARALLEL), "--output", "json")
        argv += ("--yes",) if verb == "apply" else ()
        found.append(Contender(f"gpuprep {verb}", argv, _ours(count), pool="gpuprep"))
    found.append(Contender("gpuprep apply, cold", found[2].argv, _ours(count), cold=True))
    for verb in ("plan", "status"):
        argv = next(one.argv for one in found if one.name == f"gpuprep {verb}")
        found.append(Contender(f"gpuprep {verb}, cold", argv, _ours(count), cold=True))
        # It keeps no connection, and would use one that ssh has left open.
        argv += ("--transport", "asyncssh")
        found.append(Contender(f"gpuprep {verb}, asyncssh", argv, _ours(count), cold=True))
    found.append(
        Contender(
            "ansible-playbook gpuprep.core.apply",
            (*playbooks, "gpuprep.core.apply"),
            _recap(count),
            pool="ansible",
            environment=ansible,
        )
    )
    found.append(
        Contender(
            "plain Ansible tasks", (*playbooks, str(playbook)), _recap(count), 10,
            pool="ansible", environment=ansible,
        )
    )  # fmt: skip
    if python is not None:
        deploy = written_deploy(rig, chosen, folder)
        pyinfra = (str(python.parent / "pyinfra"), "--parallel", str(PARALLEL), *deploy, "-y")
        found.append(Contender("pyinfra", pyinfra, _pyinfra(count), 100))
    return tuple(one for one in found if count <= one.most)


# --- the floor ------------------------------------------------------------------------------------


def floor(rig: Rig, count: int, folder: Path, control: str) -> tuple[str, ...]:
    """Return the command of the floor; its files are written."""
    wanted = settings(rig.variables)
    request = observation_request(load(), wanted)
    script = folder / "script"
    script.write_text(observe.script(request, probe=source(Tier.QUICK, {})))
    key, known = login_key(), rig.known_hosts
    document = {
        "hosts": [[one.address, one.port] for one in rig.hosts[:count]],
        "command": "sudo -H -S -n -u root /bin/sh -c "
        + shlex.quote("/usr/bin/python3 -S -E -"),
        "options": ["-i", key, "-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes",
                    "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes",
                    "-l", _user()],
    }  # fmt: skip
    described = folder / "floor.json"
    described.write_text(json.dumps(document))
    return (sys.executable, "-S", "-m", "bench.floor", str(described), str(script), str(PARALLEL),
            control)  # fmt: skip


def _user() -> str:
    from sandbox.images import LOGIN_USER  # noqa: PLC0415

    return str(LOGIN_USER)


def _floor_gate(count: int) -> Callable[[int, str], set[str]]:
    def gate(code: int, out: str) -> set[str]:
        if code or out.strip() != str(count):
            raise BenchError(f"the floor reached {out.strip() or 'none'} of {count} hosts")
        return set()

    return gate


# --- gpuprep --------------------------------------------------------------------------------------


def _ours(count: int) -> Callable[[int, str], set[str]]:
    def gate(code: int, out: str) -> set[str]:
        hosts = json.loads(out)["hosts"] if out.startswith("{") else {}
        states = {name: host["state"] for name, host in hosts.items()}
        lost = sorted({s for s in states.values() if s in {"unreachable", "failed", "refused"}})
        if len(hosts) != count or lost:
            raise BenchError(f"gpuprep told of {len(hosts)} of {count} hosts: {lost} (exit {code})")
        return {name for name, host in hosts.items() if host["steps"]}

    return gate


# --- Ansible --------------------------------------------------------------------------------------


def _recap(count: int) -> Callable[[int, str], set[str]]:
    line = re.compile(
        r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE
    )

    def gate(code: int, out: str) -> set[str]:
        rows = line.findall(out.partition("PLAY RECAP")[2])
        lost = [row[0] for row in rows if row[3] != "0" or row[4] != "0"]
        differing = {row[0] for row in rows if row[2] != "0"}
        if lost or (code and not differing):
            raise BenchError(f"ansible-playbook failed for {lost} (exit {code})")
        # gpuprep's playbook shows a line for each host that differs, and one for the others.
        told = set(re.findall(r"\bbench-\d{4}\b", out))
        if len(told) < min(count, 1):
            raise BenchError("ansible-playbook told of no host")
        return differing

    return gate


def _files(rig: Rig) -> dict[str, Any]:
    """Return the managed files that every contender can write, by path."""
    files = {file.path: file for part in rig.plan.roles.values() for file in part.state.files}
    return {
        path: file
        for path, file in files.items()
        if file.content is not None and not file.absent and "/conda" not in path
    }


def _packages(rig: Rig) -> list[str]:
    return sorted(
        {
            package.name
            for part in rig.plan.roles.values()
            for package in (*part.state.pre_install, *part.state.packages)
        }
    )


def _units(rig: Rig) -> list[str]:
    return sorted({unit for part in rig.plan.roles.values() for unit in part.state.units})


def written_tasks(rig: Rig, folder: Path) -> Path:
    """Write the playbook of plain tasks: the state as an Ansible user would write it."""
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.copy": {"dest": path, "content": file.content, "mode": file.mode}}
        for path, file in sorted(_files(rig).items())
    ]
    tasks.append({"ansible.builtin.apt": {"name": _packages(rig), "state": "present"}})
    tasks += [
        {"ansible.builtin.systemd_service": {"name": unit, "enabled": True, "state": "started"}}
        for unit in _units(rig)
    ]
    tasks.append({"ansible.builtin.file": {"path": "/opt/conda", "state": "directory"}})
    path = folder / "tasks.yml"
    path.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    return path


# --- pyinfra --------------------------------------------------------------------------------------


def written_deploy(rig: Rig, chosen: Iterable[Any], folder: Path) -> tuple[str, str]:
    """Write pyinfra's inventory and its operations."""
    data = {
        "ssh_user": _user(),
        "ssh_key": login_key(),
        "ssh_known_hosts_file": str(rig.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "_sudo": True,
    }
    hosts = [
        (one.name, {**data, "ssh_hostname": one.address, "ssh_port": one.port}) for one in chosen
    ]
    inventory = folder / "pyinfra_hosts.py"
    inventory.write_text(f"hosts = {hosts!r}\n")
    lines = ["import io", "from pyinfra.operations import apt, files, systemd"]
    lines += [
        f"files.put(src=io.StringIO({file.content!r}), dest={path!r}, mode={file.mode[1:]!r})"
        for path, file in sorted(_files(rig).items())
    ]
    lines.append(f"apt.packages(packages={_packages(rig)!r})")
    lines += [
        f"systemd.service(service={unit!r}, enabled=True, running=True)" for unit in _units(rig)
    ]
    lines.append("files.directory(path='/opt/conda')")
    deploy = folder / "deploy.py"
    deploy.write_text("\n".join(lines) + "\n")
    return str(inventory), str(deploy)


def _pyinfra(count: int) -> Callable[[int, str], set[str]]:
    def gate(code: int, out: str) -> set[str]:
        text = re.sub(r"\x1b\[[0-9;]*m", "", out)
        reached = set(re.findall(r"\[(bench-\d{4})\] Connected", text))
        if code or len(reached) != count:
            raise BenchError(f"pyinfra reached {len(reached)} of {count} hosts (exit {code})")
        changed = set(re.findall(r"\[(bench-\d{4})\] (?:Success|Change)", text))
        for most, names in re.findall(r" (\d+) \(((?:bench-\d{4}, )*(?:bench-\d{4}\b)?)", text):
            told = set(re.findall(r"bench-\d{4}\b", names))  # by --dry, as many as have room
            changed |= told | {f"unnamed-{number}" for number in range(int(most) - len(told))}
        return changed

    return gate
