"""What others did on hosts of Enterprise Linux: told and respected, before anything is touched."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import rpm_rs
from lab import failed_checks, ids

from gpuprep.model import HostStatus, PlanState
from sandbox.el.systems import SYSTEMS
from sandbox.nvrepo import content, rpm
from sandbox.nvrepo.publish import SigningKey
from sandbox.paths import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Fresh, Lab, Restore

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

A10 = ["10de:2236"]
UEK = SYSTEMS["ol-9"].kernels[0].uname
NEWER = SYSTEMS["ol-9"].offered[-1]
EARLIER, LATER, NEWEST = (driver.version for driver in content.DRIVERS[1:])
LIST = "/etc/dnf/plugins/versionlock.list"
EPEL = "/etc/yum.repos.d/oracle-epel-ol9.repo"
MODULE = "/etc/dnf/modules.d/nvidia-driver.module"
DRIVER = {"gpuprep_components": ["driver"]}
WEB = STATE / "www" / "of-the-site"


@pytest.fixture
def application() -> Iterator[str]:
    """Publish an application of a site's own that goes with no driver; return its path there."""
    described = rpm.Rpm(
        name="render-farm",
        version="7.1",
        release="1",
        summary="An application of the site's own",
        architecture="noarch",
        relations={"conflicts": ("nvidia-kmod-common",)},
    )
    key = SigningKey.ensure(STATE / "keys" / "el")
    (built,) = rpm.build_all([described], WEB, rpm_rs.Signer(key.secret()))
    yield f"{WEB.name}/{built.name}"
    shutil.rmtree(WEB)


