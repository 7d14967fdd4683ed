"""cuDNN: runtime and headers at one held version that suits the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from installed import Packages
    from testinfra.host import Host

MAJOR = {"trixie": 12}  # an A10 takes CUDA 13, a V100 stops at 12
LAST_FOR_VOLTA = "9.10.2.21-1"
ASK = "import ctypes; print(ctypes.CDLL('libcudnn.so.9').cudnnGetVersion())"


def of_cudnn(packages: Packages) -> dict[str, str]:
    """Version of each cuDNN package."""
    return {
        name: version.removeprefix("0:")
        for name, version in packages.versions.items()
        if "cudnn" in name
    }


def test_runtime_and_headers_are_at_one_version(host: Host, packages: Packages) -> None:
    major = MAJOR.get(host.system_info.codename or "", 13)
    found = of_cudnn(packages)
    dev = "devel-" if packages.rpm else "dev-"
    wanted = {f"libcudnn9-{part}cuda-{major}" for part in ("", dev, "headers-")}
    assert wanted <= set(found)
    assert len({found[name] for name in wanted}) == 1
    if major == 12:
        assert found["libcudnn9-cuda-12"] == LAST_FOR_VOLTA


def test_it_is_held(packages: Packages) -> None:
    assert {name for name in of_cudnn(packages) if name.startswith("lib")} <= packages.held


@pytest.mark.proves("cudnn.agree")
def test_the_library_says_the_version_of_the_header(host: Host) -> None:
    version = int(host.check_output("python3 -c %s", ASK))
    header = host.run("cat /usr/include/cudnn_version.h /usr/include/*/cudnn_version*.h").stdout
    parts = {
        words[1]: int(words[2])
        for words in (line.split() for line in header.splitlines())
        if words[:1] == ["#define"] and len(words) == 3 and words[2].isdigit()
    }
    major, minor, patch = (parts[f"CUDNN_{p}"] for p in ("MAJOR", "MINOR", "PATCHLEVEL"))
    assert version == major * 10000 + minor * 100 + patch


def test_neither_driver_nor_toolkit_came_along(packages: Packages) -> None:
    names = set(packages.versions)
    assert not {n for n in names if "nvidia" in n or n.startswith(("cuda-toolkit", "libcuda1"))}
