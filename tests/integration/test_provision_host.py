"""From a fleet file to a host that is logged in to: a launched instance is a real one."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from oci_lab import new_credentials

import gpuprep
from sandbox import hosts
from sandbox.oci.machines import FLEET, SandboxHosts
from sandbox.oci.server import Emulator
from sandbox.oci.tenancy import for_launches
from sandbox.podman import ensure_network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    own = new_credentials(tmp_path / "oci")
    tenancy = for_launches(str(ensure_network()))
    prefix = f"x-{os.getpid()}-"
    with Emulator(tenancy, {own.key_id: own.public_key}) as running:
        running.api.compute.machines = SandboxHosts(prefix)
        monkeypatch.setenv("OCI_CONFIG_FILE", str(own.config))
        monkeypatch.setenv("GPUPREP_OCI_ENDPOINT", running.url)
        yield running
    hosts.stop_all(one.name for one in hosts.running(FLEET) if one.name.startswith(prefix))


def test_a_host_is_launched_with_the_users_key_found_again_and_terminated(
    emulator: Emulator, tmp_path: Path
) -> None:
    key, known = tmp_path / "id", tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    fleet = {
        "fleet": "seed",
        "compartment": "gpu",
        "shape": "VM.GPU.A10.1",
        "count": 1,
        "image": {"os": "debian", "version": "12"},
        "network": {"subnet": "hosts"},
        "ssh_public_keys": [f"{key}.pub"],
        "wait": {"minutes": 5, "ssh_user": "ops", "known_hosts": str(known)},
    }
    member = gpuprep.provision(fleet).raise_for_status().members["seed-001"]
    assert emulator.stats.verified == emulator.stats.total
    assert member.address is not None
    login = ["ssh", "-i", str(key), "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=yes", f"ops@{member.address}"]  # fmt: skip
    said = subprocess.run(
        [*login, "lspci -n; sudo id -u; wc -l <.ssh/authorized_keys"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert any("10de:2236" in line for line in said)
    assert said[-2:] == ["0", "1"]
    assert not gpuprep.provision(fleet).changed
    assert gpuprep.provision(fleet, state="absent").changed
    assert [one for one in hosts.running(FLEET) if one.address == member.address] == []
