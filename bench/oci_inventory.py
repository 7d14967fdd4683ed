"""What listing a tenancy costs: requests, wall time, CPU time, memory.

Runs ``ansible-inventory --list`` against the OCI API emulator, which is a process of its own, side
by side with a static file of the same content, with the plugin's own cache, and with an empty
inventory as the floor. Contenders take turns within each round, so that other load hits them
alike. Requests are exact; times depend on the machine: compare them within one run only.

    python -m bench.oci_inventory --hosts 10,100,1000 --rounds 5
    python -m bench.oci_inventory --hosts 1000 --peer ~/collections   # with oracle.oci installed
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from gpuprep.catalog import load
from gpuprep.run.environment import collections_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parents[1]
OUTPUT: Final = "list.json"
# The peer has no option for the service's address: this sends its requests to the emulator.
REDIRECT: Final = """
import importlib.abc, importlib.machinery, os, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "oci.regions":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            module.endpoint_for = lambda *a, **k: os.environ["BENCH_ENDPOINT"]
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Finder())
"""


@dataclass(frozen=True)
class Cost:
    """One run: seconds, seconds of CPU, peak memory in MB, requests, hosts listed."""

    wall: float
    cpu: float
    memory: float
    requests: int
    hosts: int


@dataclass(frozen=True)
class Contender:
    """A way to list the hosts: an inventory file and the environment it needs."""

    name: str
    file: Path
    environment: Mapping[str, str]
    hosts: int


def main() -> None:
    """Measure and print; the last line of each size is the comparison that counts."""
    options = arguments()
    for count in (int(text) for text in options.hosts.split(",")):
        with tempfile.TemporaryDirectory(prefix="gpuprep-bench-") as folder:
            results = measure(Path(folder), count, options)
        report(count, results, options)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", default="10,100,1000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds")
    parser.add_argument("--rate", type=float, help="requests per second before 429")
    parser.add_argument("--peer", type=Path, help="collections path that has oracle.oci")
    parser.add_argument("--no-static", action="store_true", help="static files of 10,000 are slow")
    parser.add_argument("--json", type=Path, help="also write all runs here")
    return parser.parse_args()


def measure(folder: Path, count: int, options: argparse.Namespace) -> dict[str, list[Cost]]:
    """Run all contenders in turns, after a round that does not count."""
    state = folder / "oci"
    with emulator(state, count, options) as url:
        contenders = list(prepare(folder, state, url, count, options))
        results: dict[str, list[Cost]] = {one.name: [] for one in contenders}
        for number in range(options.rounds + 1):
            for one in contenders:
                cost = run(one, folder, url)
                if cost.hosts != one.hosts:
                    sys.exit(f"{one.name} lists {cost.hosts} hosts instead of {one.hosts}")
                if number:
                    results[one.name].append(cost)
    return results


class emulator:  # noqa: N801 - reads as a verb where it is used
    """The emulator as a process, for the length of a ``with``."""

    def __init__(self, state: Path, count: int, options: argparse.Namespace) -> None:
        shape = max(load().shapes.values(), key=lambda one: (one.vendor == "nvidia", one.count))
        rate = ["--rate", str(options.rate)] if options.rate else []
        self._said = state / "endpoint.json"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.oci", "serve", "--fleet", str(count), "--shape",
             shape.name, "--latency", str(options.latency), "--state", str(state), *rate],
            cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> str:
        for _ in range(600):
            if self._said.exists():
                return str(json.loads(self._said.read_text())["url"])
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        self._process.kill()
        sys.exit("the emulator does not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def prepare(
    folder: Path, state: Path, url: str, count: int, options: argparse.Namespace
) -> Iterator[Contender]:
    """Write an inventory file for each contender."""
    config = state / "config"
    basic: dict[str, Any] = {
        "plugin": "gpuprep.core.oci",
        "config_file": str(config),
        "service_endpoint": url,
    }
    ours = {"ANSIBLE_COLLECTIONS_PATH": str(collections_root())}
    empty = folder / "empty.yml"
    empty.write_text("all: {}\n")
    yield Contender("empty inventory", empty, {}, 0)
    gpuprep = Contender("gpuprep", written(folder / "gpuprep.oci.yml", basic), ours, count)
    if not options.no_static:
        run(gpuprep, folder, url)
        yield Contender("static file", static_file(folder), {}, count)
    yield gpuprep
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile",
             "cache_connection": str(folder / "cache")}  # fmt: skip
    cached = written(folder / "cached.oci.yml", {**basic, **cache})
    yield Contender("gpuprep, cached", cached, ours, count)
    if options.peer:
        yield peer(folder, config, url, count, options.peer)


def written(path: Path, content: Mapping[str, Any]) -> Path:
    """Write an inventory file."""
    path.write_text(yaml.safe_dump(dict(content)))
    return path


def static_file(folder: Path) -> Path:
    """Make a static YAML inventory of what ansible-inventory has just written."""
    groups = json.loads((folder / OUTPUT).read_text())
    hosts = groups.pop("_meta")["hostvars"]
    content = {
        name: {kind: dict.fromkeys(members) for kind, members in group.items()}
        for name, group in groups.items()
    }
    content["all"]["hosts"] = hosts
    path = folder / "static.yml"
    with path.open("w") as file:
        yaml.dump(content, file, Dumper=yaml.CSafeDumper)
    return path


def peer(folder: Path, config: Path, url: str, count: int, collections: Path) -> Contender:
    """Prepare the official plugin, unchanged, for the same hosts."""
    (folder / "redirect").mkdir()
    (folder / "redirect" / "sitecustomize.py").write_text(REDIRECT)
    content = {"plugin": "oracle.oci.oci", "config_file": str(config),
               "hostname_format": "display_name", "primary_vnic_only": True}  # fmt: skip
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(collections.expanduser().absolute()),
        "PYTHONPATH": str(folder / "redirect"),
        "BENCH_ENDPOINT": url,
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }
    return Contender(
        "oracle.oci.oci", written(folder / "peer.oci.yml", content), environment, count
    )


def run(one: Contender, folder: Path, url: str) -> Cost:
    """List once; the kernel counts the CPU time and memory of the child."""
    stats(url)
    out = folder / OUTPUT
    command = [sys.executable, "-m", "ansible", "inventory", "-i", str(one.file), "--list",
               "--output", str(out)]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8",
                   **one.environment}  # fmt: skip
    with (folder / "errors").open("w+") as errors:
        started = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # waited for here, not by Popen
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"{one.name} failed:\n{errors.read()}")
    found = json.loads(out.read_text()).get("_meta", {}).get("hostvars", {})
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss / 1024,
        requests=stats(url)["total"],
        hosts=len(found),
    )


def stats(url: str) -> dict[str, Any]:
    """Read the emulator's counters and start them anew."""
    with urllib.request.urlopen(f"{url}/_stats") as answer:  # noqa: S310 - loopback
        return dict(json.loads(answer.read()))


def report(count: int, results: Mapping[str, list[Cost]], options: argparse.Namespace) -> None:
    """Print medians and write all runs."""
    click.echo(f"\n{count} hosts, {options.latency:g} ms latency, median of {options.rounds}, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    click.echo(f"{'':<18}{'requests':>9}{'wall s':>9}{'CPU s':>9}{'MB':>7}")
    for name, costs in results.items():
        wall, cpu, memory = (
            statistics.median(getattr(cost, key) for cost in costs)
            for key in ("wall", "cpu", "memory")
        )
        click.echo(f"{name:<18}{costs[-1].requests:>9}{wall:>9.2f}{cpu:>9.2f}{memory:>7.0f}")
    if options.json:
        rows = {name: [asdict(cost) for cost in costs] for name, costs in results.items()}
        options.json.write_text(json.dumps({"hosts": count, "runs": rows}, indent=1))


if __name__ == "__main__":
    main()
