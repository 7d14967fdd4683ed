"""Hosts of Enterprise Linux do with dnf, rpm and DKMS what was measured on that family."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuprep import catalog
from sandbox import bootstrap, hosts, inventory, servers
from sandbox.el import distribution
from sandbox.el.systems import SYSTEMS
from sandbox.fleet import HostSpec
from sandbox.nvrepo.build import REPOS

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

OL9 = SYSTEMS["ol-9"]
SERVED = ("ol-9", "ol-10")
UEK, RHCK = OL9.kernels
NEWER = OL9.offered[-1]
LOCK = """\
*nvidia*-3:580.*
cuda-drivers-3:580.*
nvidia-fabricmanager-0:580.*
nvidia-imex-0:580.*
libnvidia-nscq-0:580.*
libnvsdm-0:580.*
nvlink5-0:580.*
"""


def on(name: str, command: str) -> subprocess.CompletedProcess[str]:
    return hosts.run(name, ["sh", "-c", command], timeout=600)


def said(name: str, command: str) -> str:
    done = on(name, command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def would_install(name: str, *packages: str) -> dict[str, str]:
    """Return what dnf would install, by name, with its version and release."""
    shown = on(name, f"dnf --assumeno install {' '.join(packages)}")
    # A row whose name is long goes on in the next line.
    text = re.sub(r"^( \S+)\n +", r"\1 ", shown.stdout, flags=re.MULTILINE)
    rows = [line.split() for line in text.splitlines() if line.startswith(" ")]
    return {row[0]: row[2] for row in rows if len(row) == 6}


@pytest.fixture(scope="module")
def repositories() -> Iterator[dict[str, str]]:
    """Start a host of each system and serve two of them; return where NVIDIA's is for these."""
    bootstrap.ensure()
    try:
        hosts.start_all([HostSpec(f"el-{name}", name) for name in SYSTEMS])
        files = servers.distributions(SERVED)
        for name in SERVED:
            for path, text in files[name].items():
                hosts.write_file(f"el-{name}", path, text)
        base = servers.base()
        yield {name: f"{base}/{REPOS}/{SYSTEMS[name].distro}/x86_64" for name in SERVED}
    finally:
        hosts.stop_all(f"el-{name}" for name in SYSTEMS)


def add_nvidia(host: str, url: str, key: str) -> None:
    text = f"[cuda]\nname=cuda\nbaseurl={url}\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\n"
    hosts.write_file(host, "/etc/yum.repos.d/cuda.repo", f"{text}gpgkey={key}\n")


@pytest.fixture(scope="module")
def host(repositories: dict[str, str]) -> str:
    """Return Oracle Linux 9 with NVIDIA's repository and that with dkms."""
    url = repositories["ol-9"]
    add_nvidia("el-ol-9", url, f"{url}/{catalog.load().systems['ol-9'].key.file}")
    said("el-ol-9", "dnf -qy makecache")
    said("el-ol-9", "dnf -qy install oracle-epel-release-el9")
    return "el-ol-9"


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.usefixtures("repositories")
def test_a_host_is_the_system_that_it_says(name: str) -> None:
    system, host = SYSTEMS[name], f"el-{name}"
    assert hosts.system_state(host) == "running"
    told = said(host, ". /etc/os-release; echo $ID $VERSION_ID $PLATFORM_ID")
    assert told == f"{system.ident} {system.version} platform:el{system.major}"
    assert said(host, "rpm -E %rhel") == str(system.major)
    assert said(host, "uname -r") == system.kernels[0].uname
    python = said(host, "python3 -c 'import os, sys; print(os.uname().release, sys.version)'")
    assert python.split()[0] == system.kernels[0].uname
    assert python.split()[1].startswith(system.python or "3.1")
    assert on(host, "command -v dpkg apt-get; ls /var/lib/dpkg").stdout == ""
    installed = said(host, "rpm -qa --qf '%{NAME}-%{VERSION}-%{RELEASE}\\n'").split()
    assert {f"{one.stem}-core-{one.release}" for one in system.kernels} <= set(installed)
    if name in SERVED:
        offered = said(host, "dnf -q repoquery --qf '%{repoid} %{version}' gcc")
        assert offered == f"ol{system.major}_baseos_latest {system.gcc}"
    reached = inventory.ssh_command(hosts.find(host), ["id", "-un"])
    assert subprocess.run(reached, check=True, capture_output=True).stdout == b"root\n"


