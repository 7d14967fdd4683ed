"""Environments: where they are, what a file wants in them, how they come about."""

import shutil
from pathlib import Path
from typing import NamedTuple

from . import transactions
from .settings import CondaError, Settings, read_yaml


class Setting(NamedTuple):
    """What an environment shall hold."""

    specs: list[str]
    channels: list[str]
    locked: list[str]
    name: str | None = None


def prefix_of(settings: Settings, name: str | None, prefix: str | None) -> Path | None:
    """Return the prefix that `-n` or `-p` mean; None when neither was given."""
    if prefix is not None:
        return Path(prefix).expanduser().absolute()
    if name is None:
        return None
    if name in {"base", "root"}:
        return settings.root
    if "/" in name:
        raise CondaError(f"CondaValueError: invalid environment name: {name}")
    for directory in settings.envs_dirs:
        if is_environment(directory / name):
            return directory / name
    return settings.envs_dirs[0] / name


def is_environment(prefix: Path) -> bool:
    """Return whether conda made the directory."""
    return (prefix / "conda-meta" / "history").is_file()


def existing(prefix: Path) -> Path:
    """Return `prefix` if it is an environment."""
    if not is_environment(prefix):
        raise CondaError(f"EnvironmentLocationNotFound: Not a conda environment: {prefix}")
    return prefix


def listing(settings: Settings) -> list[Path]:
    """List the environments that can be named, the base first."""
    found = [
        path
        for directory in settings.envs_dirs
        if directory.is_dir()
        for path in sorted(directory.iterdir())
        if is_environment(path)
    ]
    return [settings.root, *found]


def from_text_file(path: Path) -> Setting:
    """Read a file of specifications, or a lock file when it says `@EXPLICIT`."""
    if path.suffix in {".yml", ".yaml"}:
        return from_yaml(path)
    lines = [line.strip() for line in _read(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if "@EXPLICIT" in lines:
        return Setting([], [], [line for line in lines if line != "@EXPLICIT"])
    return Setting(lines, [], [])


def from_yaml(path: Path) -> Setting:
    """Read an `environment.yml`."""
    _read(path)
    content = read_yaml(path)
    specs = content.get("dependencies") or []
    odd = [spec for spec in specs if not isinstance(spec, str)]
    if odd:
        raise CondaError(f"EnvironmentFileNotSupported: {path}: {odd[0]!r} is not supported here")
    return Setting(
        [str(spec) for spec in specs], list(content.get("channels") or []), [], content.get("name")
    )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise CondaError(f"EnvironmentFileNotFound: {path}: {error.strerror}") from error


def apply(settings: Settings, prefix: Path, setting: Setting, *, prune: bool, fresh: bool) -> None:
    """Bring an environment to a request: with `prune` to nothing but it, `fresh` from nothing."""
    if fresh and prefix.exists():
        remove(prefix)
    if setting.locked:
        records = transactions.explicit_records(setting.locked)
        if not fresh:
            records += _untouched(prefix, {_name(record) for record in records})
        transactions.link(settings, prefix, records, [])
        return
    before = transactions.installed(prefix)
    names = {transactions.name_of(spec) for spec in setting.specs}
    kept = [] if prune else transactions.requested(before)
    specs = [
        *setting.specs,
        *(spec for spec in kept if transactions.name_of(spec) not in names),
    ]
    urls = settings.channel_urls(setting.channels)
    records = transactions.solve(settings, urls, specs, before) if specs else []
    transactions.link(settings, prefix, records, specs)


def update(settings: Settings, prefix: Path, names: list[str], channels: list[str]) -> None:
    """Take the newest allowed versions of packages, of all when none is named."""
    before = transactions.installed(existing(prefix))
    asked = {transactions.name_of(spec): spec for spec in names}
    locked = [record for record in before if asked and _name(record) not in asked]
    missing = sorted(set(asked) - {_name(record) for record in before})
    if missing:
        raise CondaError(f"PackageNotInstalledError: {', '.join(missing)}: not in {prefix}")
    specs = [spec for spec in transactions.requested(before) if _spec_name(spec) not in asked]
    specs += asked.values()
    urls = settings.channel_urls(channels)
    transactions.link(settings, prefix, transactions.solve(settings, urls, specs, locked), specs)


def remove_packages(settings: Settings, prefix: Path, names: list[str]) -> None:
    """Remove packages, those that need them and those that nobody needs any more."""
    before = transactions.installed(existing(prefix))
    gone = {transactions.name_of(name) for name in names}
    missing = sorted(gone - {_name(record) for record in before})
    if missing:
        raise CondaError(f"PackagesNotFoundError: {', '.join(missing)}: not in {prefix}")
    growing = True
    while growing:
        needing = {_name(record) for record in before if gone & _needs(record)}
        growing = not needing <= gone
        gone |= needing
    specs = [spec for spec in transactions.requested(before) if _spec_name(spec) not in gone]
    wanted = {_spec_name(spec) for spec in specs}
    while True:
        more = {need for record in before if _name(record) in wanted for need in _needs(record)}
        if more <= wanted:
            break
        wanted |= more
    records = [record for record in before if _name(record) in wanted - gone]
    transactions.link(settings, prefix, records, specs)


def remove(prefix: Path) -> None:
    """Delete an environment and everything in it."""
    if any(prefix.iterdir()) and not (prefix / "conda-meta").is_dir():
        raise CondaError(f"DirectoryNotACondaEnvironmentError: {prefix}")
    shutil.rmtree(prefix)


def _untouched(prefix: Path, names: set[str]) -> list[transactions.Record]:
    return [record for record in transactions.installed(prefix) if _name(record) not in names]


def _name(record: transactions.Record) -> str:
    return str(record.name.normalized)


def _spec_name(spec: str) -> str:
    return transactions.name_of(spec)


def _needs(record: transactions.Record) -> set[str]:
    return {transactions.name_of(spec) for spec in record.depends}
