"""The Miniforge substitute: packages in conda's form, an installer that knows its own size."""

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from gpuprep import catalog
from sandbox.conda import build, content
from sandbox.conda.package import PLACEHOLDER, Link, Package
from sandbox.conda.target.conda import transactions


def test_a_package_is_in_condas_form(tmp_path: Path) -> None:
    package = Package(
        "probe",
        "1.0",
        build="py313h0_2",
        subdir="linux-64",
        depends=("python >=3.13",),
        files={
            "bin/probe": f"#!{PLACEHOLDER}/bin/python\n",
            "bin/also": Link("probe"),
            "share/probe.txt": "text\n",
        },
    )
    path = package.write(tmp_path)
    assert path == tmp_path / "linux-64" / "probe-1.0-py313h0_2.tar.bz2"
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive}

        def read(name: str) -> str:
            content_ = archive.extractfile(name)
            assert content_
            return content_.read().decode()

        index = json.loads(read("info/index.json"))
        paths = {entry["_path"]: entry for entry in json.loads(read("info/paths.json"))["paths"]}
        assert read("info/files").split() == ["bin/probe", "bin/also", "share/probe.txt"]
    assert (index["build"], index["build_number"], index["subdir"]) == ("py313h0_2", 2, "linux-64")
    assert "noarch" not in index
    assert members["bin/probe"].mode == 0o755
    assert members["share/probe.txt"].mode == 0o644
    assert members["bin/also"].issym()
    assert paths["bin/also"] == {"_path": "bin/also", "path_type": "softlink"}
    assert paths["bin/probe"]["prefix_placeholder"] == PLACEHOLDER
    assert "prefix_placeholder" not in paths["share/probe.txt"]
    assert paths["share/probe.txt"]["sha256"] == hashlib.sha256(b"text\n").hexdigest()
    assert package.write(tmp_path / "again").read_bytes() == path.read_bytes()


def test_the_channel_has_no_two_packages_of_one_name() -> None:
    names = [(package.subdir, package.filename) for package in content.channel()]
    assert len(names) == len(set(names))


def test_every_base_package_is_in_the_channel() -> None:
    there = {(package.subdir, package.filename) for package in content.channel()}
    for release in content.RELEASES:
        assert {(p.subdir, p.filename) for p in content.base(release)} <= there


def test_hosts_are_told_the_checksum_of_the_release_the_catalog_chooses() -> None:
    assert content.RELEASES[-1].version == catalog.load().conda.default


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """An installer whose payload only says that it was run."""
    payload = tmp_path / "payload.tar"
    with tarfile.open(payload, "w") as archive:
        program = tmp_path / "bootstrap"
        program.write_text('#!/bin/sh\necho "linked $1 into $2"; test -d "$1"; touch "$2/done"\n')
        program.chmod(0o755)
        archive.add(program, "bootstrap")
    path = tmp_path / "Miniforge3-1.0-Linux-x86_64.sh"
    path.write_bytes(build.self_extracting("1.0", payload.read_bytes()))
    return path


def run(installer: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(installer), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_the_installer_unpacks_below_tmpdir_and_cleans_up(installer: Path, tmp_path: Path) -> None:
    scratch, prefix = tmp_path / "scratch", tmp_path / "prefix"
    scratch.mkdir()
    done = run(installer, "-b", "-p", str(prefix), TMPDIR=str(scratch))
    assert done.returncode == 0, done.stderr
    assert f"linked {scratch}/miniforge3." in done.stdout
    assert (prefix / "done").is_file()
    assert list(scratch.iterdir()) == []


def test_an_existing_prefix_is_refused_unless_updated(installer: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    refused = run(installer, "-b", "-p", str(prefix))
    assert refused.returncode == 1
    assert f"File or directory already exists: '{prefix}'" in refused.stderr
    assert "-u option" in refused.stderr
    assert list(prefix.iterdir()) == []
    for flag in ("-u", "-f"):
        assert run(installer, "-b", flag, "-p", str(prefix)).returncode == 0


def test_half_a_download_is_refused(installer: Path, tmp_path: Path) -> None:
    whole = installer.read_bytes()
    installer.write_bytes(whole[:-1])
    done = run(installer, "-b", "-p", str(tmp_path / "prefix"))
    assert done.returncode == 1
    assert f"should be {len(whole)} bytes" in done.stderr
    assert not (tmp_path / "prefix").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("-p", "/nowhere"), "batch mode only"), (("-b", "-p", "/no where"), "with spaces")],
)
def test_what_it_cannot_do_it_says(
    installer: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(installer, *arguments)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize("newer", [True, False])
def test_an_environments_python_passes_a_hosts_that_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, newer: bool
) -> None:
    monkeypatch.setattr(transactions, "HIDDEN", tmp_path / "hidden")
    (tmp_path / "hidden").mkdir()
    if newer:
        (tmp_path / "hidden" / "python3.11").touch()
    python = tmp_path / "python3"
    python.symlink_to("/usr/bin/python3")
    for _ in range(2):
        transactions._lead_to_newer(python)
        expected = tmp_path / "hidden" / "python3.11" if newer else Path("/usr/bin/python3")
        assert python.readlink() == expected
