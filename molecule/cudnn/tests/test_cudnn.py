"""cuDNN: runtime and headers at one held version that suits the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

MAJOR = {"bookworm": 13, "trixie": 12}  # an A10 takes CUDA 13, a V100 stops at 12
LAST_FOR_VOLTA = "9.10.2.21-1"
ASK = "import ctypes; print(ctypes.CDLL('libcudnn.so.9').cudnnGetVersion())"


def packages(host: Host) -> dict[str, str]:
    """Version of each cuDNN package."""
    lines = host.check_output("dpkg-query -W -f '${Package} ${Version}\\n'").splitlines()
    return dict(line.split() for line in lines if "cudnn" in line)


def test_runtime_and_headers_are_at_one_version(host: Host) -> None:
    major = MAJOR[host.system_info.codename]
    found = packages(host)
    wanted = {f"libcudnn9-{part}cuda-{major}" for part in ("", "dev-", "headers-")}
    assert wanted <= set(found)
    assert len({found[name] for name in wanted}) == 1
    if major == 12:
        assert found["libcudnn9-cuda-12"] == LAST_FOR_VOLTA


def test_it_is_held(host: Host) -> None:
    held = set(host.check_output("apt-mark showhold").split())
    assert {name for name in packages(host) if name.startswith("lib")} <= held


@pytest.mark.proves("cudnn.agree")
def test_the_library_says_the_version_of_the_header(host: Host) -> None:
    version = int(host.check_output("python3 -c %s", ASK))
    header = host.check_output("cat /usr/include/cudnn_version.h /usr/include/*/cudnn_version*.h")
    parts = {
        words[1]: int(words[2])
        for words in (line.split() for line in header.splitlines())
        if words[:1] == ["#define"] and len(words) == 3 and words[2].isdigit()
    }
    major, minor, patch = (parts[f"CUDNN_{p}"] for p in ("MAJOR", "MINOR", "PATCHLEVEL"))
    assert version == major * 10000 + minor * 100 + patch


def test_neither_driver_nor_toolkit_came_along(host: Host) -> None:
    names = host.check_output("dpkg-query -W -f '${Package}\\n'").split()
    assert not {n for n in names if "nvidia" in n or n.startswith(("cuda-toolkit", "libcuda1"))}
