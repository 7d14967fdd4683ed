"""Codes that concern Ubuntu's sources, kernels and Secure Boot, each brought about on a host.

Which they are, and that none is missing, is in tests/contract/test_ubuntu_chapter.py.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from test_bad_input import hold_lock
from ubuntu_lab import prepared

from gpuprep.model import HostResult, HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec
from sandbox.paths import STATE
from sandbox.ubuntu.systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab import Fresh, Lab, Restore

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

A10, V100 = "10de:2236", "10de:1db1"
DRIVER_ONLY = {"gpuprep_components": ["driver"]}
DISTRO = {**DRIVER_ONLY, "gpu_driver_source": "distro"}
NO_MIRROR = {"gpuprep_mirror": "", "gpuprep_mirror_fingerprint": ""}
NOBLE = SYSTEMS["ubuntu-24.04"]
KERNEL = NOBLE.kernel.uname


def is_left_alone(result: HostResult, code: str, *words: str) -> None:
    """Assert that a host was refused with a code, in these words."""
    assert (result.state, result.code) == (HostStatus.REFUSED, code), result.error
    for word in words:
        assert word in str(result.error)


def warnings(result: HostResult) -> dict[str, str]:
    assert result.error is None
    return {warning.code: warning.message for warning in result.warnings}


# --- refused on a bare host, by what is on it -----------------------------------------------------


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Iterator[str]:
    """Return a bare host; each test takes back what it does to it."""
    name = "uc-24"
    lab.start(HostSpec.from_dict(name, {"image": NOBLE.name, "gpus": [A10]}))
    yield name
    hosts.stop(name)


def write(path: str, text: str) -> str:
    """Return the script that writes a file."""
    return f"cat >{path} <<'END'\n{text}\nEND"


PIN = "/etc/apt/preferences.d/00-site"
SITE = "/etc/apt/sources.list.d/site.list"
DPKG = "/var/lib/dpkg/status"
REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    # code: what is done, how it is taken back, settings, words
    "E_FOREIGN_PIN": (
        write(PIN, "Package: nvidia-*\nPin: release o=NVIDIA\nPin-Priority: -1"),
        f"rm {PIN}",
        DRIVER_ONLY,
        PIN,
    ),
    "E_FOREIGN_PIN of the archive": (
        write(PIN, "Package: *-580-server*\nPin: version 580.*\nPin-Priority: -1"),
        f"rm {PIN}",
        DISTRO,
        PIN,
    ),
    "E_FOREIGN_SOURCE": (
        write(SITE, "deb [trusted=yes] MIRROR/ubuntu2404/x86_64/ /\ndeb http://x.invalid/ y main"),
        f"rm {SITE}",
        DRIVER_ONLY,
        SITE,
    ),
    "E_MODULE_BLOCKED": (
        "echo install nvidia /bin/false >/etc/modprobe.d/site.conf",
        "rm /etc/modprobe.d/site.conf",
        DRIVER_ONLY,
        "/etc/modprobe.d/site.conf",
    ),
    "E_PACKAGES_BROKEN": (
        f"cp {DPKG} /root; sed -i '/^Package: curl$/,/^$/s/ok installed/ok half-installed/' {DPKG}",
        f"cp /root/status {DPKG}",
        DRIVER_ONLY,
        "curl",
    ),
    "E_DISTRO_SOURCE": (
        "sed -i 's/^VERSION_ID=.*/VERSION_ID=\"20.04\"/' /etc/os-release",
        "sed -i 's/^VERSION_ID=.*/VERSION_ID=\"24.04\"/' /etc/os-release",
        DISTRO,
        "ubuntu-20.04",
    ),
    "E_OS_UNSUPPORTED": (
        "sed -i 's/^VERSION_ID=.*/VERSION_ID=\"25.10\"/' /etc/os-release",
        "sed -i 's/^VERSION_ID=.*/VERSION_ID=\"24.04\"/' /etc/os-release",
        DRIVER_ONLY,
        "ubuntu-25.10",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_a_bare_host_is_refused_and_then_not_any_more(lab: Lab, bare: str, which: str) -> None:
    script, back, settings, words = REFUSED[which]
    lab.sh(bare, script.replace("MIRROR", f"{lab.mirror}/compute/cuda/repos"))
    result = lab.apply(bare, **settings).hosts[bare]
    lab.sh(bare, f"{back}; rm -f /root/status")
    is_left_alone(result, which.partition(" ")[0], words)
    assert "nvidia" not in lab.run(bare, "dpkg-query", "-W")
    assert lab.look(bare, **settings).error is None


# --- failed on the way, and the host's package manager works --------------------------------------


def failed(result: HostResult, code: str, words: str) -> None:
    assert (result.state, result.code) == (HostStatus.FAILED, code), result.error
    assert re.search(words, str(result.error)), result.error


def manager_works(lab: Lab, name: str) -> None:
    """Assert that apt installs something else, and that nothing is half done."""
    assert lab.run(name, "dpkg", "--audit") == ""
    lab.sh(name, "apt-get -q update && apt-get -qy install --reinstall lsb-release")


def test_a_source_that_fails_is_named_and_ours_is_taken_back(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image=NOBLE.name, gpus=[A10])
    # Not the archive's own address: apt 2.6 waits forever once one of an address's ports refuses.
    nowhere = "http://127.0.0.1:9/site"
    lab.sh(name, write(SITE, f"deb [trusted=yes] {nowhere} noble main"))
    failed(lab.apply(name, **DRIVER_ONLY).hosts[name], "E_PACKAGE_INDEX", nowhere)
    assert "gpuprep" not in lab.sh(name, "ls /etc/apt/sources.list.d /etc/apt/preferences.d")
    lab.sh(name, f"rm {SITE}")
    manager_works(lab, name)
    assert prepared(lab.apply(name, **DRIVER_ONLY).hosts[name])


def test_a_transaction_that_would_bring_a_kernel_is_not_started(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image=NOBLE.name, gpus=[A10], secure_boot=True)
    # Without what depends on it: apt would refuse anything for a package that is broken already.
    kernel = "'linux-image-*' 'linux-modules-*' 'linux-headers-*' 'linux-oracle*'"
    there = f"$(dpkg-query -W -f '${{Package}}\\n' {kernel} | sort -u)"
    lab.sh(name, f"dpkg --remove --force-all {there} 2>&1")
    before = lab.state(name).packages
    found = lab.apply(name, **DRIVER_ONLY).hosts[name]
    failed(found, "E_KERNEL_CHANGE", f"linux-image-{re.escape(KERNEL)}")
    assert lab.state(name).packages == before


def test_who_holds_apts_lock_at_first_boot_is_named(lab: Lab, bare: str) -> None:
    hold_lock(lab, bare)
    found = lab.apply(bare, **DRIVER_ONLY, gpuprep_lock_timeout=2).hosts[bare]
    failed(found, "E_PACKAGES_LOCKED", "/var/lib/dpkg/lock-frontend is held by python3")
    lab.sh(bare, "touch /run/release-lock; sleep 1; rm -f /run/release-lock /run/lock-is-held")
    manager_works(lab, bare)


CONTROL = """\
Package: render-farm
Version: 7.1
Architecture: all
Maintainer: the site
Description: application that goes with no driver
Conflicts: libnvidia-compute-580
"""


def test_packages_of_others_are_not_taken_away(lab: Lab, bare: str) -> None:
    lab.sh(bare, "mkdir -p /root/renderer/DEBIAN")
    lab.sh(bare, write("/root/renderer/DEBIAN/control", CONTROL.rstrip()))
    lab.sh(bare, "dpkg-deb --build /root/renderer && dpkg --install /root/renderer.deb")
    found = lab.apply(bare, **DRIVER_ONLY).hosts[bare]
    there = lab.run(bare, "dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n")
    lab.sh(bare, "dpkg --purge render-farm; rm -r /root/renderer /root/renderer.deb")
    failed(found, "E_FOREIGN_PACKAGES", "would take away render-farm: in the way")
    assert "render-farm installed" in there.splitlines()
    assert "nvidia" not in there  # the driver's pin neither
    manager_works(lab, bare)


def test_a_transaction_that_the_sites_own_hook_ends_is_told_with_its_words(
    lab: Lab, bare: str
) -> None:
    hook = "/etc/apt/apt.conf.d/99site"
    lab.sh(bare, write(hook, 'DPkg::Pre-Invoke { "echo freeze until Monday >&2; exit 3"; };'))
    found = lab.apply(bare, **DRIVER_ONLY).hosts[bare]
    lab.sh(bare, f"rm {hook}")
    failed(found, "E_PACKAGES", "(?s)exit 100.*DPkg::Pre-Invoke")
    assert "nvidia" not in lab.run(bare, "dpkg-query", "-W")
    manager_works(lab, bare)


def test_a_module_that_cannot_be_built_is_a_failure_with_the_reason(
    lab: Lab, ub_restore: Restore
) -> None:
    name = ub_restore("ub-24")
    lab.sh(name, f"rm -r /usr/src/linux-headers-{KERNEL} /lib/modules/{KERNEL}/updates/dkms")
    found = lab.apply(name, **DRIVER_ONLY).hosts[name]
    failed(found, "E_MODULE_BUILD", KERNEL)


def test_a_key_that_apt_would_refuse_is_not_written(lab: Lab, fresh: Fresh, tmp_path: Path) -> None:
    """26.04 asks sqv, which takes no SHA-1; NVIDIA's older directories have such keys."""
    name = fresh(image="ubuntu-26.04", gpus=[A10])
    home = ["gpg", "--homedir", str(tmp_path), "--batch", "--quiet", "--passphrase", ""]
    make = ["--quick-generate-key", "Old <old@gpuprep.invalid>", "rsa3072", "sign", "never"]
    subprocess.run([*home, "--cert-digest-algo", "SHA1", *make], check=True, capture_output=True)
    shown = subprocess.run(
        [*home, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True
    ).stdout
    own = next(row.split(":")[9] for row in shown.splitlines() if row.startswith("fpr:"))
    key = subprocess.run([*home, "--export", "--armor"], check=True, capture_output=True).stdout
    subprocess.run(["gpgconf", "--homedir", str(tmp_path), "--kill", "gpg-agent"], check=True)
    place = STATE / "www" / "old-key" / "ubuntu2604" / "x86_64"
    place.mkdir(parents=True, exist_ok=True)
    (place / "60DF8A40.pub").write_bytes(key)
    mirror = {"gpuprep_mirror": f"{lab.mirror}/old-key", "gpuprep_mirror_fingerprint": own}
    failed(lab.apply(name, **DRIVER_ONLY, **mirror).hosts[name], "E_KEY", "SHA-1")
    assert "gpuprep" not in lab.sh(name, "ls /usr/share/keyrings /etc/apt/sources.list.d")
    manager_works(lab, name)


# --- warnings -------------------------------------------------------------------------------------


def test_a_driver_that_is_replaced_and_a_branch_without_pin_are_told(
    lab: Lab, ub_restore: Restore
) -> None:
    name = ub_restore("ub-24")
    told = warnings(lab.plan(name, **DRIVER_ONLY, gpu_driver_branch="595").hosts[name])
    assert "580" in told["W_DRIVER_REPLACED"]
    assert "595" in told["W_DRIVER_REPLACED"]
    settings = {**DRIVER_ONLY, "gpu_driver_branch": "570", "gpu_driver_flavour": "proprietary"}
    # That old a driver builds on an older kernel only, where the host's own is not looked at.
    told = warnings(lab.plan(name, **settings, gpu_driver_kernel="6.8.0-1010-oracle").hosts[name])
    assert "570" in told["W_NO_SUCH_PIN"]


@pytest.fixture(scope="module")
def resolute(lab: Lab) -> Iterator[str]:
    """Return a bare V100 on 26.04."""
    name = "uc-26"
    lab.start(HostSpec.from_dict(name, {"image": "ubuntu-26.04", "gpus": [V100]}))
    yield name
    hosts.stop(name)


def test_on_26_04_a_toolkit_of_the_past_is_told_in_every_way(lab: Lab, resolute: str) -> None:
    # What a mirror holds is its owner's business: this is about NVIDIA's directory.
    settings = {"gpuprep_components": ["driver", "cuda"], **NO_MIRROR}
    told = warnings(lab.plan(resolute, **settings).hosts[resolute])
    assert "12.9" in told["W_CUDA_UNSEEN"]
    assert "13.3" in told["W_CUDA_UNSEEN"]
    assert "2.43" in told["W_HOST_GLIBC"]
    assert "W_HOST_GCC" not in told  # there is none yet
    lab.sh(resolute, "apt-get -qq update; apt-get -qqy --no-install-recommends install gcc")
    told = warnings(lab.plan(resolute, **settings).hosts[resolute])
    assert "this host's is 15" in told["W_HOST_GCC"]


def test_a_kernel_of_a_compiler_that_the_system_lacks_is_told(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ubuntu-26.04", gpus=[A10])
    kernel = SYSTEMS["ubuntu-26.04"].kernel.uname
    configs = f"/boot/config-{kernel} /lib/modules/{kernel}/build/.config"
    lab.sh(name, f"sed -i 's/gcc-15/gcc-9/; s/15\\.2\\.0/9.4.0/g' {configs}")
    told = warnings(lab.plan(name, **DRIVER_ONLY).hosts[name])
    assert "gcc 9" in told["W_KERNEL_GCC"]
