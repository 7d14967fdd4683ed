"""Check mode on bare hosts: it changes nothing and names what the real run then does."""

from __future__ import annotations

import pytest
from lab import FirstRun, ids

from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus

pytestmark = pytest.mark.sandbox
BARE = ("t-a10", "t-v100", "t-h100", "t-runfile")


@pytest.mark.parametrize("name", BARE)
def test_no_file_and_no_package_of_a_bare_host_changes(first_run: FirstRun, name: str) -> None:
    assert len(first_run.bare[name].files) > 5000
    assert first_run.bare[name].differences(first_run.untouched[name]) == set()


@pytest.mark.parametrize("name", BARE[:3])
def test_it_names_the_steps_of_the_real_run(first_run: FirstRun, name: str) -> None:
    named = ids(first_run.checked, name)
    assert named, first_run.checked.hosts[name].error
    assert named == ids(first_run.applied, name)


def test_hosts_are_reported_as_to_be_changed(first_run: FirstRun) -> None:
    told = {name: (host.state, host.error) for name, host in first_run.checked.hosts.items()}
    refused, _ = told.pop("t-runfile")
    assert refused is HostStatus.REFUSED
    assert told == dict.fromkeys(BARE[:3], (HostStatus.DRIFTED, None))
    assert all(first_run.checked.hosts[name].changed for name in BARE[:3])
    assert first_run.checked.exit_code is ExitCode.SOME_HOSTS_FAILED
