"""The whole road in one call: what is refused before a launch, and how hosts are reached."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from faceswap_rig import material, one_job, write

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.oci.provision import settings
from gpuprep.oci.provision.result import MemberResult, ProvisionResult
from gpuprep.run.jobs import HostJobs, JobsResult
from gpuprep.run.workshop import WorkshopResult, inventory_of

if TYPE_CHECKING:
    from pathlib import Path


def fleet_file(folder: Path, count: int) -> Path:
    key = folder / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    fleet: dict[str, Any] = {
        "fleet": "train",
        "compartment": "gpu",
        "shape": "VM.GPU.A10.1",
        "count": count,
        "image": {"os": "debian", "version": "12"},
        "network": {"subnet": "hosts"},
        "ssh_public_keys": [f"{key}.pub"],
        "wait": {"known_hosts": "known"},
    }
    path = folder / "fleet.yml"
    path.write_text(yaml.safe_dump(fleet))
    return path


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when anything is launched, or asked for."""
    monkeypatch.setattr("gpuprep.api._provision", lambda *_a, **_k: pytest.fail("OCI was asked"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"consent": None}, "E_FS_CONSENT"),
        ({"host": "train-003"}, "E_FS_JOB"),
        ({}, "E_FS_JOB"),  # two hosts, and none is named
    ],
)
def test_bad_jobs_are_refused_before_a_host_is_launched(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    material(tmp_path)
    fleet = fleet_file(tmp_path, 2)
    with pytest.raises(gpuprep.JobsError) as refused:
        gpuprep.workshop(fleet, write(tmp_path, one_job(**changes)))
    assert {one.code for one in refused.value.problems} == {code}


def test_hosts_are_reached_with_the_users_key_and_the_host_keys_that_consoles_told(
    tmp_path: Path,
) -> None:
    desired = settings.desired(settings.load(fleet_file(tmp_path, 2)))
    members = {
        "train-001": MemberResult("train-001", "keep", address="10.0.0.2", user="ubuntu"),
        "train-002": MemberResult("train-002", "launch", code="E_OCI_CAPACITY", error="none"),
    }
    found = inventory_of(ProvisionResult("train", members), desired)["all"]["hosts"]
    assert set(found) == {"train-001"}
    host = found["train-001"]
    assert (host["ansible_host"], host["ansible_user"]) == ("10.0.0.2", "ubuntu")
    assert "StrictHostKeyChecking=yes" in host["ansible_ssh_common_args"]
    assert f"UserKnownHostsFile='{tmp_path / 'known'}'" in host["ansible_ssh_common_args"]
    assert host["ansible_ssh_private_key_file"] == str(tmp_path / "id")


def test_the_first_part_that_is_not_right_decides_the_exit_code() -> None:
    good = ProvisionResult("train", {"a": MemberResult("a", "keep")})
    failed = JobsResult({"a": HostJobs("a", code="E_FS_RUN", error="x"), "b": HostJobs("b")})
    assert WorkshopResult(good).exit_code is ExitCode.OK
    assert not WorkshopResult(good).changed
    assert WorkshopResult(good, None, failed).exit_code is ExitCode.SOME_HOSTS_FAILED
    assert WorkshopResult(good, None, failed).to_dict()["exit_code"] == 3
