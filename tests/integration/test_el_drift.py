"""The drift matrix on Enterprise Linux: every managed artefact, every package of the stack.

As on Debian (``test_drift.py``): each alteration is looked at by itself, one ``apply`` repairs
them all, and nothing else changes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from drift import Alteration, Batch, check_alteration, check_whole, run_batch

from gpuprep.model.names import matches
from gpuprep.packages.rpm import version_key
from sandbox.el.systems import SYSTEMS
from sandbox.nvrepo import content

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab import Lab, Restore

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

HOST, FABRIC = "el-ol9", "el-ol9-h100"
UEK = SYSTEMS["ol-9"].kernels[0].uname
TOOLSET = f"gcc-toolset-{SYSTEMS['ol-9'].toolsets[0]}"
EARLIER, LATER = content.DRIVERS[1].version, content.DRIVERS[2].version
KEY = "/etc/pki/rpm-gpg/gpuprep-nvidia.asc"
ANOTHER_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-system"
REPOSITORY = "/etc/yum.repos.d/gpuprep-nvidia.repo"
RIVAL = "/etc/yum.repos.d/cuda-rhel9.repo"  # as NVIDIA's guide has it
BUILD = "/etc/dkms/nvidia.conf"
BLACKLIST = "/etc/modprobe.d/gpuprep-nouveau.conf"
CUDA_PROFILE = "/etc/profile.d/gpuprep-cuda.sh"
CUDA_LINKER = "/etc/ld.so.conf.d/gpuprep-cuda.conf"
CONDA_PROFILE = "/etc/profile.d/gpuprep-conda.sh"
CONDARC = "/opt/conda/.condarc"
MARKER = "/opt/conda/conda-meta/gpuprep"
FILES = {
    KEY: "gpu_driver.key",
    REPOSITORY: "gpu_driver.repository",
    BUILD: "gpu_driver.build",
    BLACKLIST: "gpu_driver.blacklist",
    CUDA_PROFILE: "cuda_toolkit.profile",
    CUDA_LINKER: "cuda_toolkit.linker",
    CONDA_PROFILE: "conda.profile",
    CONDARC: "conda.condarc",
    MARKER: "conda.marker",
}
MODULE = "/etc/dnf/modules.d/nvidia-driver.module"
LIST = "/etc/dnf/plugins/versionlock.list"
STREAM = frozenset({"gpu_driver.stream.nvidia-driver"})
DRIVER_HOLD = frozenset({"gpu_driver.hold.packages"})
CUDNN_HOLD = frozenset({"cudnn.hold.packages"})
MODULE_STEP = frozenset({f"gpu_driver.module.{UEK}"})
UNIT = "nvidia-persistenced"
UNIT_STEP = frozenset({f"gpu_driver.unit.{UNIT}"})
LINK = frozenset({"cuda_toolkit.alternative.cuda"})
# As an administrator would fetch what stream and lock hide.
UNBOUND = "dnf -q --disableplugin=versionlock --setopt=gpuprep-nvidia.module_hotfixes=1"
OURS = "--repo gpuprep-nvidia"
# A module that is compiled again is another file, and has other logs.
BUILDS = ("/var/lib/dkms", f"/usr/lib/modules/{UEK}/extra")


def of_file(name: str, path: str, script: str) -> Alteration:
    probe = f"stat -c '%F %a %U %G %N' {path} 2>&1 || true; sha256sum <{path} 2>&1 || true"
    return Alteration(name, script, frozenset({f"{FILES[path]}.{path}"}), probe)


def of_list(name: str, script: str, steps: frozenset[str]) -> Alteration:
    """Alter the lines that one role has in the list: each has to bring back its own."""
    which = "" if steps == CUDNN_HOLD else "-v"
    return Alteration(name, script, steps, f"grep {which} cudnn {LIST} | sort")


SHOWN_LINK = "head -1 /var/lib/alternatives/cuda; readlink /etc/alternatives/cuda"
SHOWN_MODULE = f"ls /lib/modules/{UEK}/extra 2>&1 || true; dkms status -k {UEK}"

ARTEFACTS = (
    of_file("key of somebody else", KEY, f"cp {ANOTHER_KEY} {KEY}"),
    of_file("repository switched off", REPOSITORY, f"sed -i s/^enabled=1/enabled=0/ {REPOSITORY}"),
    of_file("toolset unknown to DKMS", BUILD, f"rm {BUILD}"),
    of_file("blacklist unreadable", BLACKLIST, f"chmod 0600 {BLACKLIST}"),
    of_file("profile of another owner", CUDA_PROFILE, f"chown daemon:daemon {CUDA_PROFILE}"),
    of_file("linker path emptied", CUDA_LINKER, f": >{CUDA_LINKER}"),
    of_file("profile a link", CONDA_PROFILE, f"ln -sf /etc/hostname {CONDA_PROFILE}"),
    of_file("condarc with paid channels", CONDARC, f"echo 'channels: [defaults]' >{CONDARC}"),
    # Set aside, not removed: the file is taken away here, so that nothing differs in the end.
    Alteration(
        "a second file for the same repository",
        f"{{ echo '[cuda]'; echo name=cuda; grep ^baseurl {REPOSITORY}; }} >{RIVAL}",
        frozenset({f"gpu_driver.source.{RIVAL}"}),
        f"rm -f {RIVAL}.disabled; ls {RIVAL} 2>&1 || true",
    ),
    Alteration(
        "marker of another installer",
        f"sed -i 's/[0-9]/7/' {MARKER}",
        frozenset({f"conda.marker.{MARKER}", "conda.installation./opt/conda"}),
        f"cat {MARKER}",
    ),
    Alteration("stream reset", "dnf -qy module reset nvidia-driver", STREAM,
               f"grep -hE 'stream|state' {MODULE} || true"),
    of_list("a line of the lock is gone", f"sed -i /^nvidia-modprobe/d {LIST}", DRIVER_HOLD),
    of_list("cuDNN is locked no more", f"sed -i /^libcudnn9/d {LIST}", CUDNN_HOLD),
    Alteration("default toolkit left to itself", "alternatives --auto cuda", LINK, SHOWN_LINK),
    Alteration("unit stopped", f"systemctl stop {UNIT}", UNIT_STEP,
               f"systemctl is-active {UNIT} || true"),
    Alteration("module gone", f"rm -r /lib/modules/{UEK}/extra; depmod {UEK}", MODULE_STEP,
               SHOWN_MODULE),
    Alteration(
        "environment lost a package",
        "/opt/conda/bin/conda remove -y -q -n tools numpy >/dev/null",
        frozenset({"conda.environment.tools"}),
        "ls /opt/conda/envs/tools/conda-meta",
    ),
)  # fmt: skip

# The same artefacts altered another way.
OTHERWISE = (
    of_file("key gone", KEY, f"rm {KEY}"),
    of_file("index unsigned", REPOSITORY, f"sed -i /^repo_gpgcheck/d {REPOSITORY}"),
    of_file("another compiler for all kernels", BUILD, f"echo 'MAKE[0]=make' >{BUILD}"),
    of_file("blacklist gone", BLACKLIST, f"rm {BLACKLIST}"),
    of_file("profile altered", CUDA_PROFILE, f"echo export CUDA_HOME=/x >>{CUDA_PROFILE}"),
    of_file("linker path of another group", CUDA_LINKER, f"chgrp daemon {CUDA_LINKER}"),
    of_file("conda profile gone", CONDA_PROFILE, f"rm {CONDA_PROFILE}"),
    of_file("condarc writable for all", CONDARC, f"chmod 0666 {CONDARC}"),
    Alteration(
        "stream of another branch",
        "dnf -qy module reset nvidia-driver; dnf -qy module enable nvidia-driver:595-open",
        STREAM,
        f"grep -hE 'stream|state' {MODULE} || true",
    ),
    of_list("the whole branch is left by the lock",
            f"sed -i 's/:{re.escape(LATER)}$/:580.*/' {LIST}", DRIVER_HOLD),
    of_list("cuDNN is locked at another version", f"sed -i '/^libcudnn9/s/:9/:8/' {LIST}",
            CUDNN_HOLD),
    Alteration("another toolkit is the default", "ln -sfn /usr /etc/alternatives/cuda", LINK,
               "readlink /etc/alternatives/cuda"),
    Alteration("unit disabled", f"systemctl disable -q {UNIT}", UNIT_STEP,
               f"systemctl is-enabled {UNIT} || true"),
    Alteration("module forgotten by DKMS", f"dkms remove nvidia/{LATER} -k {UEK}", MODULE_STEP,
               SHOWN_MODULE),
    Alteration(
        "environment half made",
        "rm -r /opt/conda/envs/tools/conda-meta",
        frozenset({"conda.environment.tools"}),
        "rm -rf /opt/conda/envs/tools.broken; ls /opt/conda/envs/tools/conda-meta 2>&1 || true",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def artefacts(lab: Lab, el_restore: Restore) -> Batch:
    return run_batch(lab, ARTEFACTS, el_restore(HOST))


@pytest.fixture(scope="module")
def otherwise(lab: Lab, el_restore: Restore) -> Batch:
    return run_batch(lab, OTHERWISE, el_restore(HOST))


@pytest.mark.parametrize("one", ARTEFACTS, ids=lambda one: one.name)
def test_an_altered_artefact(artefacts: Batch, one: Alteration) -> None:
    check_alteration(artefacts, one)


def test_nothing_else_than_the_artefacts_changes(artefacts: Batch) -> None:
    check_whole(artefacts, ARTEFACTS, BUILDS)


@pytest.mark.parametrize("one", OTHERWISE, ids=lambda one: one.name)
def test_an_artefact_altered_otherwise(otherwise: Batch, one: Alteration) -> None:
    check_alteration(otherwise, one)


def test_nothing_else_than_the_others_changes(otherwise: Batch) -> None:
    check_whole(otherwise, OTHERWISE, BUILDS)


# --- a host with a fabric -------------------------------------------------------------------------

FABRIC_UNIT = "nvidia-fabricmanager"
FABRIC_STEP = frozenset({f"gpu_driver.unit.{FABRIC_UNIT}"})
PARTS = (
    Alteration("fabric manager disabled", f"systemctl disable -q {FABRIC_UNIT}", FABRIC_STEP,
               f"systemctl is-enabled {FABRIC_UNIT} || true"),
    of_list("fabric manager is locked no more", f"sed -i /^nvidia-fabricmanager/d {LIST}",
            DRIVER_HOLD),
    # Bound to the driver's version by the lock alone; the stream does not hide another.
    Alteration(
        "switches' library of another version",
        f"{UNBOUND} {OURS} download --destdir /tmp/others libnvidia-nscq-{EARLIER};"
        " rpm -U --oldpackage /tmp/others/libnvidia-nscq-*.rpm",
        frozenset({"gpu_driver.package.libnvidia-nscq"}),
        "rpm -q libnvidia-nscq",
    ),
)  # fmt: skip


def test_the_parts_of_a_fabric(lab: Lab, el_restore: Restore, subtests: pytest.Subtests) -> None:
    batch = run_batch(lab, PARTS, el_restore(FABRIC))
    for one in PARTS:
        with subtests.test(one.name):
            check_alteration(batch, one)
    with subtests.test("nothing else changes"):
        check_whole(batch, PARTS, BUILDS)


# --- every package of the stack -------------------------------------------------------------------

# What a package that is gone, or another, may take with it.
CONSEQUENCES = DRIVER_HOLD | CUDNN_HOLD | UNIT_STEP | LINK | MODULE_STEP


def offered(lab: Lab) -> dict[str, list[str]]:
    """Return the versions of each package that NVIDIA's repository offers, oldest first."""
    found: dict[str, list[str]] = {}
    form = "%{name}\\t%{epoch}:%{version}-%{release}"
    for line in lab.sh(HOST, f"{UNBOUND} {OURS} repoquery --qf '{form}\\n'").splitlines():
        name, tab, version = line.partition("\t")
        if tab:
            found.setdefault(name, []).append(version.removeprefix("0:"))
    return {name: sorted(set(versions), key=version_key) for name, versions in found.items()}


