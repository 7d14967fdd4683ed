"""Prove a real GPU: run the ladder on a machine, and keep what it showed.

``python -m tools.gpu_proof`` does all of it here. Where the GPU is on a machine on which
nothing can be installed, three steps do the same: ``--script FILE`` writes one file that needs
nothing but Python 3.6; run there, it prints its evidence; ``--evidence FILE`` judges it here.

What is kept is ``docs/proof/<gpu>-<date>.json`` (a report like any other, with the evidence in it)
and the same as a page. Nothing is claimed about a GPU that such a file does not show.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.errors import ConfigError, GpuprepError
from gpuprep.ladder.answers import items, mapping
from gpuprep.ladder.evaluate import evaluate, state_of
from gpuprep.ladder.expect import expectation
from gpuprep.model import CheckStatus, FleetResult, HostResult, Settings, Tier
from gpuprep.observe.probe import source
from gpuprep.observe.reading import decode_observation, read_json
from gpuprep.planner.plan import observation_request, versions_of
from gpuprep.report.formats import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path("docs/proof")
LIMIT = 1800  # seconds for the whole ladder

_OPTIONS = """
_gpuprep_ladder = probe


def probe(tier, options):
    return _gpuprep_ladder(tier, dict(json.loads({options!r}), **options))
"""


def script(tier: Tier, options: Mapping[str, Any] | None = None) -> str:
    """Return a program that observes and probes the machine it runs on and prints the evidence.

    Args:
        tier: what to try.
        options: of the probe (``gpuprep.observe.probe.source``); JSON types.

    """
    capabilities = {pci_id: gpu.cc for pci_id, gpu in load().gpus.items()}
    probe = source(tier, capabilities) + _OPTIONS.format(options=json.dumps(dict(options or {})))
    return observe.script(observation_request(load(), Settings()), probe, tier)


def judge(evidence: Mapping[str, Any], when: datetime) -> FleetResult:
    """Climb the ladder on evidence.

    Raises:
        ConfigError: the evidence holds no answer of the probe.
        ObservationError: it is no observation.

    """
    observation = decode_observation(dict(evidence))
    probe = observation.probe
    if probe.get("tier") not in list(Tier):
        raise ConfigError(
            "the evidence holds no answer of the probe; was the script run to its end?"
        )
    expected = expectation(load(), observation.package_manager.family)
    checks = evaluate(observation, None, Tier(probe["tier"]), expected)
    name = gpu_name(evidence)
    host = HostResult(
        name,
        state_of(checks, plan_is_empty=True),
        checks=checks,
        facts=observe.facts(observation),
        versions=versions_of(observation),
    )
    return FleetResult(
        "verify",
        {name: host},
        started=when.isoformat(timespec="seconds"),
        seconds=float(evidence.get("seconds") or 0) + float(probe.get("seconds") or 0),
        counts={"round_trips": 1},
    )


def gpu_name(evidence: Mapping[str, Any]) -> str:
    """Return the GPUs' names by the driver, for a file name: ``8x-nvidia-h100-80gb-hbm3``."""
    gpus = items(mapping(mapping(evidence.get("probe")).get("nvml")), "gpus")
    if not gpus:
        return "no-gpu"
    word = re.sub(r"[^a-z0-9]+", "-", str(gpus[0].get("name")).lower()).strip("-")
    return f"{len(gpus)}x-{word}"


def keep(evidence: Mapping[str, Any], folder: Path, when: datetime) -> tuple[Path, FleetResult]:
    """Judge evidence and store report and page. Gives the report's path and the result."""
    result = judge(evidence, when)
    report = {**result.to_dict(), "evidence": evidence}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{gpu_name(evidence)}-{when:%Y-%m-%d}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".html").write_text(render(report, "html"), encoding="utf-8")
    return path, result


def run_here(tier: Tier, options: Mapping[str, Any]) -> dict[str, Any]:
    """Run the script on this machine, as it would run on another.

    Raises:
        ConfigError: it ended without evidence; with what it said.

    """
    done = subprocess.run(
        ["python3", "-S", "-E", "-"],
        input=script(tier, options),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    try:
        return read_json(done.stdout)
    except observe.ObservationError as error:
        raise ConfigError(f"{error}; {done.stderr.strip()[-1000:]}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the GPU is proven, 5 when it is not, 64 for wrong input."""
    parser = argparse.ArgumentParser(
        prog="gpu-proof", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tier", type=Tier, choices=list(Tier), default=Tier.BURN_IN)
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PATH",
        help="interpreter of an environment with a framework; repeatable",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--script", type=Path, metavar="FILE", help="only write the script")
    parser.add_argument("--evidence", type=Path, metavar="FILE", help="judge what a script printed")
    setting = parser.parse_args(arguments)
    try:
        options = {"pythons": setting.python}
        if setting.script:
            setting.script.write_text(script(setting.tier, options), encoding="utf-8")
            return 0
        if setting.evidence:
            evidence = read_json(setting.evidence.read_text(encoding="utf-8"))
            when = datetime.fromtimestamp(setting.evidence.stat().st_mtime, UTC)
        else:
            evidence, when = run_here(setting.tier, options), datetime.now(UTC)
        path, result = keep(evidence, setting.folder, when)
    except (GpuprepError, OSError, observe.ObservationError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"gpu-proof: {error}\n")
        return 64
    return _tell(path, result)


def _tell(path: Path, result: FleetResult) -> int:
    """Say what was found, rung by rung."""
    (host,) = result.hosts.values()
    for check in host.checks:
        sys.stdout.write(f"{check.status:8}{check.id:22}{check.detail[:160]}\n")
        if check.status is CheckStatus.FAILED and check.evidence:
            sys.stdout.write(
                "".join(f"        {line}\n" for line in check.evidence.splitlines()[:20])
            )
    sys.stdout.write(f"{host.name}: {host.state}; kept in {path}\n")
    return 0 if host.state == "ready" else 5


if __name__ == "__main__":
    sys.exit(main())
