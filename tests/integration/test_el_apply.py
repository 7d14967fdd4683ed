"""Enterprise Linux from bare to prepared, and what happens to such a host afterwards."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from lab import failed_checks, ids

from gpuprep.model import FleetResult, HostStatus, StepStatus
from sandbox import hosts
from sandbox.el.systems import SYSTEMS
from sandbox.nvrepo import content

if TYPE_CHECKING:
    from lab import Fresh, Lab, Restore, TakenRun

pytestmark = pytest.mark.sandbox

HOST = "el-ol9"
OTHERS = ("el-ol9-h100", "el-ol8", "el-ol10", "el-rocky9")
EVERY = (HOST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS))
UEK, RHCK = SYSTEMS["ol-9"].kernels
NEWER_KERNEL = SYSTEMS["ol-9"].offered[-1]
OLDEST, EARLIER, LATER, NEWEST = (driver.version for driver in content.DRIVERS)
MODULE = "/etc/dnf/modules.d/nvidia-driver.module"
LIST = "/etc/dnf/plugins/versionlock.list"
SETTINGS = "/etc/dkms/nvidia.conf"
REPOSITORY = "/etc/yum.repos.d/gpuprep-nvidia.repo"
KEY = "/etc/pki/rpm-gpg/gpuprep-nvidia.asc"
DOWNLOAD = "dnf -qy --setopt=*.module_hotfixes=1 download --destdir /tmp"
OTHER_LINES = "# of somebody else\nbash-0:5.1.*\n"
# What dkms.conf of the driver says, as somebody may have written it down before.
OLD_COMPILER = """MAKE[0]="make KERNEL_UNAME=${kernelver} modules"\n"""


def of_driver(lab: Lab, name: str) -> dict[str, str]:
    """Return version and release of the installed packages of driver and add-ons."""
    lines = lab.run(name, "rpm", "-qa", "--qf", "%{NAME} %{VERSION}\\n").splitlines()
    known = ("nvidia-", "libnvidia-", "kmod-nvidia", "libnvsdm", "nvlink5", "cuda-drivers")
    return {p: v for p, v in map(str.split, lines) if p.startswith(known)}


def is_whole(lab: Lab, name: str, version: str) -> None:
    """Assert that every package of the driver is at a version, and the module built from it."""
    assert set(of_driver(lab, name).values()) == {version}
    kernel = lab.run(name, "uname", "-r").strip()
    assert lab.run(name, "modinfo", "-k", kernel, "-F", "version", "nvidia").strip() == version
    status = lab.run(name, "dkms", "status", "-k", kernel).splitlines()
    assert status == [f"nvidia/{version}, {kernel}, x86_64: installed"]


# Begin and end of gpuprep's installations, in seconds, from dnf's books; read by dnf's own Python.
INSTALLATIONS = """
import json, sqlite3
rows = sqlite3.connect("/var/lib/dnf/history.sqlite").execute(
    "select id, dt_begin, dt_end, (select group_concat(r.name, ' ') from trans_item i"
    " join rpm r on r.item_id = i.item_id where i.trans_id = t.id and i.action = 1)"
    " from trans t where cmdline like '%exit_on_lock=1%' and cmdline like '% install %' order by id"
)
print(json.dumps([[begin, end, (names or "").split()] for _, begin, end, names in rows]))
"""


def installations(lab: Lab, name: str) -> list[tuple[int, int, list[str]]]:
    """Return gpuprep's installations by dnf: begin, end, and what they installed."""
    script = """$(sed -n '1s/^#!//p' "$(readlink -f "$(command -v dnf)")") -"""
    rows = json.loads(lab.run(name, "sh", "-c", script, stdin=INSTALLATIONS))
    return [(begin, end, names) for begin, end, names in rows]


def is_built_by_its_package(lab: Lab, name: str) -> None:
    """Assert that the module is there since the driver's own scriptlets ran, and not built after.

    All that gpuprep installs is two transactions, and the module's needs are in the first.
    """
    first, second = installations(lab, name)
    assert any("-devel-" in f"{package}-" for package in first[2]), first
    assert any(package.startswith("kmod-nvidia") for package in second[2]), second
    kernel = lab.run(name, "uname", "-r").strip()
    file = lab.run(name, "modinfo", "-k", kernel, "-n", "nvidia").strip()
    made = int(lab.run(name, "stat", "-c", "%Y", file))
    assert second[0] <= made <= second[1], (made, second[:2])


