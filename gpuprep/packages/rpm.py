"""The rpm family: versions and relations as rpm reads them, dnf's files, streams and locks."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cmp_to_key, lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from gpuprep.model import Family, ManagedFile, StepKind
from gpuprep.model.names import fits, matches
from gpuprep.model.value import Value
from gpuprep.packages.family import HEADER, Requirement, upstream_version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuprep.model import Repository, Stack
    from gpuprep.observe.observation import PackageRule

REPOSITORY: Final = "/etc/yum.repos.d/gpuprep-nvidia.repo"
REPOSITORY_ID: Final = "gpuprep-nvidia"
KEYRING: Final = "/etc/pki/rpm-gpg/gpuprep-nvidia.asc"
# DKMS reads it for the module `nvidia`, whatever its version, after the module's own dkms.conf.
BUILD_SETTINGS: Final = "/etc/dkms/nvidia.conf"
EXCLUDE: Final = "exclude"
LOCK: Final = "lock"
_SEGMENT: Final = re.compile(r"\d+|[A-Za-z]+|~|\^")
_NAME: Final = r"[A-Za-z0-9][\w+.-]*"
_RELATION: Final = re.compile(
    rf"(?P<name>{_NAME})(?:\((?:x86-64|aarch-64)\))?(?:\s+(?P<op><=|>=|=|<|>)\s+(?P<version>\S+))?"
)
# A line of the version lock: NAME-EPOCH:VERSION-RELEASE.ARCH, each part may be a pattern.
_LOCKED: Final = (
    re.compile(r"(?P<name>\S+)-[\d*?]+:(?P<version>[^-:\s]+(?:-[^-:\s]+)?)"),
    re.compile(r"(?P<name>\S+?)-(?P<version>[\d*?\[][^-:\s]*(?:-[^-:\s]+)?)"),
)
# One text for all kernels of a host and for those that updates bring: each is asked who made it.
_BUILD: Final = r"""
# Kernels that a newer compiler made than the system's are compiled for by that one, here and after
# every update; the others by the system's own.
made_by=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="gcc ([^)]*) \([0-9]*\)[.].*/\1/p' \
    "/lib/modules/$kernelver/build/.config" 2> /dev/null || :)
if [ -x "/opt/rh/gcc-toolset-$made_by/root/usr/bin/gcc" ]
then
    MAKE[0]="${MAKE[0]} CC=/opt/rh/gcc-toolset-$made_by/root/usr/bin/gcc"
fi
""".lstrip()


def _compare_segments(left: str, right: str) -> int:
    """Compare versions or releases segment by segment, as rpmvercmp does.

    A tilde sorts before everything, the end included; a caret after the end, before all else.
    """
    lefts, rights = _SEGMENT.findall(left), _SEGMENT.findall(right)
    for a, b in zip(lefts, rights, strict=False):
        if a == b:
            continue
        for mark, order in (("~", -1), ("^", -1)):
            if mark in {a, b}:
                return order if a == mark else -order
        if a.isdigit() != b.isdigit():
            return 1 if a.isdigit() else -1
        if a.isdigit() and int(a) == int(b):
            continue
        if a.isdigit():
            return int(a) - int(b)
        return 1 if a > b else -1
    if len(lefts) == len(rights):
        return 0
    longer, order = (lefts, 1) if len(lefts) > len(rights) else (rights, -1)
    return -order if longer[min(len(lefts), len(rights))] == "~" else order


def _parts(version: str) -> tuple[int, str, str | None]:
    """Return epoch, version and release; the release is None where none is named."""
    epoch, _, rest = version.rpartition(":")
    upstream, dash, release = rest.rpartition("-")
    return int(epoch or 0), upstream if dash else rest, release if dash else None


@lru_cache(maxsize=1 << 14)  # a fleet has few versions
def compare_versions(left: str, right: str) -> int:
    """Return a negative number, zero or a positive one as left is older, equal or newer.

    As in rpm's relations, a version without a release is that of every release.
    """
    (epoch_l, version_l, release_l), (epoch_r, version_r, release_r) = _parts(left), _parts(right)
    order = epoch_l - epoch_r or _compare_segments(version_l, version_r)
    if order or release_l is None or release_r is None:
        return order
    return _compare_segments(release_l, release_r)


version_key = cmp_to_key(compare_versions)


@lru_cache(maxsize=4096)
def parse_relations(text: str) -> tuple[tuple[Requirement, ...], ...]:
    """Return relations to packages, each a group of its own: rpm's have no alternatives.

    Libraries, files, rich relations and rpm's own features are left out: the package manager sees
    to these, and no plan speaks of them.
    """
    found = (_RELATION.fullmatch(part.strip()) for part in text.split(","))
    return tuple((Requirement(m["name"], m["op"], m["version"]),) for m in found if m)


def _address_and_login(url: str) -> tuple[str, dict[str, str]]:
    """Return an address without its login, and that as options of a repository's section."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options = {"username": unquote(user), "password": unquote(password)}
    address = parts._replace(netloc=host).geturl()
    return address, {name: value for name, value in options.items() if value}


