"""Build the channel and the installers below a web root; do again only what changed."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

from rattler.index import index_fs

from sandbox import wheels
from sandbox.conda import content
from sandbox.conda.package import EPOCH

CHANNEL = "conda-forge"
RELEASES = "miniforge/releases/download"


def build(www: Path, cache: Path) -> str:
    """Build channel and installers; return the SHA-256 of the newest installer."""
    wanted = _inputs()
    stamp = cache / "published" / "conda"
    if not (stamp.is_file() and stamp.read_text() == wanted and (www / CHANNEL).is_dir()):
        _channel(www / CHANNEL, cache)
        _installers(www, cache)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(wanted)
    newest = installer_path(www, content.RELEASES[-1].version)
    return newest.with_name(f"{newest.name}.sha256").read_text().split()[0]


def installer_path(www: Path, version: str) -> Path:
    """Return where the installer of a release is."""
    return www / RELEASES / version / f"Miniforge3-{version}-Linux-x86_64.sh"


def _inputs() -> str:
    """Digest of everything that decides what is built."""
    here = Path(__file__).parent
    files = sorted(path for path in here.rglob("*") if path.is_file() and path.suffix != ".pyc")
    parts = [f"{path.relative_to(here)}\n".encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _channel(directory: Path, cache: Path) -> None:
    stage = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(stage, ignore_errors=True)
    pip = content.pip(wheels.unpacked("pip", content.PIP, cache))
    for package in (*content.channel(), pip):
        package.write(stage)
    asyncio.run(index_fs(stage, write_zst=True, write_shards=False))
    shutil.rmtree(directory, ignore_errors=True)
    stage.rename(directory)


def _installers(www: Path, cache: Path) -> None:
    bundled = [wheels.fetch(name, version, cache) for name, version in content.WHEELS.items()]
    for release in content.RELEASES:
        packages = [
            www / CHANNEL / package.subdir / package.filename for package in content.base(release)
        ]
        path = installer_path(www, release.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        installer = self_extracting(release.version, _payload(bundled, packages))
        path.write_bytes(installer)
        digest = hashlib.sha256(installer).hexdigest()
        path.with_name(f"{path.name}.sha256").write_text(f"{digest}  ./{path.name}\n")


def _payload(bundled: list[Path], packages: list[Path]) -> bytes:
    """Pack wheels, packages, our conda and the program that links them into a tar archive."""
    members = {
        "bootstrap": content.TARGET / "bootstrap",
        **{path.name: path for path in bundled},
        **{f"pkgs/{path.parent.name}/{path.name}": path for path in packages},
        **{f"conda/{path.name}": path for path in sorted((content.TARGET / "conda").glob("*.py"))},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = path.stat().st_size, EPOCH
            member.mode = 0o755 if name == "bootstrap" else 0o644
            with path.open("rb") as source:
                archive.addfile(member, source)
    return buffer.getvalue()


def self_extracting(version: str, payload: bytes) -> bytes:
    """Put the installer's script before `payload`; it knows where that begins and its own size."""
    template = (content.TARGET / "installer.sh").read_text().replace("@VERSION@", version)
    width = 12  # blanks behind: the numbers must not change the script's length
    marks = ("@OFFSET@", "@SIZE@")
    length = len(template.encode())
    length += sum(template.count(mark) * (width - len(mark)) for mark in marks)
    for mark, number in zip(marks, (length + 1, length + len(payload)), strict=True):
        template = template.replace(mark, f"{number:<{width}d}")
    return template.encode() + payload
