"""What a first installation costs beside the bare package commands that do the same.

Both begin on the same snapshot of a bare host, in turns. The bare commands come from gpuprep's own
plan, so that both install the same; gpuprep's proof is measured by itself, since commands prove
nothing. Afterwards gpuprep must find every package, and conda, as planned on both.

    python -m bench install --rounds 5
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from bench import rig
from bench.cost import BenchError, Cost, measure
from sandbox import fleet, hosts, services
from sandbox.inventory import ssh_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gpuprep.planner import HostPlan

NAME: Final = "bench-install"
SNAPSHOT: Final = "bench-bare"
INSTALLS: Final = ("package", "installation")  # kinds of steps that both contenders take


@dataclass(frozen=True)
class Host:
    """The host, and what reaches it: variables of the sandbox, its inventory."""

    variables: Mapping[str, Any]
    inventory: Path


def run(
    rounds: int,
    group: Path,
    folder: Path,
    environment: Mapping[str, str],
    other: Path | None = None,
) -> Any:
    """Return the costs of each contender by round; the host is gone afterwards.

    Args:
        rounds: how often.
        group: control group of what runs here.
        folder: for files.
        environment: of the contenders.
        other: another checkout of gpuprep, to compare with.

    """
    host = prepared(folder)
    script = bare_script(look(host))
    contenders = ("bare", "gpuprep", *(["other"] if other else []))
    costs: dict[str, list[Any]] = {name: [] for name in (*contenders, "proof")}
    counts: dict[str, Any] = {}
    try:
        for number in range(rounds):
            for name in contenders if number % 2 == 0 else contenders[::-1]:
                target = anew()
                if name == "bare":
                    cost = bare(script, group, target, folder, environment)
                elif name == "other":
                    theirs = {**environment, "PYTHONPATH": str(other)}
                    cost, counts[name] = ours(host, group, target, folder, theirs)
                else:
                    cost, counts[name] = ours(host, group, target, folder, environment)
                    proof = prove(host, group, target, folder, environment)
                    costs["proof"].append(asdict(proof))
                    hosts.snapshot(NAME, rig.SNAPSHOT)  # the no-op begins where this ends
                check(look(host), name)
                costs[name].append(asdict(cost))
                print(f"{name:<8} {cost}", file=sys.stderr, flush=True)  # noqa: T201
    finally:
        hosts.stop(NAME)
    return {"costs": costs, "counts": counts}


def prepared(folder: Path) -> Host:
    """Start the host and keep it as it is: bare."""
    (template,) = fleet.load("bench-1")
    spec = fleet.HostSpec.from_dict(
        NAME, {"image": template.image, "gpus": list(template.gpus), "shape": template.shape}
    )
    started = hosts.start_all([spec], "bench")
    variables = services.start(started)
    hosts.snapshot(NAME, SNAPSHOT)
    rig.keep_bare(NAME, {**variables, "oci_shape": spec.shape})
    inventory = hosts.write_inventory(started, variables, folder / "hosts.yml")
    return Host({**variables, "oci_shape": spec.shape}, inventory)


def anew() -> Path:
    """Bring the host back to bare; return the control group of its present container."""
    host = hosts.restore(NAME, SNAPSHOT)
    hosts.wait_ready(NAME)
    return rig.group_of_host(host)


def look(host: Host) -> HostPlan:
    """Return the plan of the host as it is now, made without Ansible."""
    return rig.look(NAME, host.variables)


def bare_script(plan: HostPlan) -> str:
    """Return the shell commands that install what a plan installs, without looking first."""
    states = [part.state for part in plan.roles.values()]
    lines = ["set -eu", "export DEBIAN_FRONTEND=noninteractive"]
    for path, file in {file.path: file for state in states for file in state.files}.items():
        lines += list(_written(path, file))
    install = "apt-get install -qq -y --no-install-recommends"
    lines.append("apt-get update -qq")
    for state in states:
        if state.pre_install:
            lines.append(f"{install} {_words(state.pre_install)}")
    every = [package for state in states for package in state.packages]
    lines.append(f"{install} {_words(every)}")
    holds = sorted({name for state in states for name in state.hold})
    patterns = "|".join(name.replace("*", ".*") for name in holds if name[0] != "!")
    lines.append(
        "dpkg-query -W -f '${Package}\\n'"
        f" | grep -Ex '{patterns}' | xargs apt-mark hold > /dev/null"
    )
    for conda in (state.conda for state in states if state.conda):
        one = conda.installer
        lines += [
            f"curl -fsS -o /root/installer.sh {shlex.quote(one.url)}",
            f"echo '{one.sha256}  /root/installer.sh' | sha256sum -c --quiet",
            f"bash /root/installer.sh -b -p {conda.prefix} > /dev/null",
        ]
    lines.append("ldconfig")
    return "\n".join(lines) + "\n"


def _written(path: str, file: Any) -> Iterator[str]:
    if file.absent or "conda-meta" in path or path.endswith(".condarc"):
        return
    yield f"install -d {shlex.quote(os.path.dirname(path))}"  # noqa: PTH120
    if file.key:
        yield f"curl -fsS -o {shlex.quote(path)} {shlex.quote(file.key.url)}"
        return
    yield f"cat > {shlex.quote(path)} <<'END_OF_FILE'\n{file.content}END_OF_FILE"


def _words(packages: Any) -> str:
    words = (f"{one.name}={one.version}" if one.version else one.name for one in packages)
    return " ".join(shlex.quote(word) for word in words)


def bare(
    script: str, group: Path, target: Path, folder: Path, environment: Mapping[str, str]
) -> Cost:
    """Run the commands in one ssh session."""
    argv = ssh_command(hosts.find(NAME), ["sudo", "-n", "bash", "-s"])
    code, cost = measure(
        argv, group, [target], environment=environment, output=folder / "bare.out", stdin=script
    )
    if code:
        raise BenchError(f"the bare commands failed: {(folder / 'bare.err').read_text()[-2000:]}")
    return cost


def ours(
    host: Host,
    group: Path,
    target: Path,
    folder: Path,
    environment: Mapping[str, str],
) -> tuple[Cost, dict[str, int]]:
    """Run ``gpuprep apply``, of the checkout that the environment names."""
    argv = [sys.executable, "-m", "gpuprep", "apply", "-q", "--yes", "-i", str(host.inventory)]
    argv += ["--output", "json"]
    out = folder / "apply.out"
    code, cost = measure(argv, group, [target], environment=environment, output=out)
    if not out.read_text().startswith("{"):
        raise BenchError(f"gpuprep apply: {out.with_suffix('.err').read_text()[-2000:]}")
    result = json.loads(out.read_text())
    state = result["hosts"][NAME]["state"]
    if code or state != "prepared":
        raise BenchError(f"gpuprep apply: {state}, {result['hosts'][NAME]['error']}")
    return cost, result["counts"]


def prove(
    host: Host, group: Path, target: Path, folder: Path, environment: Mapping[str, str]
) -> Cost:
    """Run the proof that apply ended with once more, by itself."""
    argv = [sys.executable, "-m", "gpuprep", "verify", "-q", "-i", str(host.inventory)]
    argv += ["--tier", "full", "--output", "json"]
    out = folder / "verify.out"
    return measure(argv, group, [target], environment=environment, output=out)[1]


def check(plan: HostPlan, name: str) -> None:
    """See that everything is installed as planned.

    Raises:
        BenchError: with what is missing.

    """
    left = [step.id for step in plan.steps if step.kind in INSTALLS]
    if name == "bare":  # it leaves no note of the installer, which counts as another's
        left = [step for step in left if "installation" not in step]
    if left:
        raise BenchError(f"after {name}, still to be installed: {', '.join(left)}")
