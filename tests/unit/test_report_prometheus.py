"""Prometheus' own parser reads what ``report -f prometheus`` writes."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from report_cases import fleet

from gpuprep.model import HostStatus
from gpuprep.report.formats import render

NASTY = 'a\\b"c\nd\r\x00\u2028e}, {f="g"} 1'


def one(**changes: Any) -> dict[str, Any]:
    """Give an applied fleet of one host, changed."""
    result = fleet(1) | {"verb": "apply", "check": False}
    next(iter(result["hosts"].values())).update({"name": "gpu-1"} | changes)
    return result


def samples(result: dict[str, Any]) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Give labels and values by metric, as Prometheus reads them."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(render(result, "prometheus")):
        assert family.type == "gauge"
        assert family.documentation
        assert family.name not in found, "the series of a metric stand together"
        found[family.name] = [(sample.labels, sample.value) for sample in family.samples]
    return found


def test_a_host_is_in_one_state() -> None:
    states = samples(one(state="refused"))["gpuprep_host_state"]
    assert {labels["state"] for labels, _ in states} == set(HostStatus)
    assert [labels for labels, value in states if value] == [{"host": "gpu-1", "state": "refused"}]


def test_checks_are_counted_and_failures_named() -> None:
    kinds = ["passed", "passed", "failed", "skipped"]
    checks = [{"id": f"c.{i}", "status": kind, "detail": ""} for i, kind in enumerate(kinds)]
    found = samples(one(checks=checks))
    counts = {labels["status"]: value for labels, value in found["gpuprep_host_checks"]}
    assert counts == {"passed": 2, "failed": 1, "skipped": 1, "warned": 0}
    assert found["gpuprep_host_check_failed"] == [({"host": "gpu-1", "check": "c.2"}, 1)]


def test_versions_are_labels() -> None:
    found = samples(one(versions={"driver": "580.95.05", "cuda": "13.0"}))
    versions = {
        labels["component"]: labels["version"] for labels, _ in found["gpuprep_host_version_info"]
    }
    assert versions == {"driver": "580.95.05", "cuda": "13.0"}


def test_the_time_of_the_proof_is_when_the_run_ended() -> None:
    result = one(state="ready") | {"started": "1970-01-01T01:00:00+00:00", "seconds": 12.5}
    proven = samples(result)["gpuprep_host_proven_timestamp_seconds"]
    assert proven == [({"host": "gpu-1"}, 3612.5)]


@pytest.mark.parametrize(
    "changes",
    [{"verb": "plan"}, {"check": True}, {"started": ""}, {"started": "yesterday"}],
    ids=lambda changes: "-".join(map(str, *changes.items())),
)
def test_what_proves_nothing_tells_no_proof(changes: dict[str, Any]) -> None:
    assert "gpuprep_host_proven_timestamp_seconds" not in samples(one(state="ready") | changes)


def test_a_host_that_is_not_ready_is_not_proven() -> None:
    assert "gpuprep_host_proven_timestamp_seconds" not in samples(one(state="prepared"))


def test_no_text_breaks_out_of_its_label() -> None:
    found = samples(one(name=NASTY, versions={"driver": NASTY}))
    ((labels, value),) = found["gpuprep_host_version_info"]
    assert (labels, value) == ({"host": NASTY, "component": "driver", "version": NASTY}, 1)


def test_what_no_file_can_hold_is_replaced() -> None:
    text = render(one(name="a\ud800b"), "prometheus")
    assert 'host="a?b"' in text
    text.encode()


def test_a_thousand_hosts_have_one_series_each() -> None:
    found = samples(fleet(1000))
    assert len(found["gpuprep_host_reboot_required"]) == 1000