def test_rules_of_others_are_refused_with_their_file(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ol-9", gpus=A10)

    def told() -> tuple[str | None, str]:
        made = lab.look(name, **DRIVER)
        return made.code, made.error or ""

    assert told()[0] is None
    lab.sh(name, "dnf -qy install oracle-epel-release-el9 python3-dnf-plugin-versionlock")
    lab.sh(name, f"sed -i s/^enabled=1/enabled=0/ {EPEL}")
    code, text = told()
    assert (code, EPEL in text) == ("E_DKMS_DISABLED", True)
    lab.sh(name, f"sed -i s/^enabled=0/enabled=1/ {EPEL}; cp /etc/dnf/dnf.conf /root")
    lab.sh(name, "echo 'excludepkgs=nvidia* cuda*' >> /etc/dnf/dnf.conf")
    code, text = told()
    assert (code, "/etc/dnf/dnf.conf excludes" in text) == ("E_FOREIGN_EXCLUDE", True)
    refused = lab.apply(name, **DRIVER).hosts[name]
    assert (refused.state, refused.code) == (HostStatus.REFUSED, "E_FOREIGN_EXCLUDE")
    lab.sh(name, f"cp /root/dnf.conf /etc/dnf/dnf.conf; dnf -qy versionlock add bash; cat {LIST}")
    assert told()[0] is None
    lab.sh(name, f"echo 'nvidia-open-3:570.*' >> {LIST}")
    code, text = told()
    assert (code, LIST in text, "nvidia-open-3:570.*" in text) == ("E_FOREIGN_LOCK", True, True)
    assert lab.look(name, gpu_driver_branch="570", **DRIVER).code is None
    lab.sh(name, f"sed -i /nvidia/d {LIST}")
    stream = "[nvidia-driver]\nname=nvidia-driver\nstream=580\nprofiles=\nstate=enabled\n"
    lab.run(name, "sh", "-c", f"cat > {MODULE}", stdin=stream)
    made = lab.look(name, **DRIVER)
    assert made.code is None
    assert "W_STREAM_PRECOMPILED" in {warning.code for warning in made.warnings}
    assert lab.sh(name, "rpm -qa '*nvidia*'") == ""


def test_secure_boot_is_refused_before_anything(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="rocky-9", gpus=A10, secure_boot=True)
    refused = lab.apply(name, **DRIVER).hosts[name]
    assert (refused.state, refused.code) == (HostStatus.REFUSED, "E_SECURE_BOOT_UNSIGNED")
    assert lab.sh(name, "rpm -qa '*nvidia*' dkms; ls /etc/yum.repos.d | grep gpuprep || true") == ""


def test_packages_of_others_are_not_taken_away(lab: Lab, fresh: Fresh, application: str) -> None:
    name = fresh(image="ol-9", gpus=A10)
    lab.sh(name, f"dnf -qy --nogpgcheck install {lab.mirror}/{application}")
    failed = lab.apply(name, **DRIVER).hosts[name]
    assert (failed.state, failed.code) == (HostStatus.FAILED, "E_FOREIGN_PACKAGES")
    assert "would take away render-farm" in (failed.error or "")
    assert lab.sh(name, "rpm -q render-farm").strip() == "render-farm-7.1-1.noarch"
    assert lab.sh(name, "rpm -qa 'nvidia-*' 'kmod-nvidia*'; dnf -q check") == ""


def test_the_driver_of_an_image_stays_when_it_is_to_be_kept(lab: Lab, fresh: Fresh) -> None:
    """As on Oracle's images for GPUs, whose driver is installed and built."""
    name = fresh(image="ol-9-gpu", gpus=A10)
    of_driver = "rpm -qa '*nvidia*' dkms | sort; dkms status"
    before = lab.sh(name, of_driver)
    assert f"nvidia/{EARLIER}, {UEK}, x86_64: installed" in before
    kept = {"gpu_driver_branch": "keep"}
    host = lab.apply(name, **kept).hosts[name]
    assert (host.state, host.error) == (HostStatus.PREPARED, None)
    assert failed_checks(host) == []
    assert lab.sh(name, of_driver) == before
    assert lab.sh(name, "/usr/local/cuda/bin/nvcc --version").count("release 13.0") == 1
    assert ids(lab.look(name, **kept)) == set()


def test_an_interrupted_upgrade_to_what_is_not_offered_is_finished(
    lab: Lab, el_restore: Restore
) -> None:
    name = el_restore("el-ol9")
    unbound = "dnf -qy --disableplugin=versionlock --setopt=*.module_hotfixes=1"
    lab.sh(name, f"{unbound} download --destdir /tmp nvidia-modprobe-3:{NEWEST}")
    # The newer one came, the older was not taken away yet; stream and lock hide the newer.
    lab.sh(name, f"rpm -i --nodeps --justdb --force /tmp/nvidia-modprobe-{NEWEST}-*.rpm")
    assert len(lab.run(name, "rpm", "-q", "nvidia-modprobe").split()) == 2
    applied = lab.apply(name, **DRIVER).hosts[name]
    assert (applied.state, applied.error) == (HostStatus.PREPARED, None)
    there = lab.run(name, "rpm", "-q", "--qf", "%{VERSION}\\n", "nvidia-modprobe").split()
    assert there == [LATER]
    assert lab.run(name, "dnf", "-q", "check").strip() == ""
    assert ids(lab.look(name, **DRIVER)) == set()


def test_what_an_upgrade_makes_the_next_boots_kernel_is_told_before_it(
    lab: Lab, el_restore: Restore
) -> None:
    name = el_restore("el-ol9")
    # The next kernel of Red Hat's becomes the default, as a newer one of Oracle's would.
    lab.sh(name, "sed -i s/^DEFAULTKERNEL=.*/DEFAULTKERNEL=kernel-core/ /etc/sysconfig/kernel")
    lab.sh(name, "dnf -qy upgrade")
    assert NEWER.release in lab.run(name, "rpm", "-q", "kernel-core")
    assert lab.run(name, "grubby", "--default-kernel").strip() == f"/boot/vmlinuz-{NEWER.uname}"
    told = lab.look(name, **DRIVER)
    assert (told.state, told.code) == (PlanState.REFUSED, "E_REBOOT_FIRST")
    assert f"next boot starts {NEWER.uname}" in (told.error or "")
    # What it says of the driver there is true: DKMS has built it as the kernel came.
    built = lab.run(name, "modinfo", "-k", NEWER.uname, "-F", "version", "nvidia")
    assert built.strip() == LATER
    lab.run(name, "grubby", "--set-default", f"/boot/vmlinuz-{UEK}")
    assert ids(lab.look(name, **DRIVER)) == set()