def is_prepared(result: FleetResult, name: str) -> None:
    """Assert that an apply brought a host to where it should be."""
    host = result.hosts[name]
    assert host.state is HostStatus.PREPARED, host.error
    assert {step.status for step in host.steps} <= {StepStatus.DONE}
    assert failed_checks(host) == []


@pytest.mark.parametrize("name", EVERY)
def test_a_bare_host_becomes_prepared_and_then_nothing_is_done(
    el_run: TakenRun, lab: Lab, el_restore: Restore, name: str
) -> None:
    first = el_run(name)
    host = first.applied.hosts[name]
    assert host.state is HostStatus.PREPARED, host.error
    assert host.changed
    assert failed_checks(host) == []
    outside = ["/var/cache", "/var/lib/dnf"]  # what looking leaves there
    assert first.bare[name].differences(first.untouched[name], without=outside) == set()
    el_restore(name)
    is_whole(lab, name, host.versions["driver"])
    is_built_by_its_package(lab, name)
    assert f"nvidia-open*-3:{host.versions['driver']}\n" in lab.run(name, "cat", LIST)
    asked, ran = lab.requests(name), lab.commands(name)
    again = lab.apply(name)
    is_prepared(again, name)
    assert not again.changed
    assert ids(again, name) == set()
    assert lab.commands(name) == ran + 1
    assert lab.requests(name) == asked


def test_the_module_is_compiled_by_the_kernels_own_compiler(lab: Lab, el_restore: Restore) -> None:
    el_restore(HOST)
    shown = lab.run(HOST, "modinfo", "-k", UEK.uname, "-F", "vermagic", "nvidia")
    assert shown.split()[0] == UEK.uname
    assert "/opt/rh/gcc-toolset-" in lab.run(HOST, "cat", SETTINGS)
    kernels = lab.run(HOST, "rpm", "-q", "kernel-core", "kernel-uek-core").split()
    assert kernels == [
        f"kernel-core-{RHCK.release}.x86_64",
        f"kernel-uek-core-{UEK.release}.x86_64",
    ]


def test_a_build_that_fails_without_a_word_is_told_with_its_first_error(
    lab: Lab, fresh: Fresh
) -> None:
    name = fresh(image="ol-9", gpus=["10de:2236"])
    # Read after ours: dkms takes the system's compiler all the same.
    path = f"/etc/dkms/nvidia-{LATER}.conf"
    lab.run(name, "sh", "-c", f"mkdir -p /etc/dkms; cat > {path}", stdin=OLD_COMPILER)
    failed = lab.apply(name, gpuprep_components=["driver"]).hosts[name]
    assert (failed.state, failed.code) == (HostStatus.FAILED, "E_MODULE_BUILD")
    assert "unrecognized command-line option" in (failed.error or "")
    assert "-ftrivial-auto-var-init=zero" in (failed.error or "")
    assert set(of_driver(lab, name).values()) == {LATER}  # dnf itself ended well
    assert f"nvidia-open*-3:{LATER}\n" in lab.run(name, "cat", LIST)
    assert lab.run(name, "dnf", "-q", "check").strip() == ""
    lab.run(name, "rm", path)
    is_prepared(lab.apply(name, gpuprep_components=["driver"]), name)
    is_whole(lab, name, LATER)


