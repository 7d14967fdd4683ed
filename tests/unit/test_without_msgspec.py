"""The collection of Galaxy has ansible-core alone: all is the same there, only slower."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from planner_cases import bare, carried_out, observed

from gpuprep.catalog import load
from gpuprep.fleet.report import HostReport
from gpuprep.fleet.verdicts import report_of
from gpuprep.ladder.evaluate import evaluate
from gpuprep.model import CheckResult, HostFacts, Tier
from gpuprep.model.codec import DecodeError, decode
from gpuprep.model.plain import encoded, plain
from gpuprep.model.value import msgspec
from gpuprep.observe.observation import HostObservation, OfOneHost
from gpuprep.planner import plan_host, settings_from

WRONG: dict[type, list[Any]] = {
    HostReport: [{}, [], {"state": "fine"}, {"state": "drifted", "steps": [{"id": "x"}]}],
    HostFacts: [{"gpus": [], "os": "debian-12", "nvswitches": True}],
    HostObservation: [{"uid": 0}, {"files": {"/x": 3}}],
    CheckResult: [{"id": "x", "status": "passed", "detail": 3}],
}


def told() -> str:
    """Return what is made, written, read and refused, as a text."""
    settings = settings_from({})
    seen = [observed(bare())]
    seen.append(observed(carried_out(bare(), plan_host(seen[0], settings, load()))))
    reports = [
        report_of(plan_host(each, settings, load()), evaluate(each, None, Tier.QUICK), verb="plan")
        for each in seen
    ]
    faults = []
    for kind, documents in WRONG.items():
        for document in documents:
            try:
                faults.append(repr(decode(kind, document)))
            except DecodeError as error:
                faults.append(str(error))
    return json.dumps(
        {
            "reports": [plain(report) for report in reports],
            "texts": [json.loads(encoded(report)) for report in reports],
            "read": [decode(HostReport, plain(report)) == report for report in reports],
            "faults": faults,
            "fields": [field.name for field in dataclasses.fields(HostObservation)],
            "replaced": repr(dataclasses.replace(seen[0], **OfOneHost().by_name)),
            "catalog": repr(load()),
        },
        sort_keys=True,
    )


def test_it_makes_no_difference_but_time() -> None:
    assert msgspec is not None
    program = (
        "import sys; sys.modules['msgspec'] = None; import test_without_msgspec as test;"
        " assert test.msgspec is None; print(test.told())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    here, there = json.loads(told()), json.loads(done.stdout)
    assert here == there
    assert here["read"] == [True, True]
    assert all(": " in fault for fault in here["faults"])