def test_the_default_boot_entry_is_the_kernel_after_a_reboot(host: str) -> None:
    assert said(host, "grubby --default-kernel") == f"/boot/vmlinuz-{UEK.uname}"
    said(host, f"grubby --set-default /boot/vmlinuz-{RHCK.uname}")
    assert said(host, "uname -r") == UEK.uname
    reboot(host)
    assert said(host, "uname -r") == RHCK.uname
    said(host, f"grubby --set-default=/boot/vmlinuz-{UEK.uname}")
    reboot(host)
    assert said(host, "uname -r") == UEK.uname


def reboot(name: str) -> None:
    before = said(name, "awk '{print $22}' /proc/1/stat")
    on(name, "systemctl reboot")
    deadline = time.monotonic() + 60
    while on(name, "awk '{print $22}' /proc/1/stat").stdout.strip() in {before, ""}:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    hosts.wait_ready(name)


def test_a_package_that_another_key_signed_is_not_installed(
    host: str, repositories: dict[str, str]
) -> None:
    url = repositories["ol-9"]
    add_nvidia(host, url, f"file:///etc/pki/rpm-gpg/{distribution.KEY}")
    try:
        refused = on(host, "dnf -qy --setopt=cuda.repo_gpgcheck=0 install nvidia-modprobe")
        assert refused.returncode != 0
        assert "GPG check FAILED" in refused.stdout + refused.stderr
        assert on(host, "rpm -q nvidia-modprobe").returncode != 0
        # What an earlier command has read and found in order is not looked at again.
        unread = on(host, "dnf -qy clean all; rm -rf /var/cache/dnf; dnf -qy --repo cuda makecache")
        assert unread.returncode != 0, unread
    finally:
        add_nvidia(host, url, f"{url}/{catalog.load().systems['ol-9'].key.file}")
    assert said(host, "dnf -qy --repo cuda makecache --refresh; echo done") == "done"


def test_a_stream_decides_what_is_offered_and_dnf_refuses_to_switch_it(host: str) -> None:
    query = "dnf -q repoquery --qf '%{epoch}:%{version}' nvidia-driver"
    said(host, "dnf -qy module reset nvidia-driver")
    assert said(host, query).split() == ["3:615.71.09"]  # open-dkms, the default
    said(host, "dnf -qy module enable nvidia-driver:580-open")
    assert set(said(host, query).split()) == {"3:580.95.05", "3:580.178.04"}
    switched = on(host, "dnf -qy module enable nvidia-driver:570-open")
    assert switched.returncode != 0
    assert "not possible to switch enabled streams" in switched.stdout + switched.stderr
    assert set(said(host, query).split()) == {"3:580.95.05", "3:580.178.04"}


def test_add_ons_follow_no_stream_until_they_are_locked(host: str) -> None:
    said(host, "dnf -qy module enable nvidia-driver:580-open")
    said(host, "dnf -qy install python3-dnf-plugin-versionlock")
    assert would_install(host, "nvlink5", "libnvidia-nscq") == {
        "nvlink5": "615.71.09-1",
        "libnvidia-nscq": "3:615.71.09-1.el9",
    }
    hosts.write_file(host, "/etc/dnf/plugins/versionlock.list", LOCK)
    locked = would_install(host, "nvlink5", "libnvidia-nscq", "nvidia-driver-cuda", "nvidia-imex")
    assert locked["nvidia-driver-cuda"] == "3:580.178.04-1.el9"
    assert locked["nvlink5"] == locked["nvidia-imex"] == "580.178.04-1"
    other = on(host, "dnf -q --assumeno install nvlink5-595.91.07")
    assert "Unable to find a match" in other.stdout + other.stderr
    hosts.write_file(host, "/etc/dnf/plugins/versionlock.list", "\n")


def test_dkms_brings_a_newer_kernel_unless_the_tree_of_the_old_one_comes_with_it(
    host: str,
) -> None:
    alone = would_install(host, "dkms")
    assert alone["kernel-core"] == NEWER.release
    beside = would_install(host, "dkms", f"kernel-devel-matched-{RHCK.release}")
    assert beside["kernel-devel"] == RHCK.release
    assert "kernel-core" not in beside


OLD_DKMS, NEW_DKMS = OL9.dkms
FRAMEWORK = "/etc/dkms/framework.conf.d/toolset.conf"
TOOLSET = f"/opt/rh/gcc-toolset-{OL9.toolsets[0]}"


def install_driver(host: str, dkms: str = OLD_DKMS) -> None:
    trees = f"kernel-devel-matched-{RHCK.release} kernel-uek-devel-{UEK.release}"
    said(host, "dnf -qy module enable nvidia-driver:580-open")
    said(host, f"dnf -qy install dkms-{dkms} {trees}")
    assert said(host, "dkms --version") == f"dkms-{dkms}"
    said(host, "dnf -qy install nvidia-open-3:580.95.05")


