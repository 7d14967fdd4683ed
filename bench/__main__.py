"""``make bench``: gpuprep beside what else could do it, in one run, on hosts of the sandbox.

Figures depend on the machine and on what else it does: only those of one run may be compared.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from bench import drift, first_install, noop, page, simulate
from bench.cost import BenchError, own_group

ROOT: Final = Path(__file__).resolve().parents[1]
PARTS: Final = ("noop", "drift", "install", "simulate")
RESULT: Final = ROOT / "docs/data/performance.json"
ENVIRONMENT: Final = ROOT / ".cache/bench"


def _numbers(_context: Any, _option: Any, value: str) -> list[int]:
    try:
        return sorted({int(part) for part in value.split(",")})
    except ValueError:
        raise click.BadParameter("numbers with commas between them, such as 1,10,100") from None


@click.command(help=__doc__)
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--hosts", default="1,10,100", callback=_numbers, help="Sizes of the no-op.")
@click.option("--drifted", default=100, type=click.IntRange(2), help="Hosts, of which one differs.")
@click.option("--rounds", default=5, type=click.IntRange(1), help="Of each contender that count.")
@click.option("--installs", default=5, type=click.IntRange(1), help="Rounds of first installs.")
@click.option("--only", multiple=True, help="Names of the no-op's contenders, or beginnings.")
@click.option("--simulated", default="100,1000,10000", callback=_numbers, help="Simulated sizes.")
@click.option("--other", type=click.Path(exists=True, path_type=Path), help="Another checkout.")
@click.option("--output", type=click.Path(path_type=Path), default=RESULT, help="The figures.")
@click.option("--page/--no-page", "write", default=True, help="Write docs/performance.md too.")
def main(  # noqa: PLR0913, PLR0917 - one per option
    parts: tuple[str, ...],
    hosts: list[int],
    drifted: int,
    rounds: int,
    installs: int,
    only: tuple[str, ...],
    simulated: list[int],
    other: Path | None,
    output: Path,
    write: bool,  # noqa: FBT001 - click's
) -> None:
    """Measure, write the figures, and the page from them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # hosts and processes go all the same
    environment = {name: os.environ[name] for name in ("PATH", "HOME")} | {"LC_ALL": "C.UTF-8"}
    environment["PYTHONPATH"] = str(ROOT)
    chosen = parts or PARTS
    found = json.loads(output.read_text()) if output.exists() else {}
    # Sockets below it must stay shorter than the system allows.
    folder = Path(tempfile.mkdtemp(prefix="gpb-"))
    try:
        with own_group("run") as group:
            if "install" in chosen:
                found["install"] = described(
                    first_install.run(installs, group, folder, environment, other)
                )
            if "noop" in chosen:
                found["noop"] = described(
                    noop.run(hosts, rounds, group, folder, environment, python=peers(), only=only)
                )
            if "drift" in chosen:
                found["drift"] = described(drift.run(drifted, rounds, group, folder, environment))
            if "simulate" in chosen:
                found["simulate"] = described(simulate.run(simulated, folder))
    except BenchError as error:
        sys.exit(f"bench: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=1) + "\n")
    if write:
        page.write(found, ROOT)
    click.echo(page.summary(found))


def described(result: Any) -> dict[str, Any]:
    """Return a result with what it was measured on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    release = platform.freedesktop_os_release()["PRETTY_NAME"]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores ({cpu}), {release}",
        "commit": commit,
        "versions": {
            "Python": platform.python_version(),
            "ansible-core": version("ansible-core"),
            "OpenSSH": ssh.split(",")[0].removeprefix("OpenSSH_"),
            **(
                {"pyinfra": _peer_version("pyinfra")}
                if (ENVIRONMENT / "bin/pyinfra").exists()
                else {}
            ),
        },
        "result": result,
    }


def peers() -> Path | None:
    """Return the Python of the environment that has the peers; made by ``make bench``."""
    python = ENVIRONMENT / "bin/python"
    if (ENVIRONMENT / "bin/pyinfra").exists():
        return python
    click.echo("bench: no pyinfra in .cache/bench; make bench installs it", err=True)
    return None


def _peer_version(name: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    python = str(ENVIRONMENT / "bin/python")
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=False
    ).stdout.strip()


if __name__ == "__main__":
    main()
