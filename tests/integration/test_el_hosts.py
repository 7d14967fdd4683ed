"""Hosts of Enterprise Linux do with dnf, rpm and DKMS what was measured on that family."""

import subprocess
import time
from collections.abc import Iterator

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
    rows = [line.split() for line in shown.stdout.splitlines() if line.startswith(" ")]
    return {row[0]: row[2] for row in rows if len(row) == 6}


@pytest.fixture(scope="module")
def repositories() -> Iterator[dict[str, str]]:
    """Start a host of each system and serve two of them; return where NVIDIA's is for these."""
    bootstrap.ensure()
    hosts.start_all([HostSpec(f"el-{name}", name) for name in SYSTEMS])
    files = servers.distributions(SERVED)
    for name in SERVED:
        for path, text in files[name].items():
            hosts.write_file(f"el-{name}", path, text)
    base = next(iter(files["ol-9"].values())).split("baseurl=")[1].split("/el/")[0]
    yield {name: f"{base}/{REPOS}/{SYSTEMS[name].distro}/x86_64" for name in SERVED}
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
    assert said(host, query).split() == ["3:595.91.07"]  # open-dkms, the default
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
        "nvlink5": "595.91.07-1.el9",
        "libnvidia-nscq": "595.91.07-1.el9",
    }
    hosts.write_file(host, "/etc/dnf/plugins/versionlock.list", LOCK)
    locked = would_install(host, "nvlink5", "libnvidia-nscq", "nvidia-driver-cuda", "nvidia-imex")
    assert locked["nvidia-driver-cuda"] == "3:580.178.04-1.el9"
    assert locked["nvlink5"] == locked["nvidia-imex"] == "580.178.04-1.el9"
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


def install_driver(host: str) -> None:
    trees = f"kernel-devel-matched-{RHCK.release} kernel-uek-devel-{UEK.release}"
    said(host, "dnf -qy module enable nvidia-driver:580-open")
    said(host, f"dnf -qy install dkms {trees}")
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
    toolset = f"/opt/rh/gcc-toolset-{OL9.toolsets[0]}/root/usr/bin/gcc"
    make = f'MAKE[0]="make CC={toolset} KERNEL_UNAME=${{kernelver}} modules"\n'
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


def test_from_10_on_there_are_no_streams(repositories: dict[str, str]) -> None:
    url, host = repositories["ol-10"], "el-ol-10"
    add_nvidia(host, url, f"{url}/{catalog.load().systems['ol-10'].key.file}")
    offered = said(host, "dnf -qy repoquery --qf '%{epoch}:%{version}\n' nvidia-driver")
    assert set(offered.split()) == {
        *("3:570.211.01", "3:580.95.05", "3:580.178.04", "3:595.91.07"),
    }
    assert "No matching Modules to list" in on(host, "dnf module list nvidia-driver").stderr
    said(host, "dnf -qy install libnvidia-ml-3:580.178.04")
    assert said(host, "rpm -q --qf '%{RELEASE}' libnvidia-ml") == "1.el10"