def test_dnf_succeeds_without_a_module_and_says_nothing(host: str) -> None:
    install_driver(host)
    assert said(host, "dkms status") == "nvidia/580.95.05: added"
    log = said(host, "grep -m1 error: /var/lib/dkms/nvidia/580.95.05/build/make.log")
    assert "unrecognized command-line option" in log
    assert "-ftrivial-auto-var-init=zero" in log
    # nvidia-modprobe alone is not held to the driver's version.
    of_driver = "rpm -q --qf '%{EPOCH}:%{VERSION}' "
    assert said(host, f"{of_driver} nvidia-driver-cuda") == "3:580.95.05"
    assert said(host, f"{of_driver} nvidia-modprobe") == "3:580.178.04"


def test_a_module_is_really_compiled_by_the_toolset_and_by_the_systems_own_compiler(
    host: str,
) -> None:
    install_driver(host)
    make = f'MAKE[0]="make CC={TOOLSET}/root/usr/bin/gcc KERNEL_UNAME=${{kernelver}} modules"\n'
    hosts.write_file(host, "/etc/dkms/nvidia.conf", make)
    said(host, f"dkms install -m nvidia -v 580.95.05 -k {UEK.uname}")
    assert said(host, "modinfo -F vermagic nvidia").split()[0] == UEK.uname
    hosts.write_file(host, "/etc/dkms/nvidia.conf", "")
    said(host, f"dkms install -m nvidia -v 580.95.05 -k {RHCK.uname}")
    lines = said(host, "dkms status").splitlines()
    assert sorted(lines) == sorted(
        f"nvidia/580.95.05, {one.uname}, x86_64: installed" for one in (UEK, RHCK)
    )
    assert said(host, f"modinfo -k {RHCK.uname} -F version nvidia-uvm") == "580.95.05"
    said(host, "dnf -qy remove kmod-nvidia-open-dkms")
    assert on(host, "dkms status").stdout == ""
    assert on(host, "ls /lib/modules/*/extra/nvidia.ko").stdout == ""


def test_a_newer_dkms_takes_the_toolset_from_its_own_settings(host: str) -> None:
    said(host, "rm -f /etc/dkms/nvidia.conf; mkdir -p /etc/dkms/framework.conf.d")
    hosts.write_file(host, FRAMEWORK, f'build_environment="{TOOLSET}/enable"\n')
    try:
        install_driver(host, NEW_DKMS)
        built = said(host, "dkms status").splitlines()
        assert f"nvidia/580.95.05, {UEK.uname}, x86_64: installed" in built
        said(host, "dnf -qy remove kmod-nvidia-open-dkms")
        # An older one reads the same file and does not know the word.
        said(host, f"dnf -qy downgrade dkms-{OLD_DKMS}")
        install_driver(host)
        assert said(host, "dkms status") == "nvidia/580.95.05: added"
    finally:
        hosts.write_file(host, FRAMEWORK, "")
        said(host, "dnf -qy remove kmod-nvidia-open-dkms dkms")


def test_the_driver_changes_every_boot_entry_and_takes_it_back(host: str) -> None:
    argument = "rd.driver.blacklist=nouveau"
    entries = len(said(host, "ls /boot/loader/entries").split())
    assert argument not in said(host, "grubby --info=ALL")
    install_driver(host)
    assert said(host, "grubby --info=ALL").count(argument) == entries
    said(host, "dnf -qy remove kmod-nvidia-open-dkms nvidia-kmod-common dkms")
    assert argument not in said(host, "grubby --info=ALL")


def test_the_newest_branch_takes_the_place_of_packages_that_it_lacks(host: str) -> None:
    said(host, "dnf -qy module reset nvidia-driver")
    said(host, "dnf -qy module enable nvidia-driver:595-open")
    said(host, "dnf -qy install --setopt=install_weak_deps=0 nvidia-driver-cuda-libs")
    assert on(host, "rpm -q libnvidia-ml").returncode == 0
    said(host, "dnf -qy module reset nvidia-driver")
    said(host, "dnf -qy module enable nvidia-driver:615-open")
    said(host, "dnf -qy upgrade nvidia-driver-cuda-libs")
    assert on(host, "rpm -q libnvidia-ml libnvidia-cfg").returncode == 2
    assert said(host, "rpm -q --qf '%{VERSION}' nvidia-driver-common") == "615.71.09"
    found = would_install(host, "nvidia-open", "selinux-policy-targeted")
    assert found["nvidia-driver-selinux"] == "0.1-2.el9"
    assert "egl-wayland2" in found
    said(host, "dnf -qy remove nvidia-driver-common")
    said(host, "dnf -qy module reset nvidia-driver")


