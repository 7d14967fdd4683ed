"""Every code can be reached, says which values clash, and names what would work."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.lock import lockfile
from gpuprep.model import (
    DesiredStack,
    HostFacts,
    HostState,
    KernelHeaders,
    Message,
    Refusal,
    Stack,
)
from gpuprep.resolve import resolver

CATALOG = load()
A10, V100, B200, GB200 = "10de:2236", "10de:1db1", "10de:2901", "10de:2941"
FROM_LOCK = {"E_LOCK_CLASS", "E_LOCK_DIFFERS", "E_LOCK_KERNEL"}  # reached in test_lock.py


@dataclass(frozen=True)
class Reach:
    """A case that ends in a code: words of its message, settings it names, what would work."""

    code: str
    words: tuple[str, ...]
    gpus: tuple[str, ...] = (A10,)
    os: str = "debian-12"
    setting: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()


UEK = "6.12.0-100.el9uek.x86_64"
BACKPORT = "pci_resize_resource"
REFUSALS = [
    Reach("E_AMD_SHAPE", ("BM.GPU.MI300X.8",), (), host={"shape": "BM.GPU.MI300X.8"}),
    Reach("E_AMD_SHAPE", ("BM.GPU.MI500X.8",), (), host={"shape": "BM.GPU.MI500X.8"}),
    Reach("E_ARCH_UNSUPPORTED", ("debian-12", "aarch64", "x86_64"), host={"arch": "aarch64"}),
    Reach(
        "E_BRANCH_ARCH",
        ("595", "volta", "V100", "580"),
        (V100,),
        setting={"branch": "595"},
        settings=("branch",),
        nearest=("driver 580 (proprietary",),
    ),
    Reach(
        "E_BRANCH_EOL",
        ("570", "2026-02-28", "end of life"),
        setting={"branch": "570", "allow_eol": False},
        settings=("allow_eol",),
        nearest=("570",),
    ),
    Reach(
        "E_BRANCH_GPU_MIN",
        ("B200", "570.133.20", "550.163.01"),
        (B200,),
        setting={"branch": "550"},
        settings=("branch",),
    ),
    Reach(
        "E_BRANCH_SYSTEM",
        ("ubuntu-26.04", "595 and newer", "580"),
        os="ubuntu-26.04",
        setting={"branch": "580"},
        settings=("branch",),
        nearest=("driver 595",),
    ),
    Reach(
        "E_BRANCH_SYSTEM",
        ("ubuntu-26.04", "580"),
        os="ubuntu-26.04",
        setting={"version": "580.95.05"},
        settings=("version",),
    ),
    Reach("E_BRANCH_UNKNOWN", ("999", "580"), setting={"branch": "999"}, settings=("branch",)),
    Reach(
        "E_CONDA_ARCH",
        ("ppc64le",),
        (),
        setting={"components": ("conda",)},
        host={"arch": "ppc64le"},
    ),
    Reach(
        "E_CONDA_UNKNOWN",
        ("1.2.3-4", "conda_installer_sha256"),
        setting={"conda_version": "1.2.3-4"},
        settings=("conda_version",),
    ),
    Reach(
        "E_CUDA_ARCH",
        ("13.0", "V100", "7.0", "12.9"),
        (V100,),
        setting={"cuda": ("13.0",)},
        settings=("cuda",),
        nearest=("CUDA 12.9",),
    ),
    Reach(
        "E_CUDA_DRIVER_MAJOR",
        ("13.0", "580.65.06", "535", "forward_compat"),
        setting={"keep_driver": "535.288.01", "cuda": ("13.0",)},
        settings=("cuda",),
        nearest=("CUDA 12.2",),
    ),
    Reach(
        "E_CUDA_DRIVER_OLD",
        ("13.0", "580.65.06", "580.42.01"),
        setting={"keep_driver": "580.42.01", "cuda": ("13.0",)},
        settings=("cuda",),
        nearest=("CUDA 12.9",),
    ),
    Reach(
        "E_DRIVER_KERNEL",
        ("570.211.01 with open", "6.8.0-1068-oracle", "fourth argument", "number; its headers"),
        os="ubuntu-24.04",
        setting={"branch": "570", "flavour": "open"},
        host={"kernel": "6.8.0-1068-oracle"},
        settings=("flavour",),
        nearest=("driver 570 (proprietary",),
    ),
    Reach(
        "E_DRIVER_KERNEL",
        ("580.95.05 with open", "branch 580 builds on it from 580.126.09 on"),
        (B200,),
        os="ubuntu-22.04",
        setting={"version": "580.95.05"},
        host={"kernel": "5.15.0-1114-oracle"},
        settings=("version",),
        nearest=("driver 580 (open",),
    ),
    Reach(
        "E_DRIVER_KERNEL",
        ("570.211.01", "its headers show it", "no release of branch 570"),
        (B200,),
        os="ol-9",
        setting={"branch": "570"},
        host={"kernel": UEK, "kernel_headers": KernelHeaders(None, {BACKPORT: True})},
        settings=("branch",),
        nearest=("driver 580",),
    ),
    Reach(
        "E_DRIVER_KERNEL",
        ("570.211.01 with proprietary", "told by its number)", "map_phys"),
        (V100,),
        setting={"branch": "570"},
        host={"kernel": "6.19.2", "kernel_headers": KernelHeaders("6.19.2")},
        settings=("branch",),
        nearest=("driver 580",),
    ),
    Reach(
        "E_DRIVER_KERNEL",
        ("535.261.03", "6.17.13"),
        setting={"source": "distro"},
        host={"kernel": "6.17.13+deb12-amd64"},
        settings=("source",),
        nearest=("driver 580",),
    ),
    Reach(
        "E_READY_MODULES",
        ("ubuntu-24.04", "driver 580", "6.8.0-1068-oracle", "it has 595 open (595.71.05)"),
        os="ubuntu-24.04",
        setting={"source": "distro", "branch": "580", "components": ("driver",)},
        host={
            "kernel": "6.8.0-1068-oracle",
            "state": HostState(secure_boot=True),
            "ready_modules": {
                "linux-modules-nvidia-595-server-open-6.8.0-1068-oracle": ("595.71.05",)
            },
        },
        settings=("branch",),
        nearest=("driver 595",),
    ),
    Reach(
        "E_NEXT_KERNEL",
        (
            *("6.8.0-1068-oracle waits", "570.211.01 with open", "Before the reboot"),
            *("-e gpu_driver_flavour=auto", "570 (proprietary"),
        ),
        os="ubuntu-24.04",
        setting={"branch": "570", "flavour": "open"},
        host={
            "kernel": "6.8.0-1063-oracle",
            "state": HostState(newest_kernel="6.8.0-1068-oracle"),
        },
    ),
    Reach(
        "E_NEXT_KERNEL",
        ("its headers show it", "-e gpu_driver_version=auto, giving driver 580"),
        (B200,),
        os="ol-9",
        setting={"version": "580.95.05"},
        host={
            "kernel": UEK,
            "state": HostState(
                newest_kernel="6.12.0-205.el9uek.x86_64",
                newest_headers=KernelHeaders(None, {BACKPORT: True}),
            ),
        },
    ),
    Reach("E_CUDA_UNKNOWN", ("12.7",), setting={"cuda": ("12.7",)}, settings=("cuda",)),
    Reach(
        "E_CUDNN_ARCH",
        ("9.28.0.42", "V100", "volta", "9.10.2.21"),
        (V100,),
        setting={"cudnn": "9.28.0.42"},
        settings=("cudnn",),
        nearest=("cuDNN 9.10.2.21",),
    ),
    Reach(
        "E_CUDNN_CUDA",
        ("8", "13"),
        setting={"cudnn": "8", "cuda": ("13.0",)},
        settings=("cudnn",),
    ),
    Reach("E_CUDNN_UNKNOWN", ("9.99",), setting={"cudnn": "9.99"}, settings=("cudnn",)),
    Reach(
        "E_DISTRO_BRANCH",
        ("debian-12", "580", "535"),
        setting={"source": "distro", "branch": "580"},
        settings=("source",),
    ),
    Reach(
        "E_DISTRO_FABRIC",
        ("H100", "fm", "debian-12"),
        ("10de:2330",),
        setting={"source": "distro"},
        settings=("source",),
    ),
    Reach(
        "E_DISTRO_SOURCE", ("ol-9",), os="ol-9", setting={"source": "distro"}, settings=("source",)
    ),
    Reach(
        "E_DRIVER_VERSION",
        ("580.95.05", "595"),
        setting={"version": "580.95.05", "branch": "595"},
        settings=("version",),
        nearest=("driver 595",),
    ),
    Reach(
        "E_FLAVOUR_ARCH",
        ("B200", "blackwell", "proprietary", "open"),
        (B200,),
        setting={"flavour": "proprietary"},
        settings=("flavour",),
    ),
    Reach("E_FLAVOUR_CONFLICT", ("V100", "B200", "open", "proprietary"), (V100, B200)),
    Reach(
        "E_FLAVOUR_DRIVER",
        ("470.256.02", "A10", "515.48.07"),
        setting={"branch": "470", "flavour": "open"},
        settings=("flavour",),
        nearest=("proprietary",),
    ),
    Reach(
        "E_FLAVOUR_KERNEL",
        ("4.15", "4.4.0"),
        setting={"flavour": "open"},
        host={"kernel": "4.4.0-1-amd64"},
        settings=("flavour",),
    ),
    Reach("E_GPU_HOST_ARCH", ("GB200", "aarch64", "x86_64"), (GB200,)),
    Reach("E_GPU_UNKNOWN", ("10de:ffff", "allow_unknown_gpu"), ("10de:ffff",)),
    Reach("E_GPU_UNKNOWN", ("1002:74a1",), ("1002:74a1",), setting={"allow_unknown_gpu": True}),
    Reach("E_LOCK_MISSING", ("nvidia-open-580",), setting={"locked": {}}, settings=("locked",)),
    Reach("E_NO_GPU", ("none",), (), settings=("components",), nearest=("CUDA 13.0", "conda")),
    Reach("E_OS_UNSUPPORTED", ("plan9-4",), os="plan9-4"),
    Reach(
        "E_PROPRIETARY_REMOVED",
        ("615", "610"),
        setting={"branch": "615", "flavour": "proprietary"},
        settings=("branch",),
    ),
    Reach(
        "E_REBOOT_FIRST",
        ("6.1", "6.2"),
        host={"kernel": "6.1", "state": HostState(newest_kernel="6.2")},
    ),
    Reach("E_RUNFILE_PRESENT", ("nvidia-uninstall",), host={"state": HostState(runfile=True)}),
    Reach("E_SECURE_BOOT_UNSIGNED", ("MOK",), host={"state": HostState(secure_boot=True)}),
    Reach(
        "E_SETTING", ("channel", "beta", "lts"), setting={"channel": "beta"}, settings=("channel",)
    ),
    Reach(
        "E_SETTING",
        ("cuda_toolkit_default", "13.0", "12.9"),
        setting={"cuda": ("12.9",), "cuda_default": "13.0"},
        settings=("cuda_default",),
    ),
    Reach(  # of what is chosen automatically it must be one, too
        "E_SETTING",
        ("cuda_toolkit_default", "99.9"),
        setting={"cuda_default": "99.9"},
        settings=("cuda_default",),
    ),
]
WARNINGS = [
    Reach(
        "W_DISTRO_BRANCH_BECAME",
        ("570", "ubuntu-24.04", "580"),
        os="ubuntu-24.04",
        setting={"source": "distro", "branch": "570"},
    ),
    Reach("W_CUDA_UNSEEN", ("12.2", "debian-12", "12.3"), setting={"cuda": ("12.2",)}),
    Reach("W_BRANCH_EOL", ("535", "2026-06-30"), setting={"branch": "535"}),
    Reach("W_CUDNN_ONE_MAJOR", ("12", "11"), setting={"cuda": ("11.8", "12.2")}),
    Reach(
        "W_FORWARD_COMPAT",
        ("13.0", "cuda-compat-13-0"),
        setting={"keep_driver": "535.288.01", "cuda": ("13.0",), "forward_compat": True},
    ),
    Reach("W_GPU_ASSUMED", ("10de:ffff",), ("10de:ffff",), setting={"allow_unknown_gpu": True}),
    Reach("W_HOST_GCC", ("12.2", "12", "14"), setting={"cuda": ("12.2",)}, host={"system_gcc": 14}),
    Reach(
        "W_HOST_GLIBC",
        ("12.9", "debian-13", "2.40", "2.41", "CUDA 13.0 and newer", "frameworks", "noexcept"),
        (V100,),
        os="debian-13",
    ),
    Reach(
        "W_HOST_GLIBC",
        ("13.1", "ubuntu-26.04", "2.41", "2.43", "CUDA 13.2 and newer"),
        os="ubuntu-26.04",
        setting={"cuda": ("13.1",)},
    ),
    Reach(
        "W_KERNEL_GCC",
        ("15", "debian-12", "12"),
        host={"kernel": "6.1", "kernel_cc": "gcc-15 (Debian) 15.1.0"},
    ),
    Reach("W_KERNEL_UNTRIED", ("7.9.1", "up to 7.3"), host={"kernel": "7.9.1"}),
    Reach(
        "W_NEXT_KERNEL_MODULES",
        ("6.8.0-1068-oracle", "driver 580", "planned are those for kernel 6.8.0-1067-oracle"),
        os="ubuntu-24.04",
        setting={"source": "distro"},
        host={
            "kernel": "6.8.0-1067-oracle",
            "state": HostState(newest_kernel="6.8.0-1068-oracle"),
            "ready_modules": {"linux-modules-nvidia-580-server-open-6.8.0-1067-oracle": ()},
        },
    ),
    Reach("W_MINOR_COMPAT", ("13.2", "580", "13.0"), setting={"cuda": ("13.2",)}),
    Reach("W_NO_SUCH_PIN", ("570", "preferences"), setting={"branch": "570"}),
]


def outcome_of(case: Reach) -> Stack | Refusal:
    desired = DesiredStack(**{"as_of": "2026-11-20", **case.setting})
    return resolve(HostFacts(case.gpus, case.os, **case.host), desired, CATALOG)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.code)
def test_refusal(case: Reach) -> None:
    refusal = outcome_of(case)
    assert isinstance(refusal, Refusal)
    assert refusal.code == case.code
    assert [word for word in case.words if word not in refusal.message] == []
    assert refusal.settings == case.settings
    assert [words for words in case.nearest if words not in (refusal.nearest or "")] == []


@pytest.mark.parametrize("case", WARNINGS, ids=lambda case: case.code)
def test_warning(case: Reach) -> None:
    stack = outcome_of(case)
    assert isinstance(stack, Stack)
    (warning,) = [note for note in stack.warnings if note.code == case.code]
    assert [word for word in case.words if word not in warning.message] == []


@pytest.mark.parametrize(
    ("system", "gpu", "setting"),
    [
        ("debian-13", V100, {"components": ("driver", "cudnn")}),  # nothing that compiles
        ("debian-13", A10, {"cuda": ("13.0",)}),
        ("debian-12", V100, {}),
        ("ubuntu-26.04", A10, {"cuda": ("13.2",)}),
    ],
)
def test_no_word_of_glibc_where_nvcc_works_or_is_not_there(
    system: str, gpu: str, setting: dict[str, Any]
) -> None:
    stack = outcome_of(Reach("", (), (gpu,), os=system, setting=setting))
    assert isinstance(stack, Stack)
    assert "W_HOST_GLIBC" not in {warning.code for warning in stack.warnings}


def test_every_code_of_the_resolver_is_reached() -> None:
    reached = {case.code for case in REFUSALS + WARNINGS} | FROM_LOCK
    folders = (Path(resolver.__file__).parent, Path(lockfile.__file__).parent)
    sources = (path.read_text() for folder in folders for path in folder.glob("*.py"))
    assert reached == {c for text in sources for c in re.findall(r'"([EW]_[A-Z_]+)"', text)}


def test_a_refusal_that_no_setting_causes_says_what_is_deeper() -> None:
    both = Reach("", (), (B200, V100), setting={"branch": "470"})
    refusal = outcome_of(both)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.settings) == ("E_BRANCH_GPU_MIN", ())
    assert "E_FLAVOUR_CONFLICT" in str(refusal.nearest)


def test_a_refusal_is_still_a_message() -> None:
    refusal = outcome_of(REFUSALS[0])
    assert isinstance(refusal, Message)
    assert refusal == Refusal(refusal.code, refusal.message, refusal.nearest, refusal.settings)