class Rpm(Value, frozen=True):
    """The rpm family; implements :class:`gpuprep.packages.family.PackageFamily`."""

    name: Family = Family.RPM
    paths: tuple[str, ...] = (REPOSITORY, KEYRING, BUILD_SETTINGS)
    # NVIDIA's packages keep the driver out of the initial RAM disk and nouveau off by themselves.
    initramfs_tool: str = ""
    repair: str = "dnf remove --duplicates && dnf check"
    absent: Collection[str] = ()
    interrupted: Collection[str] = ("duplicated",)
    silent_builds: bool = True
    pins_needed: bool = False

    def compare(self, left: str, right: str) -> int:
        """Return a negative number, zero or a positive one as left is older, equal or newer."""
        return compare_versions(left, right)

    def upstream(self, version: str) -> str:
        """Return a full version without epoch and release: ``580.95.05``."""
        return upstream_version(version)

    def requirements(self, text: str) -> Sequence[Sequence[Requirement]]:
        """Return relations to other packages, each as a group of one."""
        return parse_relations(text)

    def release_of(self, upstream: str) -> str:
        """Return the pattern of all releases of an upstream version."""
        return f"{upstream}-*"

    def branch_of(self, branch: str) -> str:
        """Return the pattern of all versions of a driver branch."""
        return f"{branch}.*"

    def repository_files(self, stack: Stack) -> tuple[ManagedFile, ...]:
        """Return key and repository of the stack; none where it needs none."""
        repository = stack.repository
        if repository is None:
            return ()
        address, login = _address_and_login(repository.url)
        # Module streams stay in force (no module_hotfixes): they keep branches apart.
        options = {
            "name": "NVIDIA CUDA",
            "baseurl": address,
            "enabled": "1",
            "gpgcheck": "1",
            "repo_gpgcheck": "1",
            "gpgkey": f"file://{KEYRING}",
            "skip_if_unavailable": "0",
            **login,
        }
        text = "".join(f"{name}={value}\n" for name, value in options.items())
        return (
            ManagedFile(KEYRING, StepKind.KEY, key=repository.key),
            ManagedFile(
                REPOSITORY,
                StepKind.REPOSITORY,
                f"{HEADER}[{REPOSITORY_ID}]\n{text}",
                mode="0600" if login else "0644",
            ),
        )

    def build_files(self, stack: Stack) -> tuple[ManagedFile, ...]:
        """Return DKMS's settings, where the kernel needs another compiler than the system's.

        Where it does not, a file that is there stays: another kernel of the host may need it, and
        the others are compiled as without it.
        """
        if stack.dkms_toolset is None:
            return ()
        return (ManagedFile(BUILD_SETTINGS, StepKind.BUILD, HEADER + _BUILD),)

    def forbidding(
        self, rules: Sequence[PackageRule], stack: Stack, names: Sequence[str]
    ) -> Sequence[tuple[PackageRule, Sequence[str]]]:
        """Return the excludes and version locks of others that forbid packages of the stack.

        A package that some lock names may only have the versions that locks name for it.
        """
        if stack.repository is None:
            return ()
        found: dict[PackageRule, list[str]] = {}
        of_distribution = {p.name for p in stack.packages if p.origin == "distro"}
        for name in names:
            version = self._version(stack, name)
            locks = [rule for rule in rules if rule.pin == LOCK and _locks(rule, name)]
            if version and locks and not any(_allows(rule, name, version) for rule in locks):
                found.setdefault(locks[0], []).append(name)
            for rule in rules:
                if _is_about(rule, name in of_distribution) and _excludes(rule, name, version):
                    found.setdefault(rule, []).append(name)
        return tuple(found.items())

    def _version(self, stack: Stack, name: str) -> str | None:
        """Return the pattern of the version that a package gets, None when any will do."""
        if name in stack.exact:
            return stack.exact[name]
        named = next((p.version for p in stack.packages if p.name == name and p.version), None)
        if named or not matches(name, stack.version_locked):
            return named
        if stack.driver_version:
            return self.release_of(stack.driver_version)
        return self.branch_of(stack.branch) if stack.branch else None

    def version_locks(self, stack: Stack, version: str | None) -> tuple[str, ...]:
        """Return the lines that keep the driver at a version, in its branch while none is known."""
        if version is None:
            return stack.version_locks
        return tuple(f"{line.rpartition(':')[0]}:{version}" for line in stack.version_locks)

    def has_index(self, repository: Repository, indexes: Collection[str]) -> bool:
        """Return that the index is there: dnf reads one that it lacks by itself."""
        del repository, indexes
        return True

    def preparation(self, stack: Stack) -> Sequence[Mapping[str, Any]]:
        """Return the operation that chooses the driver's module stream, where there are such."""
        return () if stack.stream is None else ({"op": "stream", "stream": stack.stream},)


