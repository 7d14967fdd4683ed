"""Toolkits side by side: the default stays, programs compile, no driver came along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from installed import Packages
    from testinfra.host import Host

VERSIONS = ("12.9", "13.0")
DEFAULT = "12.9"
PROGRAM = r"""
#include <cstdio>
__global__ void add(int *a, int b) { a[threadIdx.x] += b; }
int main() { add<<<1, 32>>>(nullptr, 1); std::printf("%d\n", CUDART_VERSION); return 0; }
"""


@pytest.mark.proves("toolkit.present")
@pytest.mark.parametrize("version", VERSIONS)
def test_each_toolkit_has_its_compiler(host: Host, version: str) -> None:
    shown = host.check_output("/usr/local/cuda-%s/bin/nvcc --version", version)
    assert f"release {version}" in shown


@pytest.mark.proves("toolkit.default")
def test_the_default_is_fixed(host: Host) -> None:
    assert host.file("/usr/local/cuda").is_symlink
    assert host.check_output("readlink -f /usr/local/cuda") == f"/usr/local/cuda-{DEFAULT}"
    shown = host.check_output("update-alternatives --display cuda")
    assert "manual mode" in shown or "status is manual" in shown


def test_a_login_shell_finds_the_default_compiler(host: Host) -> None:
    shown = host.check_output("su - ops -c 'bash -lc \"nvcc --version; echo $CUDA_HOME\"'")
    assert f"release {DEFAULT}" in shown


@pytest.mark.proves("toolkit.compiles")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_compiles_for_the_gpu(host: Host, version: str) -> None:
    host.check_output(f"cat >/tmp/add.cu <<'EOF'\n{PROGRAM}\nEOF")
    host.check_output(f"/usr/local/cuda-{version}/bin/nvcc -arch=sm_86 -o /tmp/add /tmp/add.cu")
    assert host.check_output("/tmp/add").startswith(version.partition(".")[0])


def test_no_driver_came_along(packages: Packages) -> None:
    names = set(packages.versions)
    assert not {name for name in names if "nvidia" in name or name in {"cuda", "libcuda1"}}
    assert not {name for name in names if name.startswith("cuda-drivers")}


def test_the_linker_knows_the_default_toolkit(host: Host) -> None:
    assert "/usr/local/cuda/targets/x86_64-linux/lib" in host.check_output(
        "ldconfig -v 2>/dev/null"
    )