def test_a_driver_of_somebody_elses_stream_is_replaced_on_purpose(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="ol-9", gpus=["10de:2236"])
    url = f"{lab.mirror}/compute/cuda/repos/rhel9/x86_64"
    rival = "/etc/yum.repos.d/cuda-rhel9.repo"
    text = f"[cuda-rhel9-x86_64]\nname=cuda\nbaseurl={url}\nenabled=1\ngpgcheck=0\n"
    lab.run(name, "sh", "-c", f"cat > {rival}", stdin=text)
    tree = f"kernel-uek-devel-{UEK.uname}"
    lab.sh(name, f"dnf -qy install oracle-epel-release-el9; dnf -qy install dkms {tree}")
    lab.sh(name, "dnf -qy module enable nvidia-driver:570-open; dnf -qy install nvidia-open")
    assert set(of_driver(lab, name).values()) == {OLDEST}
    plan = lab.look(name, gpuprep_components=["driver"])
    assert {
        "gpu_driver.stream.nvidia-driver",
        "gpu_driver.package.nvidia-open",
        f"gpu_driver.source.{rival}",
    } <= ids(plan)
    assert "W_DRIVER_REPLACED" in {warning.code for warning in plan.warnings}
    (step,) = (s for s in plan.steps if s.kind == "stream")
    assert (step.before, step.after) == ("570-open", "580-open")
    is_prepared(lab.apply(name, gpuprep_components=["driver"]), name)
    is_whole(lab, name, LATER)
    assert "stream=580-open" in lab.run(name, "cat", MODULE)


@pytest.mark.slow
def test_red_hats_kernel_beside_oracles_gets_its_driver_and_no_newer_kernel(
    lab: Lab, fresh: Fresh
) -> None:
    name = fresh(image="ol-9", gpus=["10de:2236"])
    lab.run(name, "grubby", "--set-default", f"/boot/vmlinuz-{RHCK.uname}")
    reboot(lab, name)
    assert lab.run(name, "uname", "-r").strip() == RHCK.uname
    is_prepared(lab.apply(name, gpuprep_components=["driver"]), name)
    is_whole(lab, name, LATER)
    kernels = lab.run(name, "rpm", "-qa", "kernel-core").split()
    assert kernels == [f"kernel-core-{RHCK.release}.x86_64"]
    absent = lab.sh(name, "rpm -q gcc-toolset-14 || true; ls /etc/dkms/nvidia.conf 2>&1 || true")
    assert "is not installed" in absent
    assert "No such file" in absent


def reboot(lab: Lab, name: str) -> None:
    """Let a host restart, and wait until it is back."""
    began = "awk '{print $22}' /proc/1/stat"
    before = lab.sh(name, began)
    hosts.run(name, ["systemctl", "reboot"])
    deadline = time.monotonic() + 120
    while hosts.run(name, ["sh", "-c", began]).stdout in {before, ""}:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    hosts.wait_ready(name)


@pytest.mark.slow
def test_branches_are_changed_up_and_down(lab: Lab, el_restore: Restore) -> None:
    name = el_restore("el-ol9-h100")
    for branch, version in (("570", OLDEST), ("580", LATER), ("595", NEWEST), ("580", LATER)):
        # CUDA follows the driver; what it does is not asked here.
        setting = {"gpu_driver_branch": branch, "gpuprep_components": ["driver"]}
        is_prepared(lab.apply(name, **setting), name)
        is_whole(lab, name, version)
        assert f"stream={branch}-open" in lab.run(name, "cat", MODULE)
        assert ids(lab.look(name, **setting)) == set()


def test_what_fails_before_it_begins_leaves_stream_and_locks(lab: Lab, el_restore: Restore) -> None:
    name = el_restore(HOST)
    before = lab.run(name, "cat", MODULE, LIST)
    setting = {"gpu_driver_version": "595.1.1", "gpuprep_components": ["driver"]}
    failed = lab.apply(name, **setting).hosts[name]
    assert failed.state is HostStatus.FAILED
    assert "595.91.07" in (failed.error or "")  # what there is instead
    assert lab.run(name, "cat", MODULE, LIST) == before
    is_whole(lab, name, LATER)
    assert ids(lab.look(name)) == set()


