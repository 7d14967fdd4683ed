"""The lock file: exactly what a plan resolved to, to be installed again months later.

One entry per host class: hosts of one system, machine and set of GPUs that follow one driver
branch from one source. It holds the exact version of every package from NVIDIA's repository, those
that only others need included, the conda installer and the repository's key. Of a driver that the
distribution's archive gives, it holds the packages and ready modules that a prepared host has.
Other packages of the distribution (kernel headers, compilers) follow the host's kernel and are not
locked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - the codec reads the annotations
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from gpuprep import codes
from gpuprep.components import COMPONENTS, resolve
from gpuprep.errors import ConfigError
from gpuprep.lock.repository_index import PackageIndex, newest_beside, required
from gpuprep.model import (
    CondaInstaller,
    DesiredStack,
    Family,
    HostFacts,
    Refusal,
    Repository,
    SigningKey,
    Stack,
)
from gpuprep.model.codec import DecodeError, decode
from gpuprep.model.value import Value
from gpuprep.model.versions import at_least, key
from gpuprep.packages import family_of
from gpuprep.packages.family import upstream_version
from gpuprep.packages.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gpuprep.catalog import Catalog
    from gpuprep.model import HostResult, Package

SCHEMA = 1
_LARGEST = 16 << 20  # characters
_SHOWN = 60  # of a wrong value
_END = "..."  # of a YAML document; a file that lost its end lacks it
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:~^-]*")
_FORMS = {
    "os": re.compile(r"[a-z][a-z0-9_.-]*"),
    "arch": re.compile(r"\w+"),
    "gpu": re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}"),
    "branch": re.compile(r"[0-9]+"),
    "driver": re.compile(r"[0-9]+(\.[0-9]+)+"),
    "source": re.compile(r"distro"),
    "flavour": re.compile(r"open|proprietary"),
    "toolkit": re.compile(r"[0-9]+(\.[0-9]+)*"),
    "repository": re.compile(r"https?://[!-~]+"),
    "key": re.compile(r"[0-9A-F]{40}|sha256:[0-9a-f]{64}"),
    "conda.version": _VERSION,
    "conda.url": re.compile(r"https?://[!-~]+"),
    "conda.sha256": re.compile(r"[0-9a-fA-F]{64}"),
}
_HEADER = "# Written by `gpuprep lock`; installed by `gpuprep apply --locked`.\n"


class LockedClass(Value, frozen=True):
    """What hosts of one class get.

    Attributes:
        os: system, ``debian-12``.
        arch: machine.
        gpus: PCI ids of the GPU models, sorted.
        hosts: hosts that were of this class when the file was written.
        branch: driver branch; None when no driver is managed or kept.
        driver: full driver version; None when none is managed.
        source: ``distro`` where the distribution's archive gives the driver; None = NVIDIA's
            repository.
        flavour: kernel-module flavour.
        cuda: toolkits, default first.
        repository: URL of NVIDIA's repository or its mirror.
        key: what the key that signs it is known by.
        packages: exact version by name of the packages that the plan names.
        requires: the same of the packages that those need from the same place.
        conda: installer.
        others: what components beyond these fix, by name.

    """

    os: str
    arch: str
    gpus: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    branch: str | None = None
    driver: str | None = None
    source: str | None = None
    flavour: str | None = None
    cuda: tuple[str, ...] = ()
    repository: str | None = None
    key: str | None = None
    packages: Mapping[str, str] = {}
    requires: Mapping[str, str] = {}
    conda: CondaInstaller | None = None
    others: Mapping[str, str] = {}

    def fixes(self, what: str) -> str | None:
        """Return the value that a component's fact (``Component.locks``) is locked at."""
        conda = f"{self.conda.version} {self.conda.sha256}" if self.conda else None
        own = {"driver": self.driver, "flavour": self.flavour, "conda": conda}
        return own[what] if what in own else self.others.get(what)

    @property
    def name(self) -> str:
        """The class in words, for messages."""
        return " ".join((self.os, self.arch, *(self.gpus or ("no GPU",))))


class LockFile(Value, frozen=True):
    """All classes of a fleet; ``catalog`` is the date of the facts it was written from."""

    catalog: str
    classes: tuple[LockedClass, ...]

    def to_text(self) -> str:
        """Return the file's content."""
        import yaml  # noqa: PLC0415  (slow to import)

        classes = [{k: v for k, v in _plain(c).items() if v} for c in self.classes]
        data = {"schema": SCHEMA, "catalog": self.catalog, "classes": classes}
        return _HEADER + yaml.safe_dump(data, sort_keys=False, width=100, explicit_end=True)


class Newer(Value, frozen=True):
    """Something that exists in a newer version than the locked one."""

    host_class: str
    name: str
    locked: str
    newest: str


