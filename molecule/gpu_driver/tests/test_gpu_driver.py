"""The driver on real hosts: one version, held, pinned, trusted, its module built, its daemon up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

BRANCH = "580"
REPOSITORY = "/etc/apt/sources.list.d/gpuprep-nvidia.sources"
KEYRING = "/usr/share/keyrings/gpuprep-nvidia.asc"
FLAVOURS = {  # by codename: an A10 takes the open module, a V100 cannot
    "bookworm": ("nvidia-kernel-open-dkms", "Dual MIT/GPL"),
    "trixie": ("nvidia-kernel-dkms", "NVIDIA"),
}


def driver_packages(host: Host) -> dict[str, str]:
    """Version of each package that is bound to the driver's version."""
    form = r"${Package} ${Version}\n"
    lines = host.check_output("dpkg-query -W -f %s", form).splitlines()
    pairs = dict(line.split() for line in lines)
    named = ("libnvidia-", "nvidia-open", "cuda-drivers", "nvidia-driver", "nvidia-kernel",
             "nvidia-persistenced", "libcuda1", "nvidia-modprobe")  # fmt: skip
    return {
        name: version
        for name, version in pairs.items()
        if name.startswith(named) and "pinning" not in name
    }


@pytest.mark.proves("version.packages")
def test_all_driver_packages_are_at_one_version_of_the_branch(host: Host) -> None:
    versions = set(driver_packages(host).values())
    assert len(driver_packages(host)) > 10
    assert len(versions) == 1
    assert versions.pop().startswith(f"{BRANCH}.")


def test_all_driver_packages_are_held(host: Host) -> None:
    held = set(host.check_output("apt-mark showhold").split())
    assert set(driver_packages(host)) <= held


@pytest.mark.proves("module.on_disk")
def test_the_module_is_built_for_the_running_kernel(host: Host) -> None:
    package, license_ = FLAVOURS[host.system_info.codename]
    assert host.package(package).is_installed
    kernel = host.check_output("uname -r")
    shown = host.check_output("modinfo -k %s nvidia", kernel).splitlines()
    facts = {key: value.strip() for key, _, value in (line.partition(":") for line in shown)}
    assert facts["license"] == license_
    assert facts["vermagic"].split()[0] == kernel
    assert host.package(package).version.startswith(facts["version"])


@pytest.mark.proves("unit.running")
def test_the_persistence_daemon_is_enabled_and_running(host: Host) -> None:
    unit = host.service("nvidia-persistenced")
    assert unit.is_enabled
    assert unit.is_running, host.check_output("journalctl -n 20 -u nvidia-persistenced")


def test_the_repository_is_trusted_by_its_own_key_only(host: Host) -> None:
    source = host.file(REPOSITORY)
    assert (source.mode, source.user, source.group) == (0o644, "root", "root")
    assert f"Signed-By: {KEYRING}" in source.content_string
    expected = host.check_output("gpg --show-keys --with-colons %s", KEYRING)
    assert [line.split(":")[0] for line in expected.splitlines()].count("pub") == 1
    assert not host.file("/etc/apt/trusted.gpg").exists
    policy = host.check_output("apt-cache policy libcuda1")
    assert "600" in policy


def test_a_newer_branch_in_the_repository_is_pinned_away(host: Host) -> None:
    offered = host.check_output("apt-cache madison libcuda1")
    assert any(f" {branch}." in offered for branch in ("590", "595", "600", "610"))
    candidate = host.check_output("apt-cache policy libcuda1").split("Candidate: ")[1].split()[0]
    assert candidate.startswith(f"{BRANCH}.")
    assert "0 upgraded" in host.check_output("apt-get -s dist-upgrade --allow-change-held-packages")


@pytest.mark.proves("nouveau.absent")
def test_nouveau_is_kept_from_loading(host: Host) -> None:
    shown = host.check_output("modprobe --showconfig")
    assert "blacklist nouveau" in shown
    assert "options nouveau modeset=0" in shown
