"""Ubuntu's hosts from bare to prepared, what drifts on them afterwards, and a change of source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from drift import Alteration, Batch, check_alteration, check_whole, run_batch
from lab import PACKAGE_BOOKS, ids
from ubuntu_lab import held, modules, packages, prepared

from gpuprep.errors import ExitCode
from sandbox.ubuntu.modules import SIGNER
from sandbox.ubuntu.systems import SYSTEMS

if TYPE_CHECKING:
    from lab import Lab, Restore, TakenRun

pytestmark = pytest.mark.sandbox

HOST, WHOLE, SIGNED, VOLTA, NEWEST = "ub-24", "ub-24-whole", "ub-22-signed", "ub-26-v100", "ub-26"
OTHERS = (WHOLE, SIGNED, VOLTA, NEWEST)
EVERY = (HOST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS))
# What each must have: a package of its driver, and who signed the module ("" = nobody is asked).
DRIVER = {
    HOST: "nvidia-driver-580-open",
    WHOLE: "nvidia-driver-580-open",
    SIGNED: "nvidia-driver-580-server-open",
    VOLTA: "nvidia-driver-580-server",
    NEWEST: "nvidia-driver-open",
}
KERNEL = SYSTEMS["ubuntu-24.04"].kernel.uname
SIGNED_KERNEL = SYSTEMS["ubuntu-22.04"].kernel.uname
VOLTA_KERNEL = SYSTEMS["ubuntu-26.04"].kernel.uname

ANOTHER_KEY = "/usr/share/keyrings/debian-archive-bookworm-stable.gpg"
KEYRING = "/usr/share/keyrings/gpuprep-nvidia.asc"
REPOSITORY = "/etc/apt/sources.list.d/gpuprep-nvidia.sources"
RIVAL = "/etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list"  # as cuda-keyring names it
PREFERENCES = "/etc/apt/preferences.d/gpuprep-nvidia"
BLACKLIST = "/etc/modprobe.d/gpuprep-nouveau.conf"
CUDA_PROFILE = "/etc/profile.d/gpuprep-cuda.sh"
CUDA_LINKER = "/etc/ld.so.conf.d/gpuprep-cuda.conf"
CONDA_PROFILE = "/etc/profile.d/gpuprep-conda.sh"
CONDARC = "/opt/conda/.condarc"
UNIT = "nvidia-persistenced"
HOLD = "gpu_driver.hold.packages"
RUNNING = f"gpu_driver.unit.{UNIT}"
PINS = {"nvidia-driver-pinning-580", "nvidia-driver-pinning-595"}  # not held themselves
PIN = "/etc/apt/preferences.d/nvidia-driver-pinning-580"


# --- bare to prepared -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_a_bare_host_becomes_prepared_and_then_nothing_is_done(
    ub_run: TakenRun, lab: Lab, ub_restore: Restore, name: str
) -> None:
    first = ub_run(name)
    assert first.bare[name].differences(first.untouched[name]) == set()
    assert prepared(first.applied.hosts[name])
    assert ids(first.checked, name) == ids(first.applied, name) != set()
    ub_restore(name)
    there = packages(lab, name)
    assert DRIVER[name] in there
    found = first.applied.hosts[name].versions["driver"]
    assert there[DRIVER[name]].startswith(f"{found}-")
    assert all(package.startswith("linux-") for package in set(there) - held(lab, name) - PINS)
    asked, ran = lab.requests(name), lab.commands(name)
    again = lab.apply(name)
    assert prepared(again.hosts[name])
    assert (again.exit_code, again.changed, ids(again, name)) == (ExitCode.OK, False, set())
    assert lab.commands(name) == ran + 1
    assert lab.requests(name) == asked


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flavour"), [(SIGNED, "-open"), (VOLTA, "")])
def test_the_archives_modules_come_ready(
    lab: Lab, ub_restore: Restore, name: str, flavour: str
) -> None:
    ub_restore(name)
    kernel = lab.run(name, "uname", "-r").strip()
    assert f"linux-modules-nvidia-580-server{flavour}-{kernel}" in packages(lab, name)
    assert lab.run(name, "modinfo", "-F", "signer", "nvidia").strip() == SIGNER
    assert not any("dkms" in one for one in packages(lab, name) if "no-dkms" not in one)


# --- drift: files, units, holds, modules ----------------------------------------------------------


def of_file(step: str, path: str, name: str, script: str) -> Alteration:
    probe = f"stat -c '%F %a %U %G %N' {path} 2>&1 || true; sha256sum <{path} 2>&1 || true"
    return Alteration(name, script, frozenset({f"{step}.{path}"}), probe)


REPOSITORY_FILES = (
    of_file("gpu_driver.key", KEYRING, "key of somebody else", f"cp {ANOTHER_KEY} {KEYRING}"),
    of_file(
        *("gpu_driver.repository", REPOSITORY, "repository switched off"),
        f"echo 'Enabled: no' >>{REPOSITORY}",
    ),
)
DRIVER_FILES = (
    of_file("gpu_driver.blacklist", BLACKLIST, "blacklist gone", f"rm {BLACKLIST}"),
    Alteration(
        "unit stopped",
        f"systemctl stop {UNIT}",
        frozenset({RUNNING}),
        f"systemctl is-active {UNIT} || true",
    ),
)
NVIDIAS = (
    *REPOSITORY_FILES,
    *DRIVER_FILES,
    of_file(
        *("gpu_driver.pin", PREFERENCES, "pin with another priority"),
        f"sed -i s/600/100/ {PREFERENCES}",
    ),
    Alteration(
        "a second source under another key",
        f"echo \"deb [signed-by={ANOTHER_KEY}] $(sed -n 's/^URIs: //p' {REPOSITORY}) /\" >{RIVAL}",
        frozenset({f"gpu_driver.source.{RIVAL}"}),
        f"rm -f {RIVAL}.disabled; ls {RIVAL} 2>&1 || true",
    ),
    Alteration(
        "package not held",
        "apt-mark unhold nvidia-utils-580",
        frozenset({HOLD}),
        "apt-mark showhold nvidia-utils-580",
    ),
    Alteration(
        "module gone",
        f"rm /lib/modules/{KERNEL}/updates/dkms/nvidia.ko",
        frozenset({f"gpu_driver.module.{KERNEL}"}),
        f"ls /lib/modules/{KERNEL}/updates/dkms",
    ),
)
SIGNED_MODULE = f"gpu_driver.module.{SIGNED_KERNEL}"
FOLDER = f"/lib/modules/{SIGNED_KERNEL}/kernel/nvidia-580srv-open"
ARCHIVES = (
    *REPOSITORY_FILES,
    *DRIVER_FILES,
    # NVIDIA's repository gives CUDA here, and must not give a driver.
    of_file(
        *("gpu_driver.pin", PREFERENCES, "NVIDIA's driver allowed"),
        f"sed -i s/-1$/600/ {PREFERENCES}",
    ),
    Alteration(
        "package not held",
        "apt-mark unhold nvidia-utils-580-server",
        frozenset({HOLD}),
        "apt-mark showhold nvidia-utils-580-server",
    ),
    Alteration(
        "module without its signature",
        f"cp {FOLDER}/bits/nvidia.o {FOLDER}/nvidia.ko",
        frozenset({SIGNED_MODULE}),
        f"modinfo -F signer {FOLDER}/nvidia.ko",
    ),
    of_file("cuda_toolkit.profile", CUDA_PROFILE, "profile gone", f"rm {CUDA_PROFILE}"),
    of_file("cuda_toolkit.linker", CUDA_LINKER, "linker path emptied", f": >{CUDA_LINKER}"),
    of_file("conda.profile", CONDA_PROFILE, "conda profile gone", f"rm {CONDA_PROFILE}"),
    of_file("conda.condarc", CONDARC, "paid channels", f"echo 'channels: [defaults]' >{CONDARC}"),
    Alteration(
        "default toolkit left to apt",
        "update-alternatives --auto cuda",
        frozenset({"cuda_toolkit.alternative.cuda"}),
        "head -1 /var/lib/dpkg/alternatives/cuda; readlink /etc/alternatives/cuda",
    ),
    Alteration(
        "cuDNN package not held",
        "apt-mark unhold libcudnn9-cuda-13",
        frozenset({"cudnn.hold.packages"}),
        "apt-mark showhold libcudnn9-cuda-13",
    ),
)
MODULES_GONE = Alteration(
    "modules gone",
    f"rm {FOLDER}/*.ko; depmod {SIGNED_KERNEL}",
    frozenset({SIGNED_MODULE}),
    f"ls {FOLDER}",
)
VOLTA_FOLDER = f"/lib/modules/{VOLTA_KERNEL}/kernel/nvidia-580srv"
VOLTAS = (
    *DRIVER_FILES,
    Alteration(
        "package not held",
        "apt-mark unhold libnvidia-compute-580-server",
        frozenset({HOLD}),
        "apt-mark showhold libnvidia-compute-580-server",
    ),
    Alteration(
        "modules gone",
        f"rm {VOLTA_FOLDER}/*.ko; depmod {VOLTA_KERNEL}",
        frozenset({f"gpu_driver.module.{VOLTA_KERNEL}"}),
        f"ls {VOLTA_FOLDER}",
    ),
)


def drift(lab: Lab, restore: Restore, name: str, alterations: tuple[Alteration, ...]) -> Batch:
    restore(name)
    return run_batch(lab, alterations, name)


def report(subtests: pytest.Subtests, batch: Batch, some: tuple[Alteration, ...]) -> None:
    for one in some:
        with subtests.test(one.name):
            check_alteration(batch, one)
    with subtests.test("nothing else changes"):
        check_whole(batch, some)


def test_every_artefact_of_nvidias_driver_that_was_altered(
    lab: Lab, ub_restore: Restore, subtests: pytest.Subtests
) -> None:
    report(subtests, drift(lab, ub_restore, HOST, NVIDIAS), NVIDIAS)


@pytest.mark.slow
def test_every_artefact_beside_the_archives_driver_that_was_altered(
    lab: Lab, ub_restore: Restore, subtests: pytest.Subtests
) -> None:
    report(subtests, drift(lab, ub_restore, SIGNED, ARCHIVES), ARCHIVES)


@pytest.mark.slow
def test_ready_modules_that_are_gone_are_unpacked_again(
    lab: Lab, ub_restore: Restore, subtests: pytest.Subtests
) -> None:
    report(subtests, drift(lab, ub_restore, SIGNED, (MODULES_GONE,)), (MODULES_GONE,))


@pytest.mark.slow
def test_every_artefact_of_a_driver_without_nvidias_repository_that_was_altered(
    lab: Lab, ub_restore: Restore, subtests: pytest.Subtests
) -> None:
    report(subtests, drift(lab, ub_restore, VOLTA, VOLTAS), VOLTAS)


# --- a change of source, with all that is on the host ---------------------------------------------


@pytest.mark.slow
def test_there_and_back_leaves_the_host_as_it_was(lab: Lab, ub_restore: Restore) -> None:
    name = ub_restore(WHOLE)
    at_first = lab.state(name)
    for source in ("distro", "nvidia"):
        checked = lab.check(name, gpu_driver_source=source)
        result = lab.apply(name, gpu_driver_source=source)
        assert prepared(result.hosts[name])
        assert ids(checked, name) == ids(result, name) != set()
        again = lab.apply(name, gpu_driver_source=source)
        assert (again.changed, ids(again, name)) == (False, set())
        there = packages(lab, name)
        own = {n for n in there if re.search(r"-server\b", n) or n.startswith("linux-")}
        assert own == (set(there) if source == "distro" else set())
        assert {n for n in there if not n.startswith("linux-")} - PINS <= held(lab, name)
        (module,) = modules(lab, name)
        assert ("updates/dkms" in module) == (source == "nvidia")
        assert lab.run(name, "dpkg", "--audit") == ""
        # Toolkit and cuDNN come from NVIDIA's repository all the time, a driver does not.
        assert "nvcc" in lab.sh(name, "ls /usr/local/cuda/bin")
        rule = "release o=NVIDIA\nPin-Priority: -1\n"
        assert (rule in lab.run(name, "cat", PREFERENCES)) == (source == "distro")
        assert (PIN in lab.sh(name, "ls /etc/apt/preferences.d/*")) == (source == "nvidia")
    changed = at_first.differences(lab.state(name), without=PACKAGE_BOOKS, stamps=False)
    assert changed <= {"/etc/ld.so.cache"}