def lock_document(
    hosts: Iterable[HostResult], catalog: Catalog, index: Callable[[Repository], PackageIndex]
) -> LockFile:
    """Make the lock of a planned fleet.

    Args:
        hosts: results of a plan, with facts and stack; refused hosts are left out.
        catalog: the facts.
        index: gives what a repository offers; see ``gpuprep.lock.repository_index``.

    Raises:
        ConfigError: a repository does not have what the plan wants, or no host of a class has the
            driver that the distribution's archive is to give it.

    """
    classes: dict[tuple[object, ...], LockedClass] = {}
    for host in hosts:
        if host.facts is None or host.stack is None:
            continue
        locked = _class_of(host, host.facts, host.stack, index)
        identity = (locked.os, locked.arch, locked.gpus, locked.branch, locked.source)
        classes[identity] = _merged(classes.get(identity), locked)
    for locked in classes.values():
        if locked.source is not None and locked.driver is None:
            raise ConfigError(
                f"{', '.join(locked.hosts)}: the driver comes from the archive of {locked.os}, and"
                " only a host that has it tells its exact versions: prepare one (gpuprep apply),"
                " then write the lock file; nothing was locked"
            )
    return LockFile(catalog.as_of, tuple(classes.values()))


def read_lock(path: Path) -> LockFile:
    """Read a lock file.

    Raises:
        ConfigError: it cannot be read or is no lock file.

    """
    import yaml  # noqa: PLC0415  (slow to import)

    try:
        text = _text_of(path)
        data = yaml.safe_load(text)
    # A number or a date that is none is a ValueError, too many brackets a RecursionError.
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"lock file {path} cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ConfigError(f"lock file {path}: schema {SCHEMA} expected; write it with gpuprep lock")
    try:
        lock = decode(LockFile, data)
        for number, locked in enumerate(lock.classes):
            _check(locked, data["classes"][number], f"classes[{number}]")
    except DecodeError as error:
        raise ConfigError(f"lock file {path} is damaged: {error}; write it again") from error
    if not text.rstrip().endswith(f"\n{_END}"):
        raise ConfigError(
            f"lock file {path} is cut off: its last line is not {_END}; write it again"
        )
    return lock


def _text_of(path: Path) -> str:
    if path.exists() and not path.is_file():  # a device has no end
        raise OSError(f"{path} is not a file")
    with path.open(encoding="utf-8") as file:
        return file.read(_LARGEST)


def _check(locked: LockedClass, raw: Mapping[str, Any], where: str) -> None:
    """Check what a class says beyond its types.

    Raises:
        DecodeError: a key is unknown, or a value has another form.

    """
    unknown = sorted(str(key) for key in raw if key not in LockedClass.__struct_fields__)
    if unknown:
        raise DecodeError(f"{where}: unknown key {unknown[0]!r}")
    named = {**asdict(locked), "gpu": locked.gpus, "toolkit": locked.cuda}
    named |= {f"conda.{name}": value for name, value in (named["conda"] or {}).items()}
    for name, form in _FORMS.items():
        value = named.get(name)
        for text in value if isinstance(value, tuple | list) else (value,):
            if text is not None and not form.fullmatch(text):
                raise DecodeError(f"{where}.{name}: {text[:_SHOWN]!r} cannot be one")
    for name in ("packages", "requires"):
        for package, version in named[name].items():
            if not (isinstance(package, str) and _PACKAGE.fullmatch(package)):
                raise DecodeError(f"{where}.{name}: {package!r} is no name of a package")
            if not _VERSION.fullmatch(version):
                raise DecodeError(f"{where}.{name}.{package}: {version[:_SHOWN]!r} is no version")


def resolve_locked(
    facts: HostFacts, desired: DesiredStack, catalog: Catalog, lock: LockFile
) -> Stack | Refusal:
    """Resolve a host to exactly what the lock says, or refuse with the difference."""
    locked = _find(facts, desired, catalog, lock)
    if locked is None:
        return codes.refusal("E_LOCK_CLASS", host_class=_label(facts))
    wanted = _as_locked(desired, locked)
    stack = resolve(facts, wanted, catalog)
    if isinstance(stack, Refusal):
        if stack.code == "E_LOCK_MISSING":  # of a driver from elsewhere everything is missing
            free = resolve(facts, replace(wanted, locked=None), catalog)
            elsewhere = list(_other_source(free, locked)) if isinstance(free, Stack) else []
            if elsewhere:
                return codes.refusal("E_LOCK_DIFFERS", differences="; ".join(elsewhere))
        if "version" in stack.settings and desired.version not in {"auto", locked.driver}:
            asked = f"driver is locked at {locked.driver}, wanted {desired.version}"
            return codes.refusal("E_LOCK_DIFFERS", differences=asked)
        of_the_lock = stack.code == "E_DRIVER_KERNEL" and desired.version == "auto"
        return codes.refusal("E_LOCK_KERNEL", why=stack.message) if of_the_lock else stack
    differences = list(_differences(stack, locked))
    if differences:
        return codes.refusal("E_LOCK_DIFFERS", differences="; ".join(differences))
    return stack


