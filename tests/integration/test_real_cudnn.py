"""The role installs NVIDIA's own cuDNN, and a program links and asks it. Downloads gigabytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuprep.errors import ExitCode
from sandbox import hosts, servers
from sandbox.paths import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab import Fresh, Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

PROGRAM = r"""
#include <cudnn.h>
#include <stdio.h>
int main(void) {
    printf("%d %zu %s\n", CUDNN_VERSION, cudnnGetVersion(),
           cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM));
    return 0;
}
"""
SMALLEST = 100e6  # bytes of NVIDIA's libraries together; the substitute has a few kilobytes


@pytest.fixture
def real(fresh: Fresh) -> Iterator[tuple[str, Mapping[str, object]]]:
    """A bare host, and the variables that lead it to a repository with NVIDIA's cuDNN."""
    name = fresh(gpus=["10de:2236"])
    root = STATE / "real-cudnn"
    variables = servers.ensure(hosts.gateway(), root, real_cudnn=True)
    variables.pop("headers_source")
    yield name, variables
    servers.stop(root)


def test_a_program_links_nvidias_own_cudnn(
    lab: Lab, real: tuple[str, Mapping[str, object]]
) -> None:
    name, variables = real
    result = lab.apply(name, **variables, gpuprep_components=["driver", "cuda", "cudnn"])
    assert result.exit_code is ExitCode.OK, result.hosts[name].error
    size = "cat $(dpkg -L libcudnn9-cuda-13 | grep '[.]so[.]') | wc -c"
    assert float(lab.sh(name, size)) > SMALLEST
    lab.run(name, "tee", "/root/ask.c", stdin=PROGRAM)
    said = lab.sh(
        name, "cd /root; gcc -I/usr/local/cuda/include ask.c -o ask -lcudnn -lstdc++; ./ask"
    )
    header, library, error = said.split()
    assert header == library
    assert error == "CUDNN_STATUS_BAD_PARAM"
