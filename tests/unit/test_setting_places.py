"""Every documented variable works in every place where Ansible lets one set it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest
import yaml

from gpuprep.fleet.policy import VARIABLES
from gpuprep.planner.settings import all_options

if TYPE_CHECKING:
    from fleet_rig import Rig

# A value for every variable, none of them its default.
VALUES: dict[str, Any] = {
    "gpuprep_hosts": "h1:h2",
    "gpuprep_components": ["driver"],
    "gpuprep_channel": "pb",
    "gpuprep_mirror": "http://mirror/repos",
    "gpuprep_mirror_fingerprint": "A" * 40,
    "gpuprep_allow_unknown_gpu": True,
    "gpuprep_short_cut": False,
    "gpuprep_fail_on_changes": True,
    "gpuprep_batch": [1, "50%"],
    "gpuprep_max_fail_percentage": 7,
    "gpuprep_lock_timeout": 8,
    "gpuprep_observe_timeout": 9,
    "gpuprep_keep_connections": False,
    "gpuprep_transport": "asyncssh",
    "gpuprep_run_dir": "",  # a directory of the test's own
    "gpuprep_as_of": "2026-01-01",
    "gpuprep_verify_tier": "full",
    "gpuprep_verify_sample": 3,
    "gpuprep_lock_file": "/lock.yml",
    "gpu_driver_branch": "570",
    "gpu_driver_version": "570.1",
    "gpu_driver_source": "distro",
    "gpu_driver_flavour": "open",
    "gpu_driver_profile": "compute",
    "gpu_driver_kernel": "6.1.0",
    "gpu_driver_persistence": False,
    "gpu_driver_reboot_allowed": True,
    "gpu_driver_reboot_timeout": 10,
    "gpu_driver_boot_time_command": "true",
    "cuda_toolkit_versions": ["12.8"],
    "cuda_toolkit_default": "12.8",
    "cuda_toolkit_forward_compat": True,
    "cudnn_version": "9.1",
    "conda_prefix": "/srv/conda",
    "conda_installer_version": "1.2",
    "conda_mirror": "http://mirror/conda",
    "conda_installer_sha256": "b" * 64,
    "conda_channels": ["bioconda"],
    "conda_channel_alias": "http://mirror/channels",
    "conda_accept_anaconda_terms": True,
    "faceswap_commit": "c" * 40,
    "faceswap_repository": "http://mirror/faceswap.git",
    "faceswap_variant": "cu126",
    "faceswap_backend": "cpu",
    "faceswap_python": "3.12",
    "faceswap_lock": "/lock.txt",
    "faceswap_index": "http://mirror/simple",
    "conda_environments": [{"name": "e", "packages": ["numpy"], "file": None, "lock": None}],
}
HOSTS = ("h1", "h2")
NEVER = {"hosts": dict.fromkeys(HOSTS, fleet_rig.LOCAL)}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return fleet_rig.make(tmp_path, monkeypatch, "settings")


@pytest.fixture
def values(rig: Rig) -> dict[str, Any]:
    return {**VALUES, "gpuprep_run_dir": str(rig.folder)}


def inventory(folder: Path, **files: dict[str, Any]) -> Path:
    """Write an inventory directory with further files, e.g. ``group_vars/all.yml``."""
    for path, content in {"hosts.yml": {"all": NEVER}, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(yaml.safe_dump(content))
    return folder


def ansible(rig: Rig, source: Path, playbook: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "ansible.cli.playbook", "-i", str(source), playbook]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(rig.root)}
    done = subprocess.run(
        [*command, *arguments], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def arrived(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((rig.folder / "arrived.json").read_text())
    return found


def assert_all_arrived(rig: Rig, values: dict[str, Any], *hosts: str) -> None:
    found = arrived(rig)
    for host in hosts:
        assert {name: found["hosts"][host].get(name) for name in values} == values
    policy = found["policy"]
    assert {f"gpuprep_{name}": policy[name] for name in policy} == {
        name: values[name] for name in VARIABLES if name != "gpuprep_hosts"
    }


def test_every_documented_variable_is_here_with_another_value_than_its_default() -> None:
    documented = Path(__file__).parents[2].joinpath("docs/variables.md").read_text()
    names = re.findall(r"^\| `([a-z0-9_]+)` \|", documented, re.MULTILINE)
    assert set(names) == set(VALUES) == set(all_options())
    same = [n for n, option in all_options().items() if VALUES[n] == option.get("default")]
    assert same == ["gpuprep_run_dir"]


def test_group_vars(rig: Rig, values: dict[str, Any], tmp_path: Path) -> None:
    source = inventory(tmp_path / "i", **{"group_vars/all.yml": values})
    ansible(rig, source, "gpuprep.core.plan")
    assert_all_arrived(rig, values, *HOSTS)


def test_host_vars_are_those_of_their_host(
    rig: Rig, values: dict[str, Any], tmp_path: Path
) -> None:
    policy = {name: values[name] for name in VARIABLES}
    files = {"host_vars/h1.yml": values, "host_vars/h2.yml": policy}
    ansible(rig, inventory(tmp_path / "i", **files), "gpuprep.core.plan")
    assert_all_arrived(rig, values, "h1")
    assert arrived(rig)["hosts"]["h2"] == policy


def test_extra_vars(rig: Rig, values: dict[str, Any], tmp_path: Path) -> None:
    wrong = {"group_vars/all.yml": {"gpuprep_channel": "lts", "gpuprep_batch": 5}}
    source = inventory(tmp_path / "i", **wrong)
    ansible(rig, source, "gpuprep.core.plan", "-e", json.dumps(values))
    assert_all_arrived(rig, values, *HOSTS)


def test_variables_of_a_play(rig: Rig, values: dict[str, Any], tmp_path: Path) -> None:
    playbook = tmp_path / "site.yml"
    imported = {"import_playbook": "gpuprep.core.plan", "vars": values}
    playbook.write_text(yaml.safe_dump([imported]))
    ansible(rig, inventory(tmp_path / "i"), str(playbook))
    assert_all_arrived(rig, values, *HOSTS)


def test_variables_of_the_python_interface(
    rig: Rig, values: dict[str, Any], tmp_path: Path
) -> None:
    del values["gpuprep_run_dir"]  # its own
    rig.run("plan", inventory(tmp_path / "i"), variables=values)
    run_dir = arrived(rig)["policy"]["run_dir"]
    assert_all_arrived(rig, {**values, "gpuprep_run_dir": run_dir}, *HOSTS)
