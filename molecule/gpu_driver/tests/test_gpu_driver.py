"""The driver on real hosts: one version, held, pinned, trusted, its module built, its daemon up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from installed import Packages
    from testinfra.host import Host

BRANCH = "580"
NEWER = ("590", "595", "600", "610", "615")
FLAVOURS = {  # by distribution: an A10 takes the open module, a V100 cannot
    "bookworm": ("nvidia-kernel-open-dkms", "Dual MIT/GPL"),
    "trixie": ("nvidia-kernel-dkms", "NVIDIA"),
    "rpm": ("kmod-nvidia-open-dkms", "Dual MIT/GPL"),
    "noble": ("nvidia-dkms-580-open", "Dual MIT/GPL"),
}
# What carries the driver's version in every branch that a repository offers.
WITNESS = {"noble": "nvidia-open"}
FILES = {  # repository file, key, how the one names the other
    False: (
        "/etc/apt/sources.list.d/gpuprep-nvidia.sources",
        "/usr/share/keyrings/gpuprep-nvidia.asc",
        "Signed-By: ",
    ),
    True: (
        "/etc/yum.repos.d/gpuprep-nvidia.repo",
        "/etc/pki/rpm-gpg/gpuprep-nvidia.asc",
        "gpgkey=file://",
    ),
}
NAMED = (
    *("nvidia-dkms", "nvidia-utils", "nvidia-compute-utils", "nvidia-firmware"),
    *("libnvidia-", "nvidia-open", "cuda-drivers", "nvidia-driver", "nvidia-kernel"),
    *("nvidia-persistenced", "libcuda1", "nvidia-modprobe", "nvidia-kmod", "kmod-nvidia"),
)


def is_of_driver(name: str) -> bool:
    """Whether a package is bound to the driver's version."""
    return name.startswith(NAMED) and "pinning" not in name


def of_driver(packages: Packages) -> dict[str, str]:
    """Version of each package that is bound to the driver's version."""
    return {
        name: version.rpartition(":")[2]
        for name, version in packages.versions.items()
        if is_of_driver(name)
    }


@pytest.mark.proves("version.packages")
def test_all_driver_packages_are_at_one_version_of_the_branch(packages: Packages) -> None:
    found = of_driver(packages)
    versions = {version.partition("-")[0] for version in found.values()}
    assert len(found) > 10
    assert len(versions) == 1
    assert versions.pop().startswith(f"{BRANCH}.")


def test_all_driver_packages_are_held(packages: Packages) -> None:
    assert set(of_driver(packages)) <= packages.held


@pytest.mark.proves("module.on_disk")
def test_the_module_is_built_for_the_running_kernel(host: Host, packages: Packages) -> None:
    package, license_ = FLAVOURS["rpm" if packages.rpm else host.system_info.codename]
    kernel = host.check_output("uname -r")
    shown = host.check_output("modinfo -k %s nvidia", kernel).splitlines()
    facts = {key: value.strip() for key, _, value in (line.partition(":") for line in shown)}
    assert facts["license"] == license_
    assert facts["vermagic"].split()[0] == kernel
    assert of_driver(packages)[package].startswith(facts["version"])


@pytest.mark.proves("unit.running")
def test_the_persistence_daemon_is_enabled_and_running(host: Host) -> None:
    unit = host.service("nvidia-persistenced")
    assert unit.is_enabled
    assert unit.is_running, host.check_output("journalctl -n 20 -u nvidia-persistenced")


def test_the_repository_is_trusted_by_its_own_key_only(host: Host, packages: Packages) -> None:
    repository, keyring, names = FILES[packages.rpm]
    source = host.file(repository)
    assert (source.mode, source.user, source.group) == (0o644, "root", "root")
    assert f"{names}{keyring}" in source.content_string
    expected = host.check_output("gpg --show-keys --with-colons %s", keyring)
    assert [line.split(":")[0] for line in expected.splitlines()].count("pub") == 1
    if packages.rpm:
        assert "gpgcheck=1" in source.content_string
        return
    assert not host.file("/etc/apt/trusted.gpg").exists
    witness = WITNESS.get(host.system_info.codename or "", "libcuda1")
    assert "600" in host.check_output("apt-cache policy %s", witness)


def test_a_newer_branch_in_the_repository_is_kept_away(host: Host, packages: Packages) -> None:
    if packages.rpm:
        query = "dnf -q repoquery --qf '%{version} ' nvidia-driver-cuda"
        unlocked = f"{query} --disableplugin=versionlock --setopt='*.module_hotfixes=1'"
        assert any(one.startswith(NEWER) for one in host.check_output(unlocked).split())
        assert {one[:3] for one in host.check_output(query).split()} == {BRANCH}
        assert host.run("dnf -q --assumeno upgrade '*nvidia*'").stdout.strip() == ""
        return
    witness = WITNESS.get(host.system_info.codename or "", "libcuda1")
    offered = host.check_output("apt-cache madison %s", witness)
    assert any(f" {branch}." in offered for branch in NEWER)
    policy = host.check_output("apt-cache policy %s", witness)
    assert policy.split("Candidate: ")[1].split()[0].startswith(f"{BRANCH}.")
    # The distribution's own updates, which may come on any day, are not asked about.
    simulated = "apt-get -s dist-upgrade --allow-change-held-packages"
    steps = [line.split() for line in host.check_output(simulated).splitlines()]
    moved = {words[1] for words in steps if words and words[0] in {"Inst", "Remv"}}
    assert {name for name in moved if is_of_driver(name)} == set()


@pytest.mark.proves("nouveau.absent")
def test_nouveau_is_kept_from_loading(host: Host) -> None:
    shown = host.check_output("modprobe --showconfig")
    assert "blacklist nouveau" in shown
    assert "options nouveau modeset=0" in shown
