"""What gets in a driver's way on Ubuntu: modules that lag behind, snaps, locks, firewalls."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lab import Fresh, Lab, ids
from test_kernel_ceilings import OLD, only
from test_ubuntu_hosts import A10, DRIVER_ONLY, H100, JAMMY, NOBLE, V100
from ubuntu_lab import archive, modules, packages, prepared

import gpuprep
from gpuprep.catalog import load
from gpuprep.model import HostStatus
from sandbox import hosts
from sandbox.paths import STATE

if TYPE_CHECKING:
    from pathlib import Path

    from gpuprep.model import HostResult

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


def codes(host: HostResult) -> set[str]:
    return {warning.code for warning in host.warnings}


# --- modules that the archive has ready -----------------------------------------------------------


def test_modules_that_the_archive_lacks_are_seen_in_the_plan(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10], secure_boot=True)
    lab.sh(name, "apt-get -qq update")
    # The archive as it is while Canonical has not built for the newest kernel yet.
    lists = "/var/lib/apt/lists/*_restricted_binary-amd64_Packages"
    kernel = JAMMY.kernel.uname
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-5.*{kernel}$/s/nvidia/gone/' {lists}")
    bare = lab.state(name)
    refused = lab.apply(name, **DRIVER_ONLY).hosts[name]
    assert (refused.state, refused.code) == (HostStatus.REFUSED, "E_READY_MODULES")
    assert f"for {kernel} it has none" in str(refused.error)
    assert lab.state(name).differences(bare) == set()
    # Where nothing forbids it, the archive's own sources are built.
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-595-server-open/s/gone/nvidia/' {lists}")
    lab.sh(name, f"sed -i 's/linux-modules-gone-595/linux-modules-nvidia-595/' {lists}")
    moved = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert f"gpu_driver.package.linux-modules-nvidia-595-server-open-{kernel}" in ids(moved)
    asked = lab.plan(name, **DRIVER_ONLY, gpu_driver_branch="580").hosts[name]
    assert asked.code == "E_READY_MODULES"
    assert f"for {kernel} it has 595 open (595.71.05)" in str(asked.error)
    # An archive that has them again is an archive that is used.
    lab.sh(name, "rm /var/lib/apt/lists/*_Packages; apt-get -qq update")
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])


def test_a_bare_host_whose_next_kernel_has_none_gets_those_of_the_running_one(
    lab: Lab, fresh: Fresh
) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10], secure_boot=True)
    archive(lab, name, JAMMY.name, "kernel-first")
    lab.sh(name, f"apt-get -qqy install linux-image-{JAMMY.newer.uname}")
    planned = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert "W_NEXT_KERNEL_MODULES" in codes(planned)
    assert f"gpu_driver.package.linux-modules-nvidia-580-server-open-{JAMMY.kernel.uname}" in ids(
        planned
    )
    applied = lab.apply(name, **DRIVER_ONLY).hosts[name]
    assert applied.state is not HostStatus.PREPARED  # the next boot would lose the GPUs
    checks = {check.id: check.status for check in applied.checks}
    assert (checks["module.on_disk"], checks["module.next_boot"]) == ("passed", "failed")
    assert f"linux-modules-nvidia-580-server-open-{JAMMY.kernel.uname}" in packages(lab, name)


def test_without_secure_boot_the_archives_sources_are_built_instead(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image=NOBLE.name, gpus=[A10])
    lab.sh(name, "apt-get -qq update")
    lists = "/var/lib/apt/lists/*_restricted_binary-amd64_Packages"
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-/s/nvidia/gone/' {lists}")
    settings = {**DRIVER_ONLY, "gpu_driver_source": "distro"}
    assert prepared(lab.apply(name, **settings).hosts[name])
    assert "nvidia-dkms-580-server-open" in packages(lab, name)
    again = lab.plan(name, **settings)
    assert ids(again, name) == set()


def test_a_v100_on_26_04_is_refused_where_its_branch_has_no_modules(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-26.04", gpus=[V100], shape="VM.GPU3.1", secure_boot=True)
    lab.sh(name, "apt-get -qq update")
    lists = "/var/lib/apt/lists/*_restricted_binary-amd64_Packages"
    lab.sh(name, f"sed -i '/^Package: linux-modules-nvidia-580/s/nvidia/gone/' {lists}")
    refused = lab.plan(name, **DRIVER_ONLY).hosts[name]
    assert refused.code == "E_READY_MODULES"


# --- the first boot -------------------------------------------------------------------------------

HOLDS_LOCK = (
    "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
    "fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(900)"
)


def test_packages_wait_for_the_first_boot_and_for_locks(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image=NOBLE.name, gpus=[A10])
    # needrestart as it comes, which asks at a terminal; and a snap with libraries of its own.
    asks = "\\$nrconf{restart} = 'i';"
    lab.sh(
        name, f'mkdir -p /etc/needrestart/conf.d; echo "{asks}" > /etc/needrestart/conf.d/i.conf'
    )
    snap = "/snap/nvidia-core22/current/usr/lib/x86_64-linux-gnu"
    lab.sh(name, f"mkdir -p {snap}; touch {snap}/libcuda.so.1")
    settings = {**DRIVER_ONLY, "gpu_driver_profile": "compute"}
    lab.sh(
        name,
        "mkdir -p /run/cloud-init; "
        """echo '{"v1": {"stage": "modules-final"}}' > /run/cloud-init/status.json""",
    )
    assert "W_FIRST_BOOT" in codes(lab.plan(name, **settings).hosts[name])
    late = lab.apply(name, **settings, gpuprep_lock_timeout=3).hosts[name]
    assert (late.state, late.code) == (HostStatus.FAILED, "E_FIRST_BOOT")
    assert packages(lab, name) == {}
    lab.sh(name, "echo '{}' > /run/cloud-init/result.json")
    lab.run(name, "systemd-run", "--quiet", "--unit=holder", "python3", "-c", HOLDS_LOCK)
    waiting = lab.plan(name, **settings).hosts[name]
    assert codes(waiting) >= {"W_PACKAGES_LOCKED"}
    locked = lab.apply(name, **settings, gpuprep_lock_timeout=3).hosts[name]
    assert (locked.state, locked.code) == (HostStatus.FAILED, "E_PACKAGES_LOCKED")
    assert packages(lab, name) == {}
    # One that ends while it is waited for.
    lab.sh(name, "rm /run/cloud-init/result.json")
    later = "sleep 30; echo '{}' > /run/cloud-init/result.json; systemctl stop holder"
    lab.run(name, "systemd-run", "--quiet", "--unit=ending", "sh", "-c", later)
    assert prepared(lab.apply(name, **settings).hosts[name])
    again = lab.apply(name, **settings)
    assert (again.changed, codes(again.hosts[name])) == (False, set())
    assert lab.run(name, "ls", snap).split() == ["libcuda.so.1"]


# --- what the image's packet filter rejects -------------------------------------------------------

# Hosts of the sandbox have no packet filter of their own: the program's words are OCI's rules.
IPTABLES_SAVE = """\
#!/bin/sh
cat <<'END'
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
COMMIT
END
"""


def test_rules_that_reject_other_gpu_hosts_are_told_where_it_matters(
    lab: Lab, fresh: Fresh
) -> None:
    save = {"/usr/sbin/iptables-save": {"content": IPTABLES_SAVE, "mode": "0755"}}
    several = fresh(image=NOBLE.name, gpus=[f"8x{H100}"], shape="BM.GPU.H100.8", files=save)
    single = fresh(image=NOBLE.name, gpus=[A10], shape="VM.GPU.A10.1", files=save)
    seen = gpuprep.verify(lab.inventory(several, single)).hosts
    checks = {
        name: next(check for check in host.checks if check.id == "network.firewall")
        for name, host in seen.items()
    }
    assert (checks[several].status, checks[single].status) == ("warned", "skipped")
    assert "jobs over several hosts" in checks[several].detail
    subnet = "-A INPUT -s 10.0.0.0/16 -j ACCEPT\n"
    opened = IPTABLES_SAVE.replace("-A INPUT -j", f"{subnet}-A INPUT -j")
    hosts.write_file(several, "/usr/sbin/iptables-save", opened)
    lab.sh(several, "chmod 0755 /usr/sbin/iptables-save")
    after = gpuprep.verify(lab.inventory(several)).hosts[several]
    (check,) = [check for check in after.checks if check.id == "network.firewall"]
    assert (check.status, check.detail) == ("passed", "open for 10.0.0.0/16")


# --- keys, kernels --------------------------------------------------------------------------------


def weak_key(folder: Path) -> tuple[bytes, str]:
    """Make a key that is bound to its owner by SHA-1, as NVIDIA's of 2022 is."""
    gpg = ["gpg", "--homedir", str(folder), "--batch", "--quiet"]
    folder.mkdir(mode=0o700)
    make = ["--passphrase", "", "--cert-digest-algo", "SHA1", "--quick-gen-key", "old@example"]
    subprocess.run([*gpg, *make, "rsa2048", "sign", "never"], check=True, capture_output=True)
    listed = subprocess.run(
        [*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True
    ).stdout
    (fingerprint,) = [row.split(":")[9] for row in listed.splitlines() if row.startswith("fpr")]
    armour = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
    return armour, fingerprint


def test_a_key_that_newer_apt_refuses_is_told_before_anything_is_written(
    lab: Lab, fresh: Fresh, tmp_path: Path
) -> None:
    armour, fingerprint = weak_key(tmp_path / "gpg")
    system = load().systems["ubuntu-26.04"]
    place = STATE / "www" / "weak" / system.distro / "x86_64"
    place.mkdir(parents=True, exist_ok=True)
    (place / system.key.file).write_bytes(armour)
    name = fresh(image="ubuntu-26.04", gpus=[A10])
    mirror = {"gpuprep_mirror": f"{lab.mirror}/weak", "gpuprep_mirror_fingerprint": fingerprint}
    bare = lab.state(name)
    refused = lab.apply(name, **DRIVER_ONLY, **mirror).hosts[name]
    assert refused.code == "E_KEY"
    assert "SHA-1" in str(refused.error)
    left = {path for path in lab.state(name).differences(bare) if not path.startswith("/home")}
    assert {path for path in left if "apt" in path or path.startswith("package ")} == set()


@pytest.mark.parametrize("flavour", ["generic", "aws"])
def test_a_kernel_of_another_flavour_gets_its_own_headers(
    lab: Lab, fresh: Fresh, tmp_path: Path, flavour: str
) -> None:
    name = fresh(image=JAMMY.name, gpus=[A10])
    kernel = replace(OLD, flavour=flavour, abi=1030)
    only(lab, name, tmp_path, kernel)
    assert prepared(lab.apply(name, **DRIVER_ONLY, gpu_driver_profile="compute").hosts[name])
    (module,) = modules(lab, name)
    assert kernel.uname in module
    headers = lab.sh(name, "dpkg-query -W -f '${Package}\\n' 'linux-headers-*'").split()
    assert [found for found in headers if found.startswith("linux-headers-6")] == [
        f"linux-headers-{kernel.uname}"
    ]
