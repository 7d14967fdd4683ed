"""Solve, fetch and link with py-rattler."""

import asyncio
import hashlib
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TypeAlias

import rattler
import rattler.package_streaming
from rattler.exceptions import (
    FetchRepoDataError,
    GatewayError,
    InvalidMatchSpecError,
    SolverError,
)

from .settings import CondaError, Settings

HOSTS_OWN = Path("/usr/bin/python3")
HIDDEN = Path("/opt/sandbox-hidden/bin")
PLATFORMS = ("linux-64", "noarch")
Record: TypeAlias = rattler.RepoDataRecord
Installed: TypeAlias = rattler.PrefixRecord


def installed(prefix: Path) -> list[Installed]:
    """Read the records of what is installed in an environment."""
    paths = sorted((prefix / "conda-meta").glob("*-*-*.json"))
    return [rattler.PrefixRecord.from_path(path) for path in paths]


def name_of(spec: str) -> str:
    """Return the package name of a match specification."""
    try:
        name = rattler.MatchSpec(spec).name
    except InvalidMatchSpecError as error:
        raise CondaError(f"InvalidMatchSpec: {spec}: {error}") from error
    if name is None:
        raise CondaError(f"InvalidMatchSpec: {spec}: no package name")
    return str(getattr(name, "normalized", name))


def requested(records: list[Installed]) -> list[str]:
    """Return the specifications that somebody asked for, as noted when they were installed."""
    return [spec for record in records for spec in record.requested_specs]


def virtual_packages() -> list[rattler.GenericVirtualPackage]:
    """Detect what the machine offers; CONDA_OVERRIDE_* has its say."""
    found = rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env())
    return [package.into_generic() for package in found]


def solve(
    settings: Settings, urls: list[str], specs: list[str], locked: list[Installed]
) -> list[Record]:
    """Choose packages for `specs`, staying with `locked` where possible."""
    for spec in specs:
        name_of(spec)
    gateway = rattler.Gateway(cache_dir=settings.packages_dir / "cache")
    try:
        return asyncio.run(
            rattler.solve(
                urls,
                specs,
                gateway=gateway,
                platforms=list(PLATFORMS),
                locked_packages=list(locked),
                virtual_packages=virtual_packages(),
            )
        )
    except SolverError as error:
        raise CondaError(f"LibMambaUnsatisfiableError: {error}") from error
    except (GatewayError, FetchRepoDataError) as error:
        raise CondaError(f"CondaHTTPError: {error}") from error


def link(settings: Settings, prefix: Path, records: list[Record], specs: list[str]) -> None:
    """Make the environment hold exactly `records` and note `specs` as asked for."""
    (prefix / "conda-meta").mkdir(parents=True, exist_ok=True)
    before = {record.file_name for record in installed(prefix)}
    try:
        asyncio.run(
            rattler.install(
                records,
                target_prefix=prefix,
                cache_dir=settings.packages_dir,
                show_progress=False,
                # py-rattler 0.28 hands these on without unwrapping them.
                requested_specs=[rattler.MatchSpec(spec)._match_spec for spec in specs],  # noqa: SLF001
            )
        )
    except Exception as error:  # py-rattler raises its own of many kinds
        raise CondaError(f"CondaError: {error}") from error
    _lead_to_newer(prefix / "bin" / "python3")
    for path in (prefix / "conda-meta").glob("*-*-*.json"):
        path.chmod(0o644)  # py-rattler leaves them to their owner alone
    after = {record.file_name for record in records}
    with (prefix / "conda-meta" / "history").open("a") as history:
        history.write(f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==\n# update specs: {specs}\n")
        history.writelines(f"-{name}\n" for name in sorted(before - after))
        history.writelines(f"+{name}\n" for name in sorted(after - before))


def _lead_to_newer(python: Path) -> None:
    """Lead an environment's python past a host's that is too old to the one put away there."""
    newer = sorted(HIDDEN.glob("python3.[0-9]*"))
    if newer and python.is_symlink() and python.readlink() == HOSTS_OWN:
        python.unlink()
        python.symlink_to(newer[-1])


def explicit_records(lines: list[str]) -> list[Record]:
    """Fetch the packages of a lock file (`URL#hash`) and check them against their hashes."""
    with tempfile.TemporaryDirectory() as scratch:
        return [_explicit_record(line, Path(scratch)) for line in lines]


def _explicit_record(line: str, scratch: Path) -> Record:
    url, _, wanted = line.partition("#")
    target = scratch / url.rpartition("/")[2]
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as output:  # noqa: S310 - conda's own schemes
            shutil.copyfileobj(answer, output)
    except (urllib.error.URLError, ValueError) as error:
        raise CondaError(f"CondaHTTPError: {url}: {error}") from error
    content = target.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest()
    _check(url, wanted.removeprefix("sha256:").lower(), {32: md5, 64: sha256})
    unpacked = scratch / f"{target.name}.unpacked"
    rattler.package_streaming.extract(target, unpacked)
    index = unpacked / "info" / "index.json"
    record = rattler.PackageRecord.from_index_json(index, len(content), sha256, md5)
    return Record(record, target.name, url, url.rsplit("/", 2)[0])


def _check(url: str, wanted: str, found: dict[int, str]) -> None:
    if wanted and len(wanted) not in found:
        raise CondaError(f"ParseError: {url}: {wanted!r} is neither MD5 nor SHA-256")
    if wanted and found[len(wanted)] != wanted:
        raise CondaError(
            f"ChecksumMismatchError: {url}: expected {wanted}, found {found[len(wanted)]}; "
            "the package was not installed"
        )
