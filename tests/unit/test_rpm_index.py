"""What an rpm repository offers, with epochs and needs, and what a lock file takes of it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from gpuprep.lock.repository_index import index_of, required
from gpuprep.model import Family, Repository, SigningKey
from gpuprep.packages import family_of

if TYPE_CHECKING:
    from pathlib import Path

REPOMD = """<repomd xmlns="http://linux.duke.edu/metadata/repo">
<data type="primary"><location href="repodata/primary.xml.gz"/></data></repomd>"""
PACKAGE = """<package type="rpm"><name>{name}</name><arch>x86_64</arch>
<version epoch="{epoch}" ver="{version}" rel="1.el9"/><format>
<rpm:requires>{needs}</rpm:requires></format></package>"""
PRIMARY = """<metadata xmlns="http://linux.duke.edu/metadata/common"
 xmlns:rpm="http://linux.duke.edu/metadata/rpm">{packages}</metadata>"""


def entry(name: str, version: str = "", epoch: str = "3") -> str:
    bound = f' flags="EQ" epoch="{epoch}" ver="{version}"' if version else ""
    return f'<rpm:entry name="{name}"{bound}/>'


def package(name: str, version: str, *needs: str, epoch: int = 3) -> str:
    return PACKAGE.format(name=name, version=version, epoch=epoch, needs="".join(needs))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository of two drivers and an add-on, on disk."""
    packages = [
        package(name, version, *needs)
        for version in ("580.95.05", "580.178.04")
        for name, needs in (
            ("nvidia-open", (entry("libnvidia-ml(x86-64)", version), entry("/bin/sh"))),
            ("libnvidia-ml", (entry("nvidia-modprobe"),)),
            ("nvidia-modprobe", ()),
        )
    ]
    packages.append(package("nvlink5", "580.95.05", epoch=0))
    (tmp_path / "repodata").mkdir()
    (tmp_path / "repodata/repomd.xml").write_text(REPOMD)
    text = PRIMARY.format(packages="".join(packages))
    (tmp_path / "repodata/primary.xml.gz").write_bytes(gzip.compress(text.encode()))
    return Repository(f"{tmp_path}/", Family.RPM, SigningKey("", "A" * 40))


def test_versions_carry_their_epoch(repository: Repository) -> None:
    offered = index_of(repository)
    assert set(offered.versions["nvidia-open"]) == {"3:580.95.05-1.el9", "3:580.178.04-1.el9"}
    assert offered.versions["nvlink5"] == ("580.95.05-1.el9",)


def test_what_a_locked_package_needs_is_locked_at_the_drivers_version(
    repository: Repository,
) -> None:
    found = required(
        index_of(repository),
        {"nvidia-open": "3:580.95.05-1.el9"},
        "580.95.05",
        family_of(Family.RPM),
    )
    # nvidia-modprobe, too, which is needed in any version.
    assert found == dict.fromkeys(("libnvidia-ml", "nvidia-modprobe"), "3:580.95.05-1.el9")
