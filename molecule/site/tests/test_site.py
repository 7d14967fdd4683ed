"""A whole host: all roles together, and the programs a user would write first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

KERNEL = r"""
__global__ void scale(float *x, float f) { x[threadIdx.x] *= f; }
int main() { scale<<<1, 1>>>(nullptr, 2.f); return 0; }
"""
LINKED = r"""
#include <cudnn.h>
int main(void) { return cudnnGetVersion() == CUDNN_VERSION ? 0 : 1; }
"""


def write(host: Host, path: str, text: str) -> None:
    """Write a file on the host."""
    host.check_output(f"cat >{path} <<'EOF'\n{text}\nEOF")


@pytest.mark.proves("pci.device")
def test_the_gpus_are_on_the_bus(host: Host) -> None:
    assert host.check_output("lspci -n -d 10de:2330").count("10de:2330") == 8


@pytest.mark.proves("fabric.version")
def test_the_fabric_manager_is_at_the_drivers_version(host: Host) -> None:
    shown = host.check_output("dpkg-query -W -f '${Version}\\n' nvidia-fabricmanager libcuda1")
    assert len(set(shown.split())) == 1
    assert host.service("nvidia-fabricmanager").is_enabled
    assert host.service("nvidia-fabricmanager").is_running


@pytest.mark.proves("toolkit.compiles")
def test_a_program_compiles_for_the_gpu(host: Host) -> None:
    write(host, "/tmp/scale.cu", KERNEL)
    host.check_output("bash -lc 'nvcc -arch=sm_90 -o /tmp/scale /tmp/scale.cu'")
    assert host.file("/tmp/scale").size > 0


@pytest.mark.proves("cudnn.runtime")
def test_a_program_links_cudnn_and_finds_it_at_run_time(host: Host) -> None:
    write(host, "/tmp/linked.c", LINKED)
    host.check_output("gcc -I/usr/local/cuda/include /tmp/linked.c -o /tmp/linked -lcudnn")
    assert host.run("/tmp/linked").rc == 0


def test_the_environment_imports_its_framework(host: Host) -> None:
    python = "/opt/conda/envs/train/bin/python"
    assert host.check_output(f"{python} -c 'import torch; print(torch.__version__)'")


def test_no_unit_failed_and_dpkg_is_whole(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend") == ""
    assert host.check_output("dpkg --audit") == ""
    assert host.run("apt-get check").rc == 0


def test_the_ownership_of_shared_folders_is_unchanged(host: Host) -> None:
    for path in ("/etc", "/usr", "/usr/local", "/usr/share/keyrings", "/etc/apt", "/opt"):
        folder = host.file(path)
        assert (folder.user, folder.group, folder.mode & 0o7777) == ("root", "root", 0o755)