def newer_than(
    lock: LockFile, catalog: Catalog, index: Callable[[Repository], PackageIndex]
) -> tuple[Newer, ...]:
    """Return what exists in newer versions that would fit.

    The driver stays within its branch; what the catalog holds at a version stays there.
    """
    found: list[Newer] = []
    for locked in lock.classes:
        repository = _repository(locked, catalog)
        offered = index(repository) if repository else PackageIndex({})
        driver = _newest_driver(offered, locked)
        bound = _bound_by_catalog(locked, catalog)
        for name, version in {**locked.packages, **locked.requires}.items():
            if name in bound:
                continue
            versions = offered.versions.get(name, ())
            if upstream_version(version) == locked.driver:
                versions = tuple(v for v in versions if upstream_version(v) == driver)
            best = max(versions, key=key, default=version)
            if key(best) > key(version):
                found.append(Newer(locked.name, name, version, best))
        if locked.conda and key(catalog.conda.default) > key(locked.conda.version):
            found.append(Newer(locked.name, "conda", locked.conda.version, catalog.conda.default))
    return tuple(found)


def _class_of(
    host: HostResult, facts: HostFacts, stack: Stack, index: Callable[[Repository], PackageIndex]
) -> LockedClass:
    bound = [p for p in stack.packages if p.origin == "nvidia" and not p.pre_install]
    offered = index(stack.repository) if stack.repository and bound else PackageIndex({})
    managed = stack.manage_driver and stack.branch is not None
    from_nvidia = managed and stack.source == "nvidia"
    driver = _driver_version(host, stack, offered) if from_nvidia else None
    packages = {p.name: _exact(p, offered, driver, stack) for p in bound}
    requires = required(offered, packages, driver, family_of(Family(stack.family)))
    if managed and not from_nvidia and _has_driver(stack):
        roots = {*stack.archive_driver, *stack.ready.values()}
        driver = upstream_version(stack.present[stack.archive_driver[0]])
        packages |= {name: stack.present[name] for name in sorted(roots)}
        requires |= {n: v for n, v in sorted(stack.present.items()) if n not in roots}
    return LockedClass(
        os=facts.os,
        arch=facts.arch,
        gpus=tuple(sorted(set(facts.gpus))),
        hosts=(host.name,),
        branch=stack.branch,
        driver=driver,
        source="distro" if managed and not from_nvidia else None,
        flavour=stack.flavour,
        cuda=tuple(toolkit.version for toolkit in stack.cuda),
        repository=without_login(stack.repository.url) if stack.repository else None,
        key=stack.repository.key.identity if stack.repository else None,
        packages=packages,
        requires=requires,
        conda=stack.conda and replace(stack.conda, url=without_login(stack.conda.url)),
        others=_others(stack),
    )


def _has_driver(stack: Stack) -> bool:
    """Return whether a host has the whole driver that its distribution's archive gives."""
    roots = {*stack.archive_driver, *stack.ready.values()}
    return bool(stack.archive_driver) and roots <= set(stack.present)


def _others(stack: Stack) -> dict[str, str]:
    """Return what components fix that has no key of its own in the file."""
    named = {"driver", "flavour", "conda"}
    facts = {what: value for c in COMPONENTS for what, value in c.locks(stack).items()}
    return {what: value for what, value in facts.items() if what not in named}


def _driver_version(host: HostResult, stack: Stack, offered: PackageIndex) -> str | None:
    """Return the version asked for, the one that is there and belongs, or the newest offered."""
    present = host.versions.get("driver")
    if stack.driver_version is not None:
        return stack.driver_version
    belongs = present is not None and present.startswith(f"{stack.branch}.")
    if present is not None and belongs and at_least(present, stack.oldest_driver):
        return present
    roots = [p.name for p in stack.packages if p.component == "driver" and p.origin == "nvidia"]
    versions = {upstream_version(v) for name in roots for v in offered.versions.get(name, ())}
    of_branch = [v for v in versions if v.startswith(f"{stack.branch}.")]
    return max(of_branch, key=key, default=None)