def role_of(name: str) -> str:
    if matches(name, ("*cudnn*",)):
        return "cudnn"
    toolkit = ("cuda-*", "libnvvm-*", "*-13-0", "!cuda-drivers*")
    return "cuda_toolkit" if matches(name, toolkit) else "gpu_driver"


def stack_packages(lab: Lab, names: Iterable[str]) -> dict[str, str]:
    """Return the installed ones of some packages with their version, what others need first."""
    form = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t[%{REQUIRENAME} ]\\n"
    rows = [line.split("\t") for line in lab.run(HOST, "rpm", "-qa", "--qf", form).splitlines()]
    ours = {name: (version, needs.split()) for name, version, needs in rows if name in set(names)}
    ordered: dict[str, str] = {}

    def visit(name: str) -> None:
        if name in ordered or name not in ours:
            return
        for needed in ours[name][1]:
            visit(needed.partition("(")[0])
        ordered[name] = ours[name][0]

    for name in sorted(ours):
        visit(name)
    return ordered


def altered(name: str, how: str) -> Alteration:
    return Alteration(
        name,
        how,
        frozenset({f"{role_of(name)}.package.{name}"}),
        f"rpm -q --qf '%{{VERSION}}-%{{RELEASE}}\\n' {name} || true",
        CONSEQUENCES,
    )


