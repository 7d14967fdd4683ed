"""Fetch single packages of a Debian release, whatever release this machine has."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from sandbox import mirror
from sandbox.nvrepo.deb import Entry
from sandbox.paths import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FOLDERS = (
    *("etc/apt/apt.conf.d", "etc/apt/preferences.d"),
    *("var/lib/apt/lists/partial", "var/cache/apt/archives/partial"),
)
_HEADERS = re.compile(r"^ *Depends: (linux-headers-[0-9]\S*|linux-kbuild-\S+)$", re.MULTILINE)


class Archive:
    """A Debian release as its own apt with an empty database sees it."""

    def __init__(self, suite: str, cache: Path) -> None:
        """Prepare for `suite`, keeping the index and the packages below `cache`."""
        self.suite, self.home = suite, cache / "apt" / suite
        found, options = mirror.of_this_machine()
        if found is None:
            raise SandboxError("this machine's apt names no Debian mirror")
        self.sources = found.sources(suite)
        self.options = (
            *options,
            f'Dir "{self.home}"',
            f'Dir::State::status "{self.home}/status"',
            'Dir::Etc::TrustedParts "/etc/apt/trusted.gpg.d"',
            'APT::Sandbox::User "root"',
            'APT::Architecture "amd64"',
            'Acquire::Languages "none"',
        )

    def fetch(self, names: Iterable[str]) -> list[Path]:
        """Return the files of the packages `names`, downloading them on first use.

        Raises:
            SandboxError: apt could not fetch one; its last lines are quoted.

        """
        wanted = sorted(set(names))
        asked = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
        place = self.home / "packages" / asked
        if not place.is_dir():
            self._update()
            stage = place.with_name(f".{asked}.new")
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(parents=True)
            self._apt("apt-get", "--quiet", "download", *wanted, folder=stage)
            stage.rename(place)
        return sorted(place.glob("*.deb"))

    def headers(self) -> list[Path]:
        """Return the packages of the newest kernel's headers and build programs."""
        known = self.home / "headers"
        if not known.is_file():
            self._update()
            (package,) = self._needs("linux-headers-amd64")
            known.write_text("\n".join([package, *self._needs(package)]))
        return self.fetch(known.read_text().split())

    def _needs(self, package: str) -> list[str]:
        text = self._apt("apt-cache", "depends", package)
        return _HEADERS.findall(text.replace("|", ""))

    def _update(self) -> None:
        if (self.home / "updated").exists():
            return
        for folder in _FOLDERS:
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        (self.home / "status").touch()
        (self.home / "etc" / "apt" / "sources.list").write_text("\n".join(self.sources) + "\n")
        self._apt("apt-get", "--quiet", "update")
        (self.home / "updated").touch()

    def _apt(self, *command: str, folder: Path | None = None) -> str:
        settings = self.home / "apt.conf"
        settings.write_text("".join(f"{option};\n" for option in self.options))
        done = subprocess.run(
            command,
            env={**os.environ, "APT_CONFIG": str(settings)},
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-6:])
            raise SandboxError(f"{' '.join(command)} ({self.suite}): {tail}")
        return done.stdout


def unpack(debs: Iterable[Path], root: Path) -> None:
    """Unpack the files of packages below `root`, without their scripts."""
    root.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)


def tree(root: Path) -> dict[str, Entry]:
    """Return the files and links below `root` by their place in it."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = Entry(link=str(path.readlink()))
        elif path.is_file():
            found[name] = Entry(source=path, mode=path.stat().st_mode & 0o7777)
    return found