def _split(line: str) -> tuple[str, str] | None:
    """Return the name and the version of a lock, both patterns; None for one that has no version.

    The version is returned without its epoch, which a plan does not know.
    """
    found = [form.fullmatch(line.lstrip("!")) for form in _LOCKED]
    return next(((match["name"], match["version"]) for match in found if match), None)


def _locks(rule: PackageRule, name: str) -> bool:
    return any(parts and fnmatchcase(name, parts[0]) for parts in map(_split, rule.names))


def _allows(rule: PackageRule, name: str, version: str) -> bool:
    """Return whether a lock leaves a package at a version, itself a pattern."""
    wanted = version.rpartition(":")[2]
    return any(
        fnmatchcase(wanted, form) or fits(parts[1], wanted)
        for parts in map(_split, rule.names)
        if parts and fnmatchcase(name, parts[0])
        for form in (parts[1], f"{parts[1]}-*")
    )


def _is_about(rule: PackageRule, of_distribution: bool) -> bool:  # noqa: FBT001
    """Return whether an exclude means packages of the distribution's repositories, or NVIDIA's."""
    kind, _, repository = rule.pin.partition(" of ")
    return kind == EXCLUDE and repository in {
        "",
        *((repository,) if of_distribution else (REPOSITORY_ID,)),
    }


def _excludes(rule: PackageRule, name: str, version: str | None) -> bool:
    """Return whether an exclude means a package at any, or at the wanted, version."""
    for pattern in rule.names:
        if fnmatchcase(name, pattern.removesuffix(".*")):
            return True
        parts = _split(pattern)
        if parts and version and fnmatchcase(name, parts[0]):
            return fnmatchcase(version.rpartition(":")[2], f"{parts[1]}*")
    return False


RPM = Rpm()
