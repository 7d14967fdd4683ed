"""The lock and the bundle on Ubuntu, for both sources: later hosts get exactly what was locked."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mirrors
import pytest
from lab import ids
from ubuntu_lab import archive, packages, prepared

import gpuprep
from gpuprep.cli import run
from gpuprep.errors import ExitCode
from gpuprep.lock.lockfile import read_lock
from gpuprep.model import HostStatus
from sandbox import hosts
from sandbox.fleet import HostSpec
from sandbox.nvrepo import content
from sandbox.ubuntu.modules import SIGNER
from sandbox.ubuntu.systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lab import Lab

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

A10 = "10de:2236"
JAMMY = SYSTEMS["ubuntu-22.04"]
SIGNED = f"linux-modules-nvidia-580-server-open-{JAMMY.kernel.uname}"
MIRROR = "months-ubuntu"
_, FIRST, LAST, _ = (driver.version for driver in content.DRIVERS)
COMPONENTS = {"gpuprep_components": ["driver"]}


@dataclass(frozen=True)
class Pair:
    """A host whose stack was locked, and another one of its class that gets it later."""

    first: str
    second: str
    file: Path
    variables: Mapping[str, Any]
    refused: int  # exit code of `lock` while the first was bare

    def versions(self) -> Mapping[str, str]:
        """Return every locked package with its version."""
        (one,) = read_lock(self.file).classes
        return {**one.packages, **one.requires}

    @property
    def setting(self) -> dict[str, str]:
        """The variable that ``--locked`` sets."""
        return {"gpuprep_lock_file": str(self.file)}


# --- Ubuntu's archive -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Lock the archive's driver of a host under Secure Boot; the archive has moved on since."""
    names, file = ("ul-22-a", "ul-22-b"), tmp_path_factory.mktemp("signed") / "gpuprep.lock.yml"
    spec = {"image": JAMMY.name, "gpus": [A10], "secure_boot": True}
    lab.start(*(HostSpec.from_dict(name, spec) for name in names))
    inventory = lab.inventory(names[0], variables=COMPONENTS)
    lock = ["lock", "-q", "-i", str(inventory), "--lock-file", str(file)]
    refused = run(lock)
    assert not file.exists()
    assert prepared(lab.apply(names[0], **COMPONENTS).hosts[names[0]])
    assert run(lock) == ExitCode.OK
    archive(lab, names[1], JAMMY.name, "later")
    yield Pair(*names, file, COMPONENTS, refused)
    hosts.stop_all(names)


def test_a_bare_host_cannot_tell_what_the_archive_will_give(signed: Pair) -> None:
    assert signed.refused == ExitCode.USAGE


def test_the_lock_holds_the_driver_its_modules_and_their_parts(lab: Lab, signed: Pair) -> None:
    (one,) = read_lock(signed.file).classes
    assert (one.source, one.driver) == ("distro", JAMMY.drivers[0])
    assert {**one.packages, **one.requires} == packages(lab, signed.first)
    assert SIGNED in one.packages


def test_another_host_gets_exactly_the_locked_driver_and_its_signed_modules(
    lab: Lab, signed: Pair
) -> None:
    newest = lab.run(signed.second, "apt-cache", "policy", "nvidia-utils-580-server")
    assert f"Candidate: {JAMMY.newer_drivers[0]}" in newest
    result = lab.apply(signed.second, **signed.variables, **signed.setting)
    assert prepared(result.hosts[signed.second])
    assert packages(lab, signed.second) == packages(lab, signed.first) == signed.versions()
    assert lab.run(signed.second, "modinfo", "-F", "signer", "nvidia").strip() == SIGNER
    again = lab.apply(signed.second, **signed.variables, **signed.setting)
    assert (again.exit_code, again.changed, ids(again, signed.second)) == (
        ExitCode.OK,
        False,
        set(),
    )


def test_what_moved_on_is_brought_back_to_the_lock(lab: Lab, signed: Pair) -> None:
    name = "nvidia-utils-580-server"
    newer = f"{JAMMY.newer_drivers[0]}-0ubuntu0.22.04.1"
    move = f"cd /tmp && apt-get -q download {name}={newer} && dpkg --force-all -i {name}_*.deb"
    lab.sh(signed.second, f"{move} && rm {name}_*.deb")
    steps = ids(lab.plan(signed.second, **signed.variables, **signed.setting), signed.second)
    assert steps == {f"gpu_driver.package.{name}", "gpu_driver.hold.packages"}
    result = lab.apply(signed.second, **signed.variables, **signed.setting)
    assert prepared(result.hosts[signed.second])
    assert packages(lab, signed.second) == signed.versions()


def test_a_lock_of_the_archives_driver_is_refused_for_nvidias(lab: Lab, signed: Pair) -> None:
    settings = {**signed.variables, **signed.setting, "gpu_driver_source": "nvidia"}
    host = lab.plan(signed.second, **settings).hosts[signed.second]
    assert (host.state, host.code) == (HostStatus.REFUSED, "E_SECURE_BOOT_UNSIGNED")


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"gpu_driver_branch": "595"}, "E_DRIVER_VERSION", "580.173.02"),
        (
            {"gpu_driver_version": "580.178.04"},
            "E_LOCK_DIFFERS",
            "driver is locked at 580.173.02, wanted 580.178.04",
        ),
        ({"gpuprep_components": ["driver", "cuda"]}, "E_LOCK_MISSING", "cuda-toolkit-13-0"),
    ],
)
def test_what_is_not_locked_is_refused(
    lab: Lab, signed: Pair, settings: dict[str, Any], code: str, words: str
) -> None:
    settings = {**signed.variables, **signed.setting, **settings}
    host = lab.plan(signed.second, **settings).hosts[signed.second]
    assert (host.state, host.code) == (HostStatus.REFUSED, code)
    assert words in str(host.error)


