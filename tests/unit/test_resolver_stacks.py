"""What a stack says in the cases that roles stand or fall by."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.model import DesiredStack, HostFacts, HostState, Stack
from gpuprep.packages.deb import DEB

CATALOG = load()
A10, V100, H100, B200 = "10de:2236", "10de:1db1", "10de:2330", "10de:2901"


def stack(
    gpus: str | tuple[str, ...], os: str, host: dict[str, Any] | None = None, **setting: Any
) -> Stack:
    gpus = (gpus,) if isinstance(gpus, str) else gpus
    desired = DesiredStack(**{"as_of": "2026-11-20", **setting})
    outcome = resolve(HostFacts(gpus, os, **(host or {})), desired, CATALOG)
    assert isinstance(outcome, Stack), outcome
    return outcome


def names(outcome: Stack, component: str = "driver") -> list[str]:
    return [p.name for p in outcome.packages if p.component == component]


def preferences(outcome: Stack) -> str:
    """The file that holds what no pinning package does."""
    return DEB.preferences(outcome)


def test_the_three_hosts_of_the_demo() -> None:
    a10 = stack(A10, "debian-12", {"kernel": "6.1.0-56-amd64"})
    assert (a10.branch, a10.flavour, a10.cuda[0].version) == ("580", "open", "13.0")
    v100 = stack((V100,) * 8, "debian-13")
    assert (v100.branch, v100.flavour, v100.cuda[0].version, v100.cudnn) == (
        *("580", "proprietary", "12.9"),
        "9.10.2.21",
    )
    h100 = stack((H100,) * 8, "debian-12", {"nvswitches": 4, "shape": "BM.GPU.H100.8"})
    assert h100.fabric == "fm"
    assert "nvidia-fabricmanager" in names(h100)
    assert h100.services == ("nvidia-persistenced", "nvidia-fabricmanager")


def test_the_pinning_package_comes_first_and_alone() -> None:
    first, *rest = stack(A10, "debian-12", {"kernel": "6.1"}, components=("driver",)).packages
    assert (first.name, first.pre_install) == ("nvidia-driver-pinning-580", True)
    assert not any(package.pre_install for package in rest)


def test_a_full_version_is_pinned_by_its_own_package() -> None:
    exact = stack(A10, "debian-12", version="580.95.05")
    assert (exact.branch, exact.driver_version) == ("580", "580.95.05")
    assert names(exact)[0] == "nvidia-driver-pinning-580.95.05"


def test_without_a_pinning_package_preferences_hold_the_branch() -> None:
    old = stack(A10, "debian-12", branch="570")
    assert "nvidia-driver-pinning-570" not in names(old)
    assert "Pin: version 570.*\nPin-Priority: 1001" in preferences(old)
    assert "libnvidia-*" in preferences(old)
    exact = stack(A10, "debian-12", version="570.211.01")
    assert "Pin: version 570.211.01-*\n" in preferences(exact)


def test_the_closure_binds_the_driver_and_nothing_else() -> None:
    closure = stack(A10, "debian-12").version_locked

    def bound(name: str) -> bool:
        hits = [p for p in closure if fnmatchcase(name, p.removeprefix("!"))]
        return bool(hits) and not any(p.startswith("!") for p in hits)

    for name in ("libcuda1", "libnvidia-ml1", "nvidia-open-580", "nvidia-kernel-open-dkms",
                 "nvidia-fabricmanager", "nvidia-imex", "libnvidia-nscq", "firmware-nvidia-gsp",
                 "nvidia-persistenced", "xserver-xorg-video-nvidia"):  # fmt: skip
        assert bound(name), name
    for name in ("nvidia-driver-pinning-580", "nvidia-container-toolkit", "libnvidia-container1",
                 "libnvidia-egl-wayland1", "cuda-toolkit-13-0", "libcudnn9-cuda-13", "nvlsm",
                 "nvidia-driver-assistant"):  # fmt: skip
        assert not bound(name), name


def test_a_toolkit_knows_its_own_packages_and_no_other_toolkits() -> None:
    newer, older = stack(A10, "debian-12", components=("cuda",), cuda=("12.9", "13.0")).cuda
    assert (newer.version, older.version) == ("13.0", "12.9")
    assert any(fnmatchcase("libcublas-13-0", p) for p in newer.names)
    assert not any(fnmatchcase("libcublas-13-0", p) for p in older.names)


def test_the_wanted_default_toolkit_is_first() -> None:
    toolkits = stack(A10, "debian-12", cuda=("12.9", "13.0"), cuda_default="12.9").cuda
    assert [t.version for t in toolkits] == ["12.9", "13.0"]


def test_a_full_cuda_release_is_an_exact_version() -> None:
    (package,) = stack((), "debian-12", components=("cuda",), cuda=("13.0.1",)).packages
    assert (package.name, package.version) == ("cuda-toolkit-13-0", "13.0.1-1")


@pytest.mark.parametrize("components", [("conda",), ("cuda",), ("cudnn",), ("cuda", "conda"), ()])
def test_a_host_without_a_gpu_gets_what_needs_none(components: tuple[str, ...]) -> None:
    outcome = stack((), "debian-12", components=components, cuda=("13.0",))
    assert outcome.branch is None
    assert names(outcome) == []
    assert (outcome.conda is not None) == ("conda" in components)
    assert (outcome.repository is not None) == bool({"cuda", "cudnn"} & set(components))


def test_a_kept_driver_is_left_alone() -> None:
    kept = stack(H100, "ubuntu-22.04", keep_driver="595.71.05")
    assert (kept.branch, kept.driver_version, kept.manage_driver) == ("595", "595.71.05", False)
    assert names(kept) == []
    assert (kept.services, kept.version_locked, kept.pins, kept.stream) == ((), (), (), None)
    assert kept.cuda[0].version == "13.2"


def test_debian_archive_builds_its_own_module() -> None:
    own = stack(
        A10,
        "debian-12",
        {"kernel": "6.1.0-56-amd64"},
        source="distro",
        components=("driver",),
    )
    assert own.flavour == "proprietary"  # the open one cannot be installed there
    assert (own.branch, own.module, own.repository, own.pins) == (
        "535",
        "nvidia-current",
        None,
        (),
    )
    assert {"linux-headers-6.1.0-56-amd64", "nvidia-kernel-dkms"} <= set(names(own))
    assert all(package.origin == "distro" for package in own.packages)


def test_an_exact_version_of_the_archive_is_pinned() -> None:
    exact = stack(A10, "debian-12", source="distro", version="535.261.03", components=("driver",))
    assert exact.driver_version == "535.261.03"
    assert "Pin: version 535.261.03-*\nPin-Priority: 1001" in preferences(exact)


def test_nvidias_driver_is_kept_out_where_only_its_toolkit_is_wanted() -> None:
    mixed = stack(A10, "debian-12", source="distro")
    assert "Pin: release o=NVIDIA\nPin-Priority: -1" in preferences(mixed)
    assert mixed.cuda


def test_secure_boot_takes_ubuntus_signed_modules() -> None:
    host = {"kernel": "6.8.0-1035-oracle", "state": HostState(secure_boot=True)}
    signed = stack(A10, "ubuntu-24.04", host, source="distro", components=("driver",))
    assert "linux-modules-nvidia-580-server-open-6.8.0-1035-oracle" in names(signed)
    assert not any("dkms" in name for name in names(signed) if "no-dkms" not in name)


@pytest.mark.parametrize(
    ("system", "kernel", "package"),
    [
        ("ol-8", "4.18.0-553.el8_10.x86_64", "kernel-devel"),
        ("ol-9", "5.14.0-570.el9.x86_64", "kernel-devel"),
        ("ol-9", "6.12.0-100.el9uek.x86_64", "kernel-uek-devel"),
        ("ol-10", "6.12.0-100.el10uek.x86_64", "kernel-uek-devel"),
    ],
)
def test_headers_never_bring_another_kernel(system: str, kernel: str, package: str) -> None:
    outcome = stack(A10, system, {"kernel": kernel}, components=("driver",))
    # By its release, as the package manager of several versions side by side knows it.
    assert f"{package}-{kernel}" in names(outcome)
    assert package not in names(outcome)


def test_headers_of_a_kernel_with_large_pages() -> None:
    host = {"kernel": "5.14.0-570.el9.aarch64+64k", "arch": "aarch64"}
    outcome = stack("10de:2342", "ol-9", host, components=("driver",))
    assert "kernel-64k-devel-5.14.0-570.el9.aarch64" in names(outcome)


@pytest.mark.parametrize(
    ("gpu", "shape", "fabric"),
    [
        (H100, None, "fm"),
        (H100, "BM.GPU.H100.8", "fm"),
        ("10de:20b2", "VM.GPU.A100.80G.1", "none"),
        (B200, "BM.GPU.B200.8", "fm+nvlsm"),
        (V100, "BM.GPU3.8", "none"),
    ],
)
def test_fabric_by_shape_else_by_gpu(gpu: str, shape: str | None, fabric: str) -> None:
    assert stack(gpu, "ubuntu-22.04", {"shape": shape}).fabric == fabric


def test_a_mirror_replaces_base_and_key() -> None:
    outcome = stack(
        A10,
        "debian-13",
        mirror="http://10.9.8.1:8000/cuda/repos/",
        mirror_fingerprint="a" * 40,
        conda_mirror="http://c/m/",
    )
    assert outcome.repository is not None
    assert outcome.repository.url == "http://10.9.8.1:8000/cuda/repos/debian13/x86_64/"
    assert (
        outcome.repository.key.url == "http://10.9.8.1:8000/cuda/repos/debian13/x86_64/8793F200.pub"
    )
    assert outcome.repository.key.fingerprint == "A" * 40
    assert outcome.conda is not None
    assert outcome.conda.url.startswith(f"http://c/m/{outcome.conda.version}/Miniforge3-")


def test_what_a_mirror_holds_is_its_owners_business() -> None:
    unseen: dict[str, Any] = {"cuda": ("12.2",), "components": ("cuda",)}
    assert [w.code for w in stack((), "debian-12", **unseen).warnings] == ["W_CUDA_UNSEEN"]
    assert stack((), "debian-12", mirror="http://m.example", **unseen).warnings == ()


def test_every_choice_has_a_reason_and_a_source() -> None:
    outcome = stack(V100, "ubuntu-22.04")
    reasons = {reason.choice: reason for reason in outcome.reasons}
    assert set(reasons) == {
        *("branch", "flavour", "kernels", "repository", "cuda", "cudnn", "conda")
    }
    assert "last branch for Volta" in reasons["branch"].why
    assert all(reason.source in CATALOG.sources for reason in outcome.reasons)


@pytest.mark.parametrize(("default", "major"), [(None, "12"), ("11.8", "11")])
def test_of_two_cuda_majors_the_default_toolkits_gets_cudnn_and_the_other_is_told(
    default: str | None, major: str
) -> None:
    """Packages of two majors own the same files: together no package manager installs them."""
    parts = ("cuda", "cudnn")
    toolkits = ("11.8", "12.9")
    outcome = stack(A10, "debian-12", components=parts, cuda=toolkits, cuda_default=default)
    packages = {p.name for p in outcome.packages if p.component == "cudnn"}
    assert packages
    assert all(name.endswith(f"-cuda-{major}") for name in packages)
    assert "W_CUDNN_ONE_MAJOR" in {warning.code for warning in outcome.warnings}


def test_facts_decide_case_and_order_do_not() -> None:
    one = stack((V100, A10), "ubuntu-22.04")
    other = stack((A10.upper(), V100, A10), "ubuntu-22.04")
    assert (one.packages, one.branch, one.flavour) == (other.packages, other.branch, other.flavour)
