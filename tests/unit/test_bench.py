"""The harness of ``make bench``: it counts what runs, leaves nothing, and believes no contender."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from bench import contenders, cost, page, simulate  # noqa: E402 - found once the root is

needs_groups = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(cost.ROOT, os.W_OK), reason="needs control groups"
)
BURN = "import time; end = time.process_time() + {0}\nwhile time.process_time() < end: pass"


@needs_groups
def test_what_a_command_starts_is_counted_and_ended(tmp_path: Path) -> None:
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN.format(0.3)!r}])"
    script += "\nsubprocess.Popen(['sleep', '600'])"
    with cost.own_group("test") as group:
        code, spent = cost.measure(
            [sys.executable, "-c", script], group, [], environment={}, output=tmp_path / "out"
        )
        (left,) = cost.members(group)
        assert code == 0
        assert spent.controller >= 0.3  # its child's, too
        assert spent.target == 0
    for _ in range(100):
        if not Path(f"/proc/{left}").exists() or b"Z" in Path(f"/proc/{left}/stat").read_bytes():
            break
        time.sleep(0.05)
    assert not group.exists()


@needs_groups
def test_a_contender_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with cost.own_group("slow") as group, pytest.raises(cost.BenchError, match="too long"):
        cost.measure(
            ["sleep", "60"], group, [], environment=os.environ, output=tmp_path / "o", timeout=0.2
        )


def host(state: str = "converged", *steps: str) -> dict[str, Any]:
    return {"state": state, "steps": [{"id": step} for step in steps]}


def test_only_a_contender_that_told_of_every_host_counts() -> None:
    names = [f"bench-{number:04d}" for number in range(2)]
    ours = contenders._ours(2)
    assert ours(0, json.dumps({"hosts": {name: host() for name in names}})) == set()
    told = {"hosts": {names[0]: host(), names[1]: host("drifted", "x")}}
    assert ours(2, json.dumps(told)) == {names[1]}
    for lost in ({"hosts": {names[0]: host()}}, {"hosts": {n: host("unreachable") for n in names}}):
        with pytest.raises(cost.BenchError):
            ours(3, json.dumps(lost))
    with pytest.raises(cost.BenchError):
        contenders._floor_gate(2)(0, "1\n")
    recap = contenders._recap(2)
    line = "{} : ok=3 changed={} unreachable={} failed=0"
    text = "PLAY RECAP\n" + "\n".join(line.format(name, 0, 0) for name in names)
    assert recap(0, text) == set()
    assert recap(0, text.replace("changed=0", "changed=1", 1)) == {names[0]}
    with pytest.raises(cost.BenchError):
        recap(4, text.replace("unreachable=0", "unreachable=1"))


def test_a_simulated_fleet_is_decided_as_its_hosts_are(tmp_path: Path) -> None:
    found = simulate.measure(40, tmp_path)
    hosts = json.loads((tmp_path / "report.json").read_text())["hosts"]
    assert [name for name, one in hosts.items() if one["state"] == "unreachable"] == ["gpu-00003"]
    assert hosts["gpu-00001"]["steps"]  # its file is gone
    assert not hosts["gpu-00004"]["steps"]
    assert (found["hosts"], (tmp_path / "report.html").stat().st_size > 1000) == (40, True)


def test_the_page_shows_medians_and_ratios_to_the_floor() -> None:
    def run(wall: float, own: float = 1.0) -> dict[str, float]:
        return {"wall": wall, "controller": own, "target": 2.0, "memory": 60, "load": 3.0}

    sizes = [
        {
            "hosts": 10,
            "costs": {
                page.FLOOR: [run(2), run(1), run(9)],
                "gpuprep apply": [run(3), run(4), run(1)],
            },
        }
    ]
    install = {
        "costs": {"bare": [run(10)], "gpuprep": [run(25)], "proof": [run(5)]},
        "counts": {"gpuprep": {"round_trips": 14, "observations": 2, "host_tasks": 30}},
    }
    of = {"date": "2026-01-01", "commit": "abc", "machine": "m", "versions": {"Python": "3"}}
    text = page.summary({"noop": {**of, "result": sizes}, "install": {**of, "result": install}})
    assert "| gpuprep apply | 3.00 | 1.5 |" in text
    assert "| gpuprep apply without the proof | 20.0 | +10.0 |" in text
    assert "14 round trips, 2 of them observations" in text
    assert "load average 3 to 3" in page._measured({**of, "result": sizes})
