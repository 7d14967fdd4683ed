"""Debian's own kernel headers: what the look finds there is what their numbers say."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.catalog import load
from gpuprep.model import Settings
from gpuprep.model.versions import at_least, key
from gpuprep.on_host.observe import headers
from gpuprep.planner import observation_request
from gpuprep.resolve.kernels import Kernel, obstacle
from sandbox import mirror

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.needs("apt-get", "dpkg-deb", "tar")]

TABLE = load().kernels
CHANGES = observation_request(load(), Settings())["changes"]
BACKPORT = "pci_resize_resource"
SERIES = ("6.1", "6.12", "7")  # of Debian 12, of Debian 13, and of its backports
SUITES = ("bookworm", "trixie", "trixie-backports")
PACKAGE = re.compile(r"linux-headers-(\d\S*)-common")


@dataclass(frozen=True)
class Tree:
    """The headers of a kernel: its release, and what the look says of them."""

    release: str
    found: dict[str, Any]

    @property
    def shown(self) -> dict[str, bool]:
        """What the headers show, by change."""
        changes: dict[str, bool] = self.found["changes"]
        return changes


class Apt:
    """An apt of its own below a folder."""

    def __init__(self, root: Path) -> None:
        found, options = mirror.of_this_machine()
        assert found is not None
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        lines = [f"deb [signed-by={keyring}] {found.archive} {suite} main" for suite in SUITES]
        for folder in ("lists/partial", "cache/archives/partial", "etc"):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        (root / "etc/sources.list").write_text("\n".join(lines) + "\n")
        settings = {
            "Dir::State": root,
            "Dir::State::lists": root / "lists",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Dir::Etc": root / "etc",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        self._root = root
        self._options = [f"-o{name}={value}" for name, value in settings.items()]
        self._options += [f"-o{option.replace(' ', '=', 1)}" for option in options]
        self.run("apt-get", "-q", "update")

    def run(self, program: str, *arguments: str) -> str:
        command = [program, *self._options, *arguments]
        done = subprocess.run(command, cwd=self._root, check=True, capture_output=True, text=True)
        return done.stdout

    def headers(self, series: str) -> str:
        """Return the newest kernel of a series that the archive has headers of."""
        listed = self.run("apt-cache", "pkgnames", "linux-headers-")
        names = [found[1] for line in listed.split() if (found := PACKAGE.fullmatch(line))]
        return max((n for n in names if n.startswith(f"{series}.")), key=key)

    def unpack(self, release: str, folder: Path) -> Path:
        """Return the tree of a kernel's common headers."""
        package = f"linux-headers-{release}-common"
        self.run("apt-get", "-q", "download", package)
        (deb,) = self._root.glob(f"{package}_*.deb")
        archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        wanted = ["--wildcards", "./usr/src/*/include/linux/*", "./usr/src/*/include/drm/*"]
        unpack = ["tar", "-x", "-C", str(folder), *wanted]
        subprocess.run(unpack, stdin=archive.stdout, check=True)
        assert archive.wait() == 0
        return folder / "usr/src" / package


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[Tree]:
    root = tmp_path_factory.mktemp("headers")
    apt = Apt(root / "apt")
    found = []
    for series in SERIES:
        number = apt.headers(series)
        release = f"{number}-amd64"
        modules = root / "modules" / release
        modules.mkdir(parents=True)
        (modules / "source").symlink_to(apt.unpack(number, root))
        told = headers.look(release, CHANGES, f"{modules.parent}/")
        assert told is not None, release
        found.append(Tree(release, told))
    return found


def test_every_look_finds_one_of_its_forms(trees: list[Tree]) -> None:
    for tree in trees:
        unknown = set(CHANGES) - set(tree.shown)
        # Locks of memory areas had a header of their own only later.
        assert unknown <= ({"vma_write_locked"} if key(tree.release) < key("6.16") else set())
    newest = trees[-1]
    assert not unknown
    assert [n for n, has in newest.shown.items() if not has] == ["pfn_valid_rcu"]


def test_headers_and_numbers_agree(trees: list[Tree]) -> None:
    for tree in trees:
        for name, shown in tree.shown.items():
            change = TABLE.changes[name]
            mainline = change.kernel is not None and at_least(tree.release, change.kernel)
            if not change.backports:
                assert shown is mainline, (tree.release, name)


def test_what_debian_took_back_is_known_by_number_too(trees: list[Tree]) -> None:
    one = replace(TABLE, changes={BACKPORT: TABLE.changes[BACKPORT]})
    for tree in trees:
        by_number = obstacle(one, Kernel(tree.release), "570.211.01", "open")
        assert (by_number is not None) is tree.shown[BACKPORT], tree.release
    assert [tree.shown[BACKPORT] for tree in trees[1:]] == [True, True]
