"""The workload Faceswap on hosts: installed as locked, for its own user, and kept so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from lab import ids
from stranger import Stranger

from gpuprep.catalog import load
from gpuprep.model import HostStatus
from sandbox import hosts, python_index
from sandbox.fleet import HostSpec
from sandbox.paths import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab import Lab

    from gpuprep.model import HostResult

pytestmark = pytest.mark.sandbox
SOURCE = "/opt/gpuprep/faceswap/source"
RECORD = "/opt/gpuprep/faceswap/installed.json"
ENV = "/opt/conda/envs/faceswap"
HOME = "/var/lib/gpuprep/faceswap"
SITE = f"{ENV}/lib/python3.11/site-packages"
LOCKED = ("torch", "torchvision", "opencv-python-headless", "tqdm")
GIT = {
    **{f"GIT_{who}_{what}": "sandbox" for who in ("AUTHOR", "COMMITTER") for what in ("NAME",)},
    **{f"GIT_{who}_EMAIL": "sandbox@localhost" for who in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **GIT},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def repository(place: Path, folder: Path) -> tuple[str, str]:
    """Make a repository with two commits, as a web server without git hands it out; their ids."""
    work = folder / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "master")
    for path in (".fs_cache/.keep", "config/.keep", "lib/utils.py"):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text("")
    commits = []
    for text in ("print('first')\n", "print('second')\n"):
        (work / "faceswap.py").write_text(f"#!/usr/bin/env python3\n{text}")
        (work / "faceswap.py").chmod(0o755)
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", text)
        commits.append(git(work, "rev-parse", "HEAD"))
    shutil.rmtree(place, ignore_errors=True)
    git(folder, "clone", "-q", "--bare", str(work), str(place))
    git(place, "update-server-info")
    return commits[0], commits[1]


class Workload:
    """One host with the workload, and what it was asked for."""

    def __init__(self, lab: Lab, name: str, folder: Path) -> None:
        self.lab = lab
        self.name = name
        self.folder = folder
        python_index.build(STATE / "www")
        place = STATE / "www" / f"faceswap-{os.getpid()}.git"
        self.first, self.second = repository(place, folder)
        self.lock = folder / "lock.txt"
        self.lock.write_text(python_index.lock(*LOCKED))
        self.settings: dict[str, Any] = {
            "gpuprep_components": ["conda", "faceswap"],
            "faceswap_commit": self.second,
            "faceswap_repository": f"{lab.mirror}/{place.name}",
            "faceswap_index": f"{lab.mirror}/{python_index.INDEX}",
            "faceswap_lock": str(self.lock),
        }
        self.place = place

    def apply(self, **more: Any) -> HostResult:
        return self.lab.apply(self.name, **{**self.settings, **more}).hosts[self.name]

    def steps(self, **more: Any) -> set[str]:
        found = self.lab.plan(self.name, **{**self.settings, **more}).hosts[self.name]
        assert found.code is None, found.error
        return ids(found)

    def sh(self, script: str) -> str:
        return self.lab.sh(self.name, script)


@pytest.fixture(scope="module")
def workload(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workload]:
    name = f"faceswap-{os.getpid()}"
    try:
        lab.start(HostSpec.from_dict(name, {"image": "debian-12"}))
        made = Workload(lab, name, tmp_path_factory.mktemp("faceswap"))
        yield made
        shutil.rmtree(made.place, ignore_errors=True)
    finally:
        hosts.stop_all([name])


@pytest.fixture(scope="module")
def installed(workload: Workload) -> Workload:
    """The host after check mode, which changes nothing, and a run."""
    looked = workload.steps()
    checked = workload.lab.check(workload.name, **workload.settings).hosts[workload.name]
    assert {step.id for step in checked.steps} == looked
    assert workload.sh(f"ls -d /opt/conda {SOURCE} || true; id faceswap || true") == ""
    result = workload.apply()
    assert result.state is HostStatus.PREPARED, (result.code, result.error)
    assert {step.id for step in result.steps} == looked
    return workload


def test_it_is_installed_for_its_own_user(installed: Workload) -> None:
    record = json.loads(installed.sh(f"cat {RECORD}"))
    assert record == {
        "schema": 1,
        "python": f"{ENV}/bin/python",
        "source": SOURCE,
        "commit": installed.second,
        "lock": record["lock"],
        "variant": load().faceswap.variants[0].name,
        "backend": "cpu",
        "user": "faceswap",
        "root": HOME,
    }
    assert installed.sh(f"stat -c '%a %U:%G' {RECORD} {HOME} {HOME}/jobs") == (
        "644 root:root\n750 faceswap:faceswap\n750 faceswap:faceswap\n"
    )
    entry = installed.sh("getent passwd faceswap").strip().split(":")
    assert int(entry[2]) < 1000
    assert entry[5:] == [HOME, "/usr/sbin/nologin"]
    assert installed.sh("getent shadow faceswap").split(":")[1] in {"!", "!!", "*", "!*"}
    # Nothing that root runs, or that the user's jobs are made of, can be written by the user.
    writable = installed.sh(
        f"su -s /bin/sh faceswap -c 'find {ENV} {SOURCE} {RECORD} -writable ! -type l'"
    )
    assert writable == ""
    assert installed.sh(f"{SOURCE}/faceswap.py") == "second\n"
    versions = installed.sh(f"{ENV}/bin/python -I -m pip list --format=freeze")
    assert {"torch==2.12.1", "tqdm==4.67.1"} <= set(versions.split())
    assert "colorama" not in versions


def test_a_second_run_changes_nothing(installed: Workload, tmp_path: Path) -> None:
    asked = len(installed.lab.requests(installed.name))
    again = installed.apply()
    assert (again.changed, again.steps) == (False, ())
    played = Stranger(installed.lab, tmp_path).roles(
        installed.name, "faceswap", **{**installed.settings, "gpuprep_short_cut": False}
    )
    assert (played.code, played.changed) == (0, 0), played.text
    assert installed.lab.requests(installed.name)[asked:] == []


PACKAGES = f"faceswap.python_packages.{ENV}"
PIP = f"{ENV}/bin/python -I -m pip"


def test_what_drifts_is_seen_and_mended(installed: Workload) -> None:
    index = f"--index-url {installed.settings['faceswap_index']}"
    index += f" --trusted-host {installed.lab.mirror.split('/')[2].split(':')[0]}"
    installed.sh(
        f"{PIP} uninstall -q -y torchvision; {PIP} install -q {index} tqdm==4.66.0 colorama;"
        f"echo '#' >> {SOURCE}/lib/utils.py; chmod 755 {HOME}/jobs; echo >> {RECORD}"
    )
    expected = {
        PACKAGES,
        f"faceswap.checkout.{SOURCE}",
        "faceswap.account.faceswap",
        f"faceswap.record.{RECORD}",
    }
    found = installed.apply()
    assert found.state is HostStatus.PREPARED, (found.code, found.error)
    assert {step.id for step in found.steps} == expected
    reason = next(step.reason for step in found.steps if step.id == PACKAGES)
    assert reason == "lost, changed or added: colorama, torchvision, tqdm"
    assert installed.steps() == set()
    versions = set(installed.sh(f"{PIP} list --format=freeze").split())
    assert {"tqdm==4.67.1", "torchvision==0.27.1"} <= versions
    assert "colorama" not in " ".join(versions)
    assert installed.sh(f"wc -c < {SOURCE}/lib/utils.py").strip() == "0"


def test_what_is_gone_is_made_anew(installed: Workload) -> None:
    installed.sh(f"rm -r {ENV} {SOURCE}")
    found = installed.apply()
    assert found.state is HostStatus.PREPARED, (found.code, found.error)
    assert {step.id for step in found.steps} == {
        "faceswap.environment.faceswap",
        PACKAGES,
        f"faceswap.checkout.{SOURCE}",
    }
    assert installed.sh(f"{SOURCE}/faceswap.py") == "second\n"


def test_a_wrong_hash_is_refused_and_nothing_changes(installed: Workload) -> None:
    before = installed.sh(f"{PIP} list --format=freeze; ls {SITE}")
    text = python_index.lock(*LOCKED, "colorama")
    head, _, tail = text.rpartition("--hash=sha256:")
    wrong = installed.folder / "wrong.txt"
    wrong.write_text(f"{head}--hash=sha256:{'0' * 64}\n")
    assert len(tail.strip()) == 64
    result = installed.apply(faceswap_lock=str(wrong))
    assert result.code == "E_PYTHON_LOCK", (result.code, result.error)
    assert "colorama" in str(result.error)
    assert tail.strip() in str(result.error)
    assert installed.sh(f"{PIP} list --format=freeze; ls {SITE}") == before
    assert installed.apply().changed is False


def test_another_commit_and_one_that_is_not_there(installed: Workload) -> None:
    missing = installed.apply(faceswap_commit="0" * 40)
    assert missing.code == "E_FS_COMMIT", (missing.code, missing.error)
    assert installed.sh(f"{SOURCE}/faceswap.py") == "second\n"
    older = installed.apply(faceswap_commit=installed.first)
    assert older.state is HostStatus.PREPARED, (older.code, older.error)
    assert installed.sh(f"{SOURCE}/faceswap.py") == "first\n"
    assert json.loads(installed.sh(f"cat {RECORD}"))["commit"] == installed.first
    assert installed.apply().state is HostStatus.PREPARED
    assert installed.sh(f"{SOURCE}/faceswap.py") == "second\n"


def test_what_does_not_start_leaves_no_record(installed: Workload) -> None:
    short = installed.folder / "short.txt"
    short.write_text(python_index.lock("torch", "torchvision", "tqdm"))
    result = installed.apply(faceswap_lock=str(short))
    assert result.code == "E_FS_START", (result.code, result.error)
    assert "cv2" in str(result.error)
    assert installed.apply().state is HostStatus.PREPARED
