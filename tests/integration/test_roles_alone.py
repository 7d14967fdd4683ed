"""Each role in a stranger's playbook: it does its own part, and only that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from stranger import Played, Stranger

from gpuprep.packages.deb import version_key
from sandbox.conda.build import installer_path
from sandbox.conda.content import RELEASES
from sandbox.paths import STATE

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Fresh, Lab, Restore

pytestmark = pytest.mark.sandbox
DRIVER = re.compile(r"^(.*nvidia.*|libcuda1|cuda-drivers.*|cuda|cuda-\d+-\d+)=", re.MULTILINE)


@pytest.fixture
def stranger(lab: Lab, tmp_path: Path) -> Stranger:
    return Stranger(lab, tmp_path)


def packages(lab: Lab, name: str) -> str:
    return lab.run(name, "dpkg-query", "-W", "-f", "${Package}=${Version}\\n")


def went_well(played: Played) -> Played:
    assert played.code == 0, played.text
    return played


# --- conda ------------------------------------------------------------------------------------


def environment(lab: Lab, name: str, env: str) -> dict[str, str]:
    """Versions of the packages in an environment."""
    paths = lab.sh(name, f"cat /opt/conda/envs/{env}/conda-meta/*-*-*.json | tr -d '\\n'")
    found = re.findall(r'"name":\s*"([^"]+)".*?"version":\s*"([^"]+)"', paths)
    return dict(found)


def test_conda_on_a_host_without_a_gpu(lab: Lab, fresh: Fresh, stranger: Stranger) -> None:
    name = fresh(image="debian-13")
    settings = {"conda_environments": [{"name": "e", "packages": ["numpy", "tqdm"]}]}
    first = went_well(stranger.roles(name, "conda", **settings))
    assert first.changed > 0
    assert lab.run(name, "/opt/conda/envs/e/bin/python", "-c", "import numpy, tqdm; print(1)")
    shown = lab.run(name, "su", "-", "ops", "-c", "bash -lc 'conda config --show; conda env list'")
    assert "conda-forge" in shown
    assert "defaults" not in shown
    assert "/opt/conda/envs/e" in shown
    asked = len(lab.requests(name))
    second = went_well(stranger.roles(name, "conda", **settings))
    assert second.changed == 0
    assert lab.requests(name)[asked:] == []
    lab.sh(name, "rm /opt/conda/envs/e/conda-meta/tqdm-*.json")
    went_well(stranger.roles(name, "conda", **settings))
    assert "tqdm" in environment(lab, name, "e")


def test_environments_from_each_kind_of_specification(
    lab: Lab, fresh: Fresh, stranger: Stranger, tmp_path: Path
) -> None:
    name = fresh(image="debian-12")
    document = tmp_path / "environment.yml"
    document.write_text("channels: [conda-forge]\ndependencies: [python=3.12, requests=2.31]\n")
    listed: list[dict[str, object]] = [
        {"name": "listed", "packages": ["python=3.12", "requests=2.31"]},
        {"name": "described", "file": str(document)},
    ]
    went_well(stranger.roles(name, "conda", conda_environments=listed))
    assert environment(lab, name, "listed") == environment(lab, name, "described")
    assert environment(lab, name, "listed")["requests"] == "2.31.0"

    lock = tmp_path / "lock.txt"
    records = lab.sh(name, "cat /opt/conda/envs/listed/conda-meta/*-*-*.json")
    urls = re.findall(r'"url":\s*"([^"]+)"', records)
    assert len(urls) == len(environment(lab, name, "listed"))
    lock.write_text("@EXPLICIT\n" + "\n".join(urls) + "\n")
    locked = [*listed, {"name": "locked", "lock": str(lock)}]
    played = went_well(stranger.roles(name, "conda", conda_environments=locked))
    assert played.changed > 0
    assert environment(lab, name, "locked") == environment(lab, name, "listed")

    # Another specification brings the environment to it, the dropped package goes.
    document.write_text("channels: [conda-forge]\ndependencies: [python=3.12, tqdm]\n")
    went_well(stranger.roles(name, "conda", conda_environments=locked))
    assert "tqdm" in environment(lab, name, "described")
    assert "requests" not in environment(lab, name, "described")
    assert went_well(stranger.roles(name, "conda", conda_environments=locked)).changed == 0


def test_conda_is_upgraded_in_place(lab: Lab, fresh: Fresh, stranger: Stranger) -> None:
    name = fresh(image="debian-12")
    old = min((release.version for release in RELEASES), key=version_key)
    digest = installer_path(STATE / "www", old).with_name(
        f"{installer_path(STATE / 'www', old).name}.sha256"
    )
    settings = {"conda_environments": [{"name": "e", "packages": ["python=3.12"]}]}
    pinned = {
        "conda_installer_version": old,
        "conda_installer_sha256": digest.read_text().split()[0],
    }
    stranger_variables = {**settings, **pinned}
    went_well(stranger.roles(name, "conda", **stranger_variables))
    before = lab.run(name, "/opt/conda/bin/conda", "--version").split()[-1]
    assert old.startswith(before)
    env = lab.sh(name, "ls -i /opt/conda/envs/e/conda-meta")
    went_well(stranger.roles(name, "conda", **settings))
    after = lab.run(name, "/opt/conda/bin/conda", "--version").split()[-1]
    assert version_key(after) > version_key(before)
    assert lab.sh(name, "ls -i /opt/conda/envs/e/conda-meta") == env  # not made anew
    assert went_well(stranger.roles(name, "conda", **settings)).changed == 0


# --- the CUDA roles -----------------------------------------------------------------------------


def test_cudnn_brings_no_driver_and_no_toolkit(lab: Lab, fresh: Fresh, stranger: Stranger) -> None:
    name = fresh(gpus=["10de:2236"])
    went_well(stranger.roles(name, "cudnn"))
    there = packages(lab, name)
    assert re.search(r"^libcudnn9-dev-cuda-13=", there, re.MULTILINE)
    assert DRIVER.findall(there) == []
    assert "cuda-toolkit" not in there
    held = lab.run(name, "apt-mark", "showhold").split()
    assert {"libcudnn9-cuda-13", "libcudnn9-dev-cuda-13", "libcudnn9-headers-cuda-13"} <= set(held)
    assert went_well(stranger.roles(name, "cudnn")).changed == 0


def test_toolkits_side_by_side_and_the_default_stays(
    lab: Lab, fresh: Fresh, stranger: Stranger
) -> None:
    name = fresh(gpus=["10de:2236"])
    went_well(stranger.roles(name, "cuda_toolkit", cuda_toolkit_versions=["12.9"]))
    assert lab.run(name, "readlink", "-f", "/usr/local/cuda").strip() == "/usr/local/cuda-12.9"
    assert DRIVER.findall(packages(lab, name)) == []
    both = {"cuda_toolkit_versions": ["12.9", "13.0"], "cuda_toolkit_default": "12.9"}
    went_well(stranger.roles(name, "cuda_toolkit", **both))
    assert lab.run(name, "readlink", "-f", "/usr/local/cuda").strip() == "/usr/local/cuda-12.9"
    assert DRIVER.findall(packages(lab, name)) == []
    for version in ("12.9", "13.0"):
        shown = lab.run(name, f"/usr/local/cuda-{version}/bin/nvcc", "--version")
        assert f"release {version}" in shown
    login = "su - ops -s /bin/sh -c '. /etc/profile; nvcc --version'"
    assert "release 12.9" in lab.sh(name, login)
    assert went_well(stranger.roles(name, "cuda_toolkit", **both)).changed == 0


# --- the driver ---------------------------------------------------------------------------------


def test_a_kept_driver_is_left_alone(lab: Lab, restore: Restore, stranger: Stranger) -> None:
    name = restore("t-h100")
    lab.sh(name, "apt-mark unhold libcuda1")  # somebody else's business now
    kept = went_well(stranger.roles(name, "gpu_driver", gpu_driver_branch="keep"))
    assert kept.changed == 0
    assert "libcuda1" not in lab.run(name, "apt-mark", "showhold").split()
    assert went_well(stranger.roles(name, "gpu_driver", gpu_driver_branch="none")).changed == 0
    assert went_well(stranger.roles(name, "gpu_driver")).changed > 0
    assert "libcuda1" in lab.run(name, "apt-mark", "showhold").split()


def test_nothing_to_keep_and_nothing_to_drive_are_told(
    lab: Lab, fresh: Fresh, stranger: Stranger
) -> None:
    name = fresh(gpus=["10de:2236"])
    kept = stranger.roles(name, "gpu_driver", gpu_driver_branch="keep")
    assert (kept.code, "E_KEEP_NOTHING" in kept.text) == (2, True)
    bare = fresh()
    without = stranger.roles(bare, "gpu_driver")
    assert (without.code, "E_NO_GPU" in without.text) == (2, True)
    for host in (name, bare):
        assert DRIVER.findall(packages(lab, host)) == []


def test_check_mode_of_a_role_names_its_steps_as_a_diff(
    lab: Lab, fresh: Fresh, stranger: Stranger, tmp_path: Path
) -> None:
    name = fresh(gpus=["10de:2236"])
    before = lab.state(name)
    stranger.roles(name, "conda", conda_environments=[])  # writes the playbook
    assert before.differences(lab.state(name)) != set()
    name = fresh(gpus=["10de:2236"])
    before = lab.state(name)
    played = stranger.play(str(tmp_path / "site.yml"), name, options=("--check", "--diff"))
    went_well(played)
    assert "conda.installation./opt/conda: install (conda is not installed)" in played.text
    assert played.changed > 0
    assert before.differences(lab.state(name)) == set()
