"""The plan that is made is the plan that is carried out, and what it costs is counted truly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus

if TYPE_CHECKING:
    from lab import Fresh, Lab

pytestmark = pytest.mark.sandbox

CONDA = {"gpuprep_components": ["conda"]}


def test_a_host_is_observed_twice_when_it_differs_and_once_when_it_does_not(
    lab: Lab, fresh: Fresh
) -> None:
    name = fresh(image="debian-12")
    before = lab.commands(name)
    first = lab.apply(name, **CONDA)
    assert first.exit_code is ExitCode.OK, first.hosts[name].error
    assert first.counts["observations"] == 2
    assert lab.commands(name) - before == first.counts["round_trips"]
    before = lab.commands(name)
    second = lab.apply(name, **CONDA)
    assert (second.exit_code, second.changed) == (ExitCode.OK, False)
    assert (second.counts["observations"], second.counts["round_trips"]) == (1, 1)
    assert lab.commands(name) - before == 1


def test_a_host_whose_role_failed_is_observed_again(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="debian-12")
    unknown = [{"name": "e", "packages": ["no-such-package-anywhere"]}]
    result = lab.apply(name, **CONDA, conda_environments=unknown)
    host = result.hosts[name]
    assert host.state is HostStatus.FAILED
    assert "no-such-package-anywhere" in (host.error or "")
    assert "conda" in host.versions, "what is on the host now, not before"
    assert {step.status for step in host.steps} == {"done", "failed"}
    assert result.counts["observations"] == 2
    left = lab.run(name, "sh", "-c", "ls /run/gpuprep || true").split()
    assert "lease.json" not in left, "the lease is given back"