def test_an_upgrade_of_everything_leaves_the_driver_at_its_version(
    lab: Lab, el_restore: Restore
) -> None:
    name = el_restore(HOST)
    driver = {"gpuprep_components": ["driver"]}
    is_prepared(lab.apply(name, gpu_driver_version=EARLIER, **driver), name)
    is_whole(lab, name, EARLIER)
    # From here on nobody asks for a version: what is installed is held.
    assert ids(lab.look(name, **driver)) == set()
    # Newer drivers, add-ons and kernels are on offer.
    lab.sh(name, "dnf -qy install nvlink5; dnf -qy upgrade")
    is_whole(lab, name, EARLIER)
    installed = lab.run(name, "rpm", "-q", "kernel-core")
    assert NEWER_KERNEL.release in installed
    assert lab.run(name, "grubby", "--default-kernel").strip() == f"/boot/vmlinuz-{UEK.uname}"
    assert ids(lab.look(name, **driver)) == set()


# What is done to a prepared host, and the steps that must be named for it.
DRIFT = {
    "gpu_driver.key." + KEY: f"cp /etc/pki/rpm-gpg/RPM-GPG-KEY-system {KEY}",
    "gpu_driver.repository." + REPOSITORY: f"sed -i s/^repo_gpgcheck=1// {REPOSITORY}",
    "gpu_driver.build." + SETTINGS: f"rm {SETTINGS}",
    "gpu_driver.stream.nvidia-driver": "dnf -qy module reset nvidia-driver",
    "gpu_driver.hold.packages": f"sed -i /libnvidia-ml/d {LIST}; printf '{OTHER_LINES}' >> {LIST}",
    "cudnn.hold.packages": f"sed -i /libcudnn9/d {LIST}",
    "gpu_driver.package.libnvidia-ml": "rpm -e --nodeps libnvidia-ml",
    "gpu_driver.package.nvidia-modprobe": "rpm -e --nodeps nvidia-modprobe",
    "gpu_driver.package.nvidia-persistenced": (
        f"{DOWNLOAD} nvidia-persistenced-3:{EARLIER};"
        f" rpm -U --oldpackage --nodeps /tmp/nvidia-persistenced-{EARLIER}-*.rpm"
    ),
    "gpu_driver.unit.nvidia-persistenced": "systemctl disable --now nvidia-persistenced",
    "cuda_toolkit.alternative.cuda": "alternatives --auto cuda",
    "cuda_toolkit.profile./etc/profile.d/gpuprep-cuda.sh": "rm /etc/profile.d/gpuprep-cuda.sh",
    "conda.condarc./opt/conda/.condarc": "echo 'channels: [defaults]' > /opt/conda/.condarc",
}  # fmt: skip


def test_every_artefact_that_was_altered_is_named_and_repaired(
    lab: Lab, el_restore: Restore
) -> None:
    name = el_restore(HOST)
    known = ids(lab.look(name))
    assert known == set()
    for step, script in DRIFT.items():
        lab.sh(name, script)
        now = ids(lab.look(name))
        assert step in now, (step, now)
    is_prepared(lab.apply(name), name)
    assert ids(lab.look(name)) == set()
    is_whole(lab, name, LATER)
    assert OTHER_LINES in lab.run(name, "cat", LIST)


def test_what_an_interrupted_transaction_left_twice_is_finished(
    lab: Lab, el_restore: Restore
) -> None:
    name = el_restore(HOST)
    twice = f"rpm -i --nodeps --justdb --force /tmp/nvidia-modprobe-{EARLIER}-*.rpm"
    lab.sh(name, f"{DOWNLOAD} nvidia-modprobe-3:{EARLIER}; {twice}")
    assert len(lab.run(name, "rpm", "-q", "nvidia-modprobe").split()) == 2
    lab.sh(name, "rpm -e --nodeps nvidia-xconfig")
    is_prepared(lab.apply(name, gpuprep_components=["driver"]), name)
    is_whole(lab, name, LATER)
    assert len(lab.run(name, "rpm", "-q", "nvidia-modprobe").split()) == 1


def test_a_module_that_is_gone_is_built_again(lab: Lab, el_restore: Restore) -> None:
    name = el_restore(HOST)
    lab.sh(name, f"rm -r /lib/modules/{UEK.uname}/extra; depmod {UEK.uname}")
    assert ids(lab.look(name)) == {f"gpu_driver.module.{UEK.uname}"}
    is_prepared(lab.apply(name), name)
    is_whole(lab, name, LATER)
