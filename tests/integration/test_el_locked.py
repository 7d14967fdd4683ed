"""The lock on Enterprise Linux: exactly what was locked on one host, months later on another."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from typing import TYPE_CHECKING

import mirrors
import pytest
from lab import Lab, ids

import gpuprep
from gpuprep.cli import run
from gpuprep.errors import ExitCode
from gpuprep.lock.lockfile import read_lock
from gpuprep.model import FleetResult, HostStatus
from sandbox import hosts
from sandbox.el.systems import SYSTEMS
from sandbox.fleet import HostSpec
from sandbox.nvrepo import content, rpm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

FIRST, SECOND = "l-el-1", "l-el-2"
EARLIER, LATER = content.DRIVERS[1].version, content.DRIVERS[2].version
COMMON = "cuda-toolkit-config-common"  # needed by others in any version
MIRROR = "months-el"
MARKER = "s3cret-marker-7731"
UEK = SYSTEMS["ol-9"].kernels[0].uname
NEVRA = re.compile(r"(\d+:)?[\w.+~^]+-[\w.+~^]+")


def publish(*unlike: str) -> None:
    """Let the mirror hold what is not of these versions."""
    files = mirrors.packages("rhel9", "*.rpm")
    mirrors.publish_rpms(
        MIRROR, "ol-9", [f for f in files if not rpm.read(f).version.startswith(unlike)]
    )


@pytest.fixture(scope="module")
def locked(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lock a bare host; return the lock's file, another host and newer versions being there."""
    file = tmp_path_factory.mktemp("lock") / "gpuprep.lock.yml"
    lab.start(HostSpec(FIRST, "ol-9", gpus=("10de:2236",)))
    publish(LATER, "13.2.", "9.28.")
    inventory = inventory_of(lab, FIRST)
    assert run(["lock", "-q", "-i", str(inventory), "--lock-file", str(file)]) == ExitCode.OK
    publish()
    hosts.stop_all([FIRST])
    lab.start(HostSpec(SECOND, "ol-9", gpus=("10de:2236",)))
    yield file
    hosts.stop_all([SECOND])
    shutil.rmtree(mirrors.WEB / MIRROR)


def inventory_of(lab: Lab, *names: str) -> Path:
    return lab.inventory(*names, variables={"gpuprep_mirror": f"{lab.mirror}/{MIRROR}"})


def versions_of(file: Path) -> Mapping[str, str]:
    (one,) = read_lock(file).classes
    return {**one.packages, **one.requires}


def on_host(lab: Lab, name: str) -> dict[str, str]:
    form = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n"
    lines = lab.run(name, "rpm", "-qa", "--qf", form).splitlines()
    return dict(line.split("\t", 1) for line in lines)


@pytest.fixture(scope="module")
def applied(lab: Lab, locked: Path) -> FleetResult:
    """Return the result of an apply from the lock to another host than that it was made for."""
    inventory = inventory_of(lab, SECOND)
    return gpuprep.apply(inventory, variables={"gpuprep_lock_file": str(locked)})


def test_the_lock_has_full_versions(locked: Path) -> None:
    versions = versions_of(locked)
    assert all(NEVRA.fullmatch(version) for version in versions.values())
    assert versions["nvidia-open"] == f"3:{EARLIER}-1.el9"
    assert versions["nvidia-modprobe"] == f"3:{EARLIER}-1.el9"
    assert not any(version.startswith(f"3:{LATER}") for version in versions.values())


def test_another_host_gets_exactly_what_was_locked(
    lab: Lab, locked: Path, applied: FleetResult
) -> None:
    host = applied.hosts[SECOND]
    assert (host.state, host.error) == (HostStatus.PREPARED, None)
    there, versions = on_host(lab, SECOND), versions_of(locked)
    both = there.keys() & versions.keys()
    assert {"nvidia-open", "nvidia-modprobe", "cuda-nvcc-13-0", "libcudnn9-cuda-13", COMMON} <= both
    assert {n: there[n] for n in both} == {n: versions[n] for n in both}
    offered = {rpm.read(file).name for file in mirrors.packages("rhel9", "*.rpm")}
    assert there.keys() & offered - both == set(), "packages that the lock forgot"
    lines = lab.run(SECOND, "cat", "/etc/dnf/plugins/versionlock.list")
    assert f"nvidia-open*-3:{EARLIER}\n" in lines


def test_a_second_time_nothing_changes(lab: Lab, locked: Path, applied: FleetResult) -> None:
    assert applied.exit_code is ExitCode.OK
    inventory = inventory_of(lab, SECOND)
    again = gpuprep.apply(inventory, variables={"gpuprep_lock_file": str(locked)})
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)
    assert ids(again, SECOND) == set()


@pytest.mark.usefixtures("applied")
def test_check_says_what_is_newer(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lock", "--check", "--lock-file", str(locked)]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert any(f" nvidia-open 3:{EARLIER}-1.el9 -> 3:{LATER}-1.el9" in line for line in lines)
    assert any(f" {COMMON} 13.0." in line for line in lines)
    assert not any("595." in line or "615." in line for line in lines)


@pytest.mark.usefixtures("applied")
def test_what_moved_on_is_brought_back(lab: Lab, locked: Path) -> None:
    lab.sh(SECOND, f"dnf -qy upgrade {COMMON}")
    inventory, setting = inventory_of(lab, SECOND), {"gpuprep_lock_file": str(locked)}
    planned = gpuprep.plan(inventory, variables=setting)
    assert ids(planned, SECOND) == {f"cuda_toolkit.package.{COMMON}"}
    assert gpuprep.apply(inventory, variables=setting).exit_code is ExitCode.OK
    assert on_host(lab, SECOND)[COMMON] == versions_of(locked)[COMMON]


@pytest.mark.usefixtures("applied")
def test_the_bundle_has_what_tells_of_such_a_host(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "[site]\nname=site\nbaseurl=http://127.0.0.1/\nenabled=0\nusername=u\n"
    text += f"password={MARKER}\n"
    hosts.write_file(SECOND, "/etc/yum.repos.d/site.repo", text)
    inventory = inventory_of(lab, SECOND)
    assert run(["bundle", SECOND, "-i", str(inventory), "--to", str(tmp_path)]) == ExitCode.OK
    (archive,) = tmp_path.glob("gpuprep-*.tar.gz")
    assert capsys.readouterr().out.strip() == str(archive)
    with tarfile.open(archive) as opened:
        texts = {
            member.name.split("/", 1)[1]: opened.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in opened
        }
    said = "".join(text for name, text in texts.items() if name.startswith("commands/"))
    assert f"nvidia-open 3:{EARLIER}-1.el9.noarch" in said
    assert f"kernel-uek-core {UEK.rpartition('.')[0]}.x86_64" in said
    assert f"nvidia/{EARLIER}, {UEK}, x86_64: installed" in said
    assert f'kernel="/boot/vmlinuz-{UEK}"' in said
    assert "gpuprep-nvidia" in said  # of the repositories
    assert "stream=580-open" in texts["files/etc/dnf/modules.d/nvidia-driver.module"]
    assert "nvidia-open*-3:" in texts["files/etc/dnf/plugins/versionlock.list"]
    assert "gcc-toolset-" in texts["files/etc/dkms/nvidia.conf"]
    assert any(name.endswith("/log/make.log") for name in texts)
    assert json.loads(texts["report.json"])["hosts"]
    assert "username=u" in texts["files/etc/yum.repos.d/site.repo"]
    assert MARKER not in "".join(texts.values())
