"""The demonstration: ``gpuprep apply`` on the demo fleet, then a check of what happened.

Run after ``python -m sandbox up --fleet demo``; works on bare hosts and on prepared ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from sandbox import hosts, oci
from sandbox.inventory import connection
from sandbox.paths import REPOSITORY, STATE, SandboxError
from sandbox.register import SUMMARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPORT: Final = REPOSITORY / ".demo" / "report.json"
# One host is to be refused; gpuprep.errors.ExitCode.SOME_HOSTS_FAILED.
EXPECTED_EXIT: Final = 3
# What a first installation would have left on the refused host.
_TRACES: Final = "ls -d /opt/conda /usr/local/cuda* /etc/apt/sources.list.d/*gpuprep* \
/etc/apt/sources.list.d/*nvidia* /etc/modprobe.d/*nvidia* /etc/profile.d/*gpuprep* 2> /dev/null; \
dpkg-query --show --showformat='${Package}\\n' '*nvidia*' '*cuda*' '*cudnn*' 2> /dev/null"
# Of a package, whichever package manager the host has.
_STATUS: Final = """
if command -v dpkg-query > /dev/null; then dpkg-query -W -f '${db:Status-Status}' "$1"
else rpm -q --qf installed "$1"; fi
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a prepared host must have: decisions of the resolver and the versions then found."""

    branch: str
    flavour: str
    cuda: str
    cudnn: str
    packages: tuple[str, ...] = ()  # beside what every host has


PREPARED: Final[Mapping[str, Prepared]] = {
    "gpu-a10": Prepared("580", "open", "13.0", "9"),
    "gpu-v100": Prepared("580", "proprietary", "12.9", "9.10.2"),
    "gpu-h100": Prepared("580", "open", "13.0", "9", ("nvidia-fabricmanager",)),
    "gpu-ol9": Prepared("580", "open", "13.0", "9", ("gcc-toolset-14",)),
    "gpu-ubuntu": Prepared("580", "open", "13.0", "9", ("nvidia-open-580",)),
}
REFUSED: Final[Mapping[str, str]] = {"gpu-runfile": "E_RUNFILE_PRESENT"}


def differences(report: Mapping[str, Any], exit_code: int) -> Iterator[str]:
    """Compare a report with what had to happen; nothing is left to say when it did."""
    if exit_code != EXPECTED_EXIT:
        yield f"the exit code is {exit_code}, expected {EXPECTED_EXIT}"
    found = report["hosts"]
    expected = {*PREPARED, *REFUSED}
    if set(found) != expected:
        yield f"the hosts are {', '.join(sorted(found))}, expected {', '.join(sorted(expected))}"
        return
    for name, code in REFUSED.items():
        yield from _unlike(name, found[name], {"state": "refused", "code": code, "changed": False})
    for name, wanted in PREPARED.items():
        yield from _unlike(name, found[name], {"state": "prepared", "code": None})
        yield from _unlike_stack(name, found[name], wanted)


def _unlike(name: str, host: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        if host[key] != value:
            why = f" ({host['error']})" if host["error"] else ""
            yield f"{name}: {key} is {host[key]!r}, expected {value!r}{why}"


def _unlike_stack(name: str, host: Mapping[str, Any], wanted: Prepared) -> Iterator[str]:
    stack, versions = host["stack"] or {}, host["versions"]
    yield from _unlike(
        f"{name}: stack",
        {"error": None, "branch": None, "flavour": None, **stack},
        {"branch": wanted.branch, "flavour": wanted.flavour},
    )
    starts = {"driver": wanted.branch, "cuda": wanted.cuda, "cudnn": wanted.cudnn}
    for component, start in starts.items():
        if not f"{versions.get(component)}.".startswith(f"{start}."):
            yield f"{name}: {component} is {versions.get(component)}, expected {start}"
    if "conda" not in versions:
        yield f"{name}: conda was not found"
    planned = {package["name"] for package in stack.get("packages", ())}
    for package in set(wanted.packages) - planned:
        yield f"{name}: {package} is not part of the stack"


def differences_on_hosts() -> Iterator[str]:
    """Ask the hosts themselves, past gpuprep, what the report could have got wrong."""
    for name, wanted in PREPARED.items():
        for package in wanted.packages:
            answer = hosts.run(name, ["sh", "-c", _STATUS, "sh", package])
            if answer.stdout != "installed":
                yield f"{name}: package {package} is {answer.stdout or 'not there'}"
    for name in REFUSED:
        traces = hosts.run(name, ["sh", "-c", _TRACES]).stdout.split()
        if traces:
            yield f"{name}: was to be left alone, but there is {' '.join(traces)}"


def inventory() -> Path:
    """Return the inventory of the demo's hosts: instances of a tenancy, listed by OCI's API.

    Raises:
        SandboxError: the fleet is not up.

    """
    shared = hosts.inventory_path("demo").parent / "group_vars" / "all.yml"
    if not hosts.running("demo") or not shared.is_file():
        raise SandboxError("the demo's hosts are not up: python -m sandbox up --fleet demo")
    listed = [host for host in json.loads(SUMMARY.read_text()) if host["tags"]["fleet"] == "demo"]
    variables = connection() | yaml.safe_load(shared.read_text())
    return Path(oci.ensure(listed, STATE, variables)["inventory"])


def main() -> int:
    """Apply, then check; the exit status is 0 when exactly the expected happened."""
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.unlink(missing_ok=True)
    command = ["apply", "--yes", "-i", str(inventory()), "--report", str(REPORT)]
    print("$ gpuprep", *command, flush=True)
    done = subprocess.run([sys.executable, "-m", "gpuprep", *command], check=False)
    if not REPORT.is_file():
        print(f"demo: gpuprep ended with exit code {done.returncode} and no report")
        return 1
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    wrong = [*differences(report, done.returncode), *differences_on_hosts()]
    for one in wrong:
        print(f"demo: {one}")
    if wrong:
        return 1
    changed = sum(host["changed"] for host in report["hosts"].values())
    print(
        f"demo: as expected: {len(PREPARED)} hosts prepared ({changed} changed in this run), "
        f"{len(REFUSED)} refused and left alone, in {report['seconds']:.0f} s; "
        f"report: {REPORT.relative_to(REPOSITORY)}"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SandboxError as problem:
        sys.exit(f"demo: {problem}")
