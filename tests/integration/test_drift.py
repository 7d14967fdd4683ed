"""The drift matrix: each managed artefact altered on a converged host is named by `plan`, repaired
by `apply`, and nothing else changes.

Alterations are made one after the other on one host, each looked at by itself; one `apply` then
repairs them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from drift import HOST, Alteration, Batch, check_alteration, check_whole, run_batch

from sandbox.nvrepo.headers import RELEASES

if TYPE_CHECKING:
    from lab import Lab, Restore

pytestmark = pytest.mark.sandbox

KERNEL = RELEASES["debian-12"]
ANOTHER_KEY = "/usr/share/keyrings/debian-archive-bookworm-stable.gpg"
KEYRING = "/usr/share/keyrings/gpuprep-nvidia.asc"
REPOSITORY = "/etc/apt/sources.list.d/gpuprep-nvidia.sources"
RIVAL = "/etc/apt/sources.list.d/cuda-debian12-x86_64.list"  # as cuda-keyring names it
PREFERENCES = "/etc/apt/preferences.d/gpuprep-nvidia"
BLACKLIST = "/etc/modprobe.d/gpuprep-nouveau.conf"
CUDA_PROFILE = "/etc/profile.d/gpuprep-cuda.sh"
CUDA_LINKER = "/etc/ld.so.conf.d/gpuprep-cuda.conf"
CONDA_PROFILE = "/etc/profile.d/gpuprep-conda.sh"
CONDARC = "/opt/conda/.condarc"
MARKER = "/opt/conda/conda-meta/gpuprep"
FILES = {
    KEYRING: "gpu_driver.key",
    REPOSITORY: "gpu_driver.repository",
    PREFERENCES: "gpu_driver.pin",
    BLACKLIST: "gpu_driver.blacklist",
    CUDA_PROFILE: "cuda_toolkit.profile",
    CUDA_LINKER: "cuda_toolkit.linker",
    CONDA_PROFILE: "conda.profile",
    CONDARC: "conda.condarc",
    MARKER: "conda.marker",
}
UNIT = "nvidia-persistenced"
DRIVER_HOLD = "gpu_driver.hold.packages"
CUDNN_HOLD = "cudnn.hold.packages"


# --- files, links, units, holds, conda ------------------------------------------------------------


def of_file(name: str, path: str, script: str) -> Alteration:
    probe = f"stat -c '%F %a %U %G %N' {path} 2>&1 || true; sha256sum <{path} 2>&1 || true"
    return Alteration(name, script, frozenset({f"{FILES[path]}.{path}"}), probe)


ARTEFACTS = (
    of_file("key of somebody else", KEYRING, f"cp {ANOTHER_KEY} {KEYRING}"),
    of_file("repository switched off", REPOSITORY, f"echo 'Enabled: no' >>{REPOSITORY}"),
    of_file("pin gone", PREFERENCES, f"rm {PREFERENCES}"),
    of_file("blacklist unreadable", BLACKLIST, f"chmod 0600 {BLACKLIST}"),
    of_file("profile of another owner", CUDA_PROFILE, f"chown ops:ops {CUDA_PROFILE}"),
    of_file("linker path emptied", CUDA_LINKER, f": >{CUDA_LINKER}"),
    of_file("profile a link", CONDA_PROFILE, f"ln -sf /etc/hostname {CONDA_PROFILE}"),
    of_file("condarc with paid channels", CONDARC, f"echo 'channels: [defaults]' >{CONDARC}"),
    # Set aside, not removed: the file is taken away here, so that nothing differs in the end.
    Alteration(
        "a second source under another key",
        f"echo \"deb [signed-by={ANOTHER_KEY}] $(sed -n 's/^URIs: //p' {REPOSITORY}) /\" >{RIVAL}",
        frozenset({f"gpu_driver.source.{RIVAL}"}),
        f"rm -f {RIVAL}.disabled; ls {RIVAL} 2>&1 || true",
    ),
    Alteration(
        "marker of another installer",
        f"sed -i 's/[0-9]/7/' {MARKER}",
        frozenset({f"conda.marker.{MARKER}", "conda.installation./opt/conda"}),
        f"cat {MARKER}",
    ),
    Alteration(
        "default toolkit left to apt",
        "update-alternatives --auto cuda",
        frozenset({"cuda_toolkit.alternative.cuda"}),
        "head -1 /var/lib/dpkg/alternatives/cuda; readlink /etc/alternatives/cuda",
    ),
    Alteration(
        "unit stopped",
        f"systemctl stop {UNIT}",
        frozenset({f"gpu_driver.unit.{UNIT}"}),
        f"systemctl is-active {UNIT} || true",
    ),
    Alteration(
        "driver package not held",
        "apt-mark unhold libcuda1",
        frozenset({DRIVER_HOLD}),
        "apt-mark showhold libcuda1",
    ),
    Alteration(
        "cuDNN package not held",
        "apt-mark unhold libcudnn9-cuda-13",
        frozenset({CUDNN_HOLD}),
        "apt-mark showhold libcudnn9-cuda-13",
    ),
    Alteration(
        "environment lost a package",
        "/opt/conda/bin/conda remove -y -q -n tools numpy >/dev/null",
        frozenset({"conda.environment.tools"}),
        "ls /opt/conda/envs/tools/conda-meta",
    ),
)  # fmt: skip

# The same artefacts altered another way.
OTHERWISE = (
    of_file("key gone", KEYRING, f"rm {KEYRING}"),
    of_file("repository moved", REPOSITORY, f"sed -i 's,^URIs:.*,URIs: /x,' {REPOSITORY}"),
    of_file("pin with another priority", PREFERENCES, f"sed -i s/600/100/ {PREFERENCES}"),
    of_file("blacklist gone", BLACKLIST, f"rm {BLACKLIST}"),
    of_file("profile altered", CUDA_PROFILE, f"echo export CUDA_HOME=/x >>{CUDA_PROFILE}"),
    of_file("linker path of another group", CUDA_LINKER, f"chgrp ops {CUDA_LINKER}"),
    of_file("conda profile gone", CONDA_PROFILE, f"rm {CONDA_PROFILE}"),
    of_file("condarc writable for all", CONDARC, f"chmod 0666 {CONDARC}"),
    Alteration(
        "another toolkit is the default",
        "ln -sfn /usr /etc/alternatives/cuda",
        frozenset({"cuda_toolkit.alternative.cuda"}),
        "readlink /etc/alternatives/cuda",
    ),
    Alteration(
        "unit disabled",
        f"systemctl disable -q {UNIT}",
        frozenset({f"gpu_driver.unit.{UNIT}"}),
        f"systemctl is-enabled {UNIT} || true",
    ),
    Alteration(
        "module gone",
        f"rm /lib/modules/{KERNEL}/updates/dkms/nvidia.ko",
        frozenset({f"gpu_driver.module.{KERNEL}"}),
        f"ls /lib/modules/{KERNEL}/updates/dkms",
    ),
    Alteration(
        "environment half made",
        "rm -r /opt/conda/envs/tools/conda-meta",
        frozenset({"conda.environment.tools"}),
        "rm -rf /opt/conda/envs/tools.broken; ls /opt/conda/envs/tools/conda-meta 2>&1 || true",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def artefacts(lab: Lab, restore: Restore) -> Batch:
    restore(HOST)
    return run_batch(lab, ARTEFACTS)


@pytest.fixture(scope="module")
def otherwise(lab: Lab, restore: Restore) -> Batch:
    restore(HOST)
    return run_batch(lab, OTHERWISE)


@pytest.mark.parametrize("one", ARTEFACTS, ids=lambda one: one.name)
def test_an_altered_artefact(artefacts: Batch, one: Alteration) -> None:
    check_alteration(artefacts, one)


def test_nothing_else_than_the_artefacts_changes(artefacts: Batch) -> None:
    check_whole(artefacts, ARTEFACTS)


@pytest.mark.parametrize("one", OTHERWISE, ids=lambda one: one.name)
def test_an_artefact_altered_otherwise(otherwise: Batch, one: Alteration) -> None:
    check_alteration(otherwise, one)


def test_nothing_else_than_the_others_changes(otherwise: Batch) -> None:
    check_whole(otherwise, OTHERWISE)