def bundle(lab: Lab, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the texts of a host's bundle by their path."""
    inventory = lab.inventory(name, variables=COMPONENTS)
    assert run(["bundle", name, "-i", str(inventory), "--to", str(folder)]) == ExitCode.OK
    capsys.readouterr()
    (path,) = folder.glob(f"gpuprep-{name}-*.tar.gz")
    with tarfile.open(path) as opened:
        return {
            member.name.split("/", 1)[1]: (opened.extractfile(member) or member).read().decode()  # type: ignore[union-attr]
            for member in opened
        }


def test_the_bundle_shows_source_signer_and_kernels(
    lab: Lab, signed: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = bundle(lab, signed.first, tmp_path, capsys)
    said = "".join(text for name, text in texts.items() if name.startswith("commands/"))
    assert f"signer:         {SIGNER}" in said
    assert f"{SIGNED} " in said
    assert f"install ok installed linux-image-{JAMMY.kernel.uname}" in said
    assert "ubuntu-now/jammy" in texts["files/etc/apt/sources.list.d/ubuntu.sources"]
    assert "files/etc/apt/sources.list" in texts
    assert "files/var/log/apt/history.log" in texts


# --- NVIDIA's repository --------------------------------------------------------------------------


def publish(*unlike: str) -> None:
    """Let the mirror hold what is not of these versions."""
    debs = mirrors.packages(JAMMY.distro)
    kept = [deb for deb in debs if not deb.name.split("_")[1].startswith(unlike)]
    mirrors.publish(MIRROR, JAMMY.distro, kept)


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Lock a bare host while the repository is old; newer versions come out afterwards."""
    names, file = ("ul-22-c", "ul-22-d"), tmp_path_factory.mktemp("whole") / "gpuprep.lock.yml"
    lab.start(*(HostSpec.from_dict(n, {"image": JAMMY.name, "gpus": [A10]}) for n in names))
    # The open modules of that old a driver do not build on the kernel of these hosts.
    variables = {
        "gpuprep_mirror": f"{lab.mirror}/{MIRROR}",
        "gpu_driver_flavour": "proprietary",
        "gpuprep_components": ["driver", "cuda"],
    }
    publish(LAST, "13.2.")
    inventory = lab.inventory(names[0], variables=variables)
    assert run(["lock", "-q", "-i", str(inventory), "--lock-file", str(file)]) == ExitCode.OK
    publish()
    yield Pair(*names, file, variables, ExitCode.OK)
    hosts.stop_all(names)
    shutil.rmtree(mirrors.WEB / MIRROR)


def test_two_hosts_get_exactly_what_was_locked_from_nvidias_repository(
    lab: Lab, whole: Pair
) -> None:
    inventory = lab.inventory(whole.first, whole.second, variables=whole.variables)
    result = gpuprep.apply(inventory, variables=whole.setting)
    locked = whole.versions()
    for name in (whole.first, whole.second):
        assert prepared(result.hosts[name])
        form = "${Package}\\t${Version}\\n"
        rows = lab.run(name, "dpkg-query", "-W", "-f", form).splitlines()
        there = dict(row.split("\t", 1) for row in rows)
        both = there.keys() & locked.keys()
        assert {"cuda-drivers-580", "libnvidia-compute-580", "cuda-nvcc-13-0"} <= both
        assert {n: there[n] for n in both} == {n: locked[n] for n in both}
        assert there["libnvidia-compute-580"].startswith(FIRST)
    again = gpuprep.apply(inventory, variables=whole.setting)
    assert (again.exit_code, again.changed) == (ExitCode.OK, False)
    elsewhere = gpuprep.plan(inventory, variables={**whole.setting, "gpu_driver_source": "distro"})
    refused = elsewhere.hosts[whole.first]
    assert (refused.state, refused.code) == (HostStatus.REFUSED, "E_LOCK_DIFFERS")
    assert "the driver's source is locked at nvidia, wanted distro" in str(refused.error)


def test_hosts_that_were_prepared_alike_say_the_same(lab: Lab, whole: Pair) -> None:
    """What a fleet of such hosts says is read and planned once; see ADR 22."""
    first, second = (lab.seen(name, **whole.variables) for name in (whole.first, whole.second))
    assert first.alike == second.alike != ""
    assert first.hostname != second.hostname


def test_the_bundle_shows_nvidias_repository_and_pins(
    lab: Lab, whole: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = bundle(lab, whole.first, tmp_path, capsys)
    assert MIRROR in texts["files/etc/apt/sources.list.d/gpuprep-nvidia.sources"]
    assert f"version {FIRST}" in texts["files/etc/apt/preferences.d/gpuprep-nvidia"]
    said = "".join(text for name, text in texts.items() if name.startswith("commands/"))
    assert "install ok installed nvidia-dkms-580" in said or "hold ok installed nvidia-dkms" in said