def _exact(package: Package, offered: PackageIndex, driver: str | None, stack: Stack) -> str:
    if package.version is not None:
        return package.version
    version = newest_beside(driver, offered.versions.get(package.name, ()))
    if version is None:
        where = without_login(stack.repository.url) if stack.repository else "no repository"
        of = f" of driver {driver}" if package.component == "driver" else ""
        raise ConfigError(f"{package.name}{of} is not in {where}; nothing was locked")
    return version


def _merged(known: LockedClass | None, new: LockedClass) -> LockedClass:
    if known is None:
        return new
    if known.source and known.driver != new.driver:
        # Bare, or at another release, whose modules would not go with this one.
        known, new = (known, new) if known.driver else (new, known)
        return replace(known, hosts=known.hosts + new.hosts)
    return replace(
        known,
        hosts=known.hosts + new.hosts,
        cuda=tuple(dict.fromkeys(known.cuda + new.cuda)),
        packages={**new.packages, **known.packages},
        requires={**new.requires, **known.requires},
        others={**new.others, **known.others},
        conda=known.conda or new.conda,
        repository=known.repository or new.repository,
        key=known.key or new.key,
    )


def _plain(locked: LockedClass) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(locked).items()}


def _label(facts: HostFacts) -> str:
    return LockedClass(facts.os, facts.arch, tuple(sorted(set(facts.gpus)))).name


def _find(
    facts: HostFacts, desired: DesiredStack, catalog: Catalog, lock: LockFile
) -> LockedClass | None:
    same = [c for c in lock.classes if c.name == _label(facts)]
    if len(same) < 2:  # noqa: PLR2004  (no choice)
        return same[0] if same else None
    free = resolve(facts, desired, catalog)
    if not isinstance(free, Stack):
        return same[0]
    of_source = [c for c in same if (c.source or "nvidia") == free.source] or same
    return next((c for c in of_source if c.branch == free.branch), of_source[0])


def _as_locked(desired: DesiredStack, locked: LockedClass) -> DesiredStack:
    """Return the desired stack with what the lock says where nothing else is set."""
    managed = locked.driver is not None and desired.source in {"auto", locked.source or "nvidia"}
    free_driver = desired.version == "auto" and desired.keep_driver is None
    return replace(
        desired,
        version=str(locked.driver) if managed and free_driver else desired.version,
        # A kernel that only builds the other flavour must not lead away from the lock.
        flavour=locked.flavour
        if managed and locked.flavour and desired.flavour == "auto"
        else desired.flavour,
        cuda=desired.cuda or locked.cuda,
        conda_version=locked.conda.version
        if locked.conda and desired.conda_version == "auto"
        else desired.conda_version,
        conda_sha256=desired.conda_sha256 or (locked.conda.sha256 if locked.conda else None),
        locked={**locked.requires, **locked.packages},
    )


def _differences(stack: Stack, locked: LockedClass) -> Iterable[str]:
    key_now = stack.repository.key.identity if stack.repository else None
    if key_now is not None and key_now != locked.key:
        yield f"repository key is locked at {locked.key}, wanted {key_now}"
    for component in COMPONENTS:
        for what, now in component.locks(stack).items():
            if now != locked.fixes(what):
                yield f"{what} is locked at {locked.fixes(what)}, wanted {now}"
    for toolkit in stack.cuda:
        if toolkit.version not in locked.cuda:
            yield f"CUDA {toolkit.version} is not in the lock"


def _other_source(stack: Stack, locked: LockedClass) -> Iterable[str]:
    known = locked.source or "nvidia"
    if stack.manage_driver and stack.branch and locked.driver and stack.source != known:
        yield f"the driver's source is locked at {known}, wanted {stack.source}"


def _repository(locked: LockedClass, catalog: Catalog) -> Repository | None:
    system = catalog.systems.get(locked.os)
    if locked.repository is None or system is None:
        return None
    return Repository(locked.repository, system.family, SigningKey("", locked.key or ""))


def _bound_by_catalog(locked: LockedClass, catalog: Catalog) -> frozenset[str]:
    """Return the names of the packages whose version the GPUs or CUDA decide."""
    facts = HostFacts(locked.gpus, locked.os, locked.arch)
    setting = DesiredStack(components=("cuda", "cudnn"), cuda=locked.cuda)
    stack = resolve(facts, setting, catalog)
    if isinstance(stack, Refusal):
        return frozenset()
    return frozenset(package.name for package in stack.packages if package.version)


def _newest_driver(offered: PackageIndex, locked: LockedClass) -> str | None:
    if locked.driver is None:
        return None
    roots = [n for n, v in locked.packages.items() if upstream_version(v) == locked.driver]
    common = [{upstream_version(v) for v in offered.versions.get(name, ())} for name in roots]
    possible = set.intersection(*common) if common else set()
    of_branch = [v for v in possible if v.startswith(f"{locked.branch}.")]
    return max(of_branch, key=key, default=None)