def report(subtests: pytest.Subtests, batch: Batch, alterations: list[Alteration]) -> None:
    for one in alterations:
        with subtests.test(one.name):
            # Once a package that needs it is gone or moves as well, the plan names only that one.
            check_alteration(batch, one, planned=False)
    with subtests.test("nothing else changes"):
        check_whole(batch, alterations, BUILDS)


# What is not NVIDIA's: where dkms comes from, what locks, what a module is built with.
BESIDE = ("oracle-epel-release-el9", "python3-dnf-plugin-versionlock", TOOLSET,
          f"kernel-uek-devel-{UEK}", "kernel-headers", "dkms")  # fmt: skip


def test_what_the_driver_needs_of_the_distribution_removed(
    lab: Lab, el_restore: Restore, subtests: pytest.Subtests
) -> None:
    el_restore(HOST)
    # rpm itself keeps a list that was changed, when the plugin that it belongs to goes.
    kept = "/etc/dnf/plugins/versionlock.list.rpmsave"
    alterations = [altered(name, f"rpm -e --nodeps {name} 2>&1; rm -f {kept}") for name in BESIDE]
    report(subtests, run_batch(lab, alterations, HOST), alterations)


def test_every_package_removed(lab: Lab, el_restore: Restore, subtests: pytest.Subtests) -> None:
    el_restore(HOST)
    packages = stack_packages(lab, offered(lab))
    assert len(packages) > 25
    alterations = [altered(name, f"rpm -e --nodeps {name} 2>&1") for name in packages]
    report(subtests, run_batch(lab, alterations, HOST), alterations)


# The driver in thirds: the version that most packages have must stay the right one.
@pytest.mark.parametrize(
    "share", [("gpu_driver", 0, 3), ("gpu_driver", 1, 3), ("gpu_driver", 2, 3), ("cudnn", 0, 2)]
)
def test_every_package_at_another_version(
    lab: Lab, el_restore: Restore, subtests: pytest.Subtests, share: tuple[str, int, int]
) -> None:
    role, part, parts = share
    el_restore(HOST)
    known = offered(lab)
    others = {
        name: known[name][known[name].index(there) - 1]
        for name, there in stack_packages(lab, known).items()
        if role_of(name) == role and known[name].index(there) > 0
    }
    chosen = dict(list(others.items())[part::parts])
    assert len(chosen) >= 2
    words = " ".join(f"{name}-{version}" for name, version in chosen.items())
    lab.sh(HOST, f"{UNBOUND} {OURS} download --destdir /tmp/others {words}")
    update = "rpm -U --oldpackage --nodeps /tmp/others"
    alterations = [
        altered(name, f"{update}/{name}-{version.rpartition(':')[2]}.*.rpm 2>&1")
        for name, version in chosen.items()
    ]
    report(subtests, run_batch(lab, alterations, HOST), alterations)