def test_uek_8_says_which_package_a_module_is_in(host: str) -> None:
    home = f"/lib/modules/{UEK.uname}"
    listed = said(host, f"cat {home}/modules.packages").splitlines()
    assert "ib_umad kernel-uek-modules-core" in listed
    assert said(host, "modinfo -F vermagic video").split()[0] == UEK.uname
    assert on(host, "modinfo iwlwifi").returncode != 0
    said(host, f"dnf -qy install kernel-uek-modules-wireless-{UEK.release}")
    assert said(host, f"ls {home}/kernel/drivers/net/wireless/intel/iwlwifi") == "iwlwifi.ko.xz"
    said(host, "dnf -qy remove kernel-uek-modules-wireless")


def test_oracles_repositories_are_found_by_region(host: str) -> None:
    text = said(host, "cat /etc/yum.repos.d/uek-ol9.repo")
    assert "baseurl=http://yum$ociregion.$ocidomain/" in text
    listed = said(host, "dnf -q repolist --all").splitlines()
    states = {line.split()[0]: line.split()[-1] for line in listed[1:]}
    assert states["ol9_UEKR8"] == states["ol9_oci_included"] == "enabled"
    assert states["ol9_codeready_builder"] == "disabled"
    assert said(host, "dnf -q repoquery --qf '%{repoid}' oci-utils") == "ol9_oci_included"


def test_an_image_may_have_a_driver_already() -> None:
    hosts.start_all([HostSpec("el-gpu", "ol-9-gpu")])
    try:
        assert hosts.system_state("el-gpu") == "running"
        assert said("el-gpu", "uname -r") == UEK.uname
        built = f"nvidia/580.95.05, {UEK.uname}, x86_64: installed"
        assert said("el-gpu", "dkms status") == built
        assert said("el-gpu", "modinfo -F vermagic nvidia").split()[0] == UEK.uname
        assert on("el-gpu", "rpm -q nvidia-open nvidia-driver-cuda dkms").returncode == 0
        assert said("el-gpu", "rpm -Va --nofiles --nodeps; echo good") == "good"
    finally:
        hosts.stop("el-gpu")


def test_a_host_says_that_secure_boot_is_on() -> None:
    hosts.start_all([HostSpec("el-secure", "rocky-9", secure_boot=True)])
    try:
        variable = "/sys/firmware/efi/efivars/SecureBoot-*"
        assert said("el-secure", f"od -An -tu1 {variable}").split() == ["6", "0", "0", "0", "1"]
        assert hosts.system_state("el-secure") == "running"
    finally:
        hosts.stop("el-secure")


@pytest.mark.usefixtures("repositories")
def test_from_10_on_a_key_that_signed_itself_with_sha_1_is_refused(tmp_path: Path) -> None:
    home = ["gpg", "--batch", "--quiet", "--homedir", str(tmp_path), "--passphrase", ""]
    tmp_path.chmod(0o700)
    make = ["--quick-gen-key", "Old <old@example.com>", "rsa2048", "sign", "never"]
    subprocess.run([*home, "--cert-digest-algo", "SHA1", *make], check=True, capture_output=True)
    export = subprocess.run([*home, "--armor", "--export"], check=True, capture_output=True)
    for host, status in (("el-ol-10", 1), ("el-ol-9", 0)):
        hosts.write_file(host, "/root/old.pub", export.stdout.decode())
        done = on(host, "rpm --import /root/old.pub")
        assert done.returncode == status, done.stderr
    assert "import failed" in on("el-ol-10", "rpm --import /root/old.pub").stderr


def test_from_10_on_there_are_no_streams(repositories: dict[str, str]) -> None:
    url, host = repositories["ol-10"], "el-ol-10"
    add_nvidia(host, url, f"{url}/{catalog.load().systems['ol-10'].key.file}")
    offered = said(host, "dnf -qy repoquery --qf '%{epoch}:%{version}\n' nvidia-driver")
    assert set(offered.split()) == {
        *("3:570.211.01", "3:580.95.05", "3:580.178.04", "3:595.91.07", "3:615.71.09"),
    }
    assert "No matching Modules to list" in on(host, "dnf module list nvidia-driver").stderr
    said(host, "dnf -qy install libnvidia-ml-3:580.178.04")
    assert said(host, "rpm -q --qf '%{RELEASE}' libnvidia-ml") == "1.el10"
