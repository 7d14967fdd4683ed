"""The deb family: versions, dependencies (Debian Policy 5.6.12 and chapter 7), apt's files."""

from __future__ import annotations

import re
from functools import cmp_to_key, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gpuprep.model import Family, ManagedFile, StepKind
from gpuprep.model.names import matches
from gpuprep.model.value import Value
from gpuprep.observe.observation import PackageRule
from gpuprep.packages.apt_preferences import Offer, deciding
from gpuprep.packages.family import HEADER, Requirement, upstream_version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuprep.model import Pin, Repository, Stack

REPOSITORY = "/etc/apt/sources.list.d/gpuprep-nvidia.sources"
KEYRING = "/usr/share/keyrings/gpuprep-nvidia.asc"
_PREFERENCES_FOLDER = "/etc/apt/preferences.d/"
PREFERENCES = f"{_PREFERENCES_FOLDER}gpuprep-nvidia"
ARCHIVE = Offer("(the distribution's)", "", None)  # only what means everything means its packages
LOGIN = "/etc/apt/auth.conf.d/gpuprep-nvidia.conf"
_OPERATORS = {"<<": "<", ">>": ">"}
_RELATION = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(?:\((?P<op><<|<=|=|>=|>>)\s*(?P<version>[^)\s]+)\))?"
)


def _order(character: str) -> int:
    """Sort weight inside a non-digit part: ``~`` first, end next, letters, then the rest."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _compare_part(left: str, right: str) -> int:
    """Compare upstream versions or revisions: alternating non-digit and digit runs."""
    lefts, rights = (re.findall(r"(\D*)(\d*)", text) for text in (left, right))
    for (text_l, digits_l), (text_r, digits_r) in zip_longest(lefts, rights, fillvalue=("", "")):
        for a, b in zip_longest(text_l, text_r):
            difference = (_order(a) if a else 0) - (_order(b) if b else 0)
            if difference:
                return difference
        difference = int(digits_l or 0) - int(digits_r or 0)
        if difference:
            return difference
    return 0


@lru_cache(maxsize=1 << 14)  # a fleet has few versions
def compare_versions(left: str, right: str) -> int:
    """Return a negative number, zero or a positive number as left is older, equal or newer."""
    parts = []
    for version in (left, right):
        epoch, _, rest = version.rpartition(":") if ":" in version else ("0", "", version)
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
        parts.append((int(epoch), upstream, revision))
    (epoch_l, upstream_l, revision_l), (epoch_r, upstream_r, revision_r) = parts
    return (
        epoch_l - epoch_r
        or _compare_part(upstream_l, upstream_r)
        or _compare_part(revision_l, revision_r)
    )


version_key = cmp_to_key(compare_versions)


@lru_cache(maxsize=4096)
def parse_depends(text: str) -> tuple[tuple[Requirement, ...], ...]:
    """Return a dependency field as groups of alternatives; unreadable parts are left out."""
    groups = []
    for group in text.split(","):
        matches = (_RELATION.match(part.strip()) for part in group.split("|"))
        relations = tuple(
            Requirement(m["name"], m["op"] and _OPERATORS.get(m["op"], m["op"]), m["version"])
            for m in matches
            if m
        )
        if relations:
            groups.append(relations)
    return tuple(groups)


def _address_and_login(url: str) -> tuple[str, str]:
    """Return an address without its login, and that in the words of apt_auth.conf(5)."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    words = {"login": unquote(user), "password": unquote(password)}
    text = " ".join(f"{word} {value}" for word, value in words.items() if value)
    return parts._replace(netloc=host).geturl(), text


class Deb(Value, frozen=True):
    """The deb family; implements :class:`gpuprep.packages.family.PackageFamily`."""

    name: Family = Family.DEB
    paths: tuple[str, ...] = (REPOSITORY, KEYRING, PREFERENCES, LOGIN)
    initramfs_tool: str = "update-initramfs"
    repair: str = "dpkg --configure -a && apt-get -f install"
    silent_builds: bool = False
    pins_needed: bool = True
    absent: Collection[str] = ("not-installed", "config-files")
    interrupted: Collection[str] = ("unpacked", "triggers-pending", "triggers-awaited")

    def compare(self, left: str, right: str) -> int:
        """Return a negative number, zero or a positive one as left is older, equal or newer."""
        return compare_versions(left, right)

    def upstream(self, version: str) -> str:
        """Return a full version without epoch and Debian revision: ``580.95.05``."""
        return upstream_version(version)

    def requirements(self, text: str) -> Sequence[Sequence[Requirement]]:
        """Return a dependency field as groups of alternatives; unreadable parts are left out."""
        return parse_depends(text)

    def release_of(self, upstream: str) -> str:
        """Return the pattern of all Debian revisions of an upstream version."""
        return f"{upstream}-*"

    def branch_of(self, branch: str) -> str:
        """Return the pattern of all versions of a driver branch."""
        return f"{branch}.*"

    def repository_files(self, stack: Stack) -> tuple[ManagedFile, ...]:
        """Return source, key and preferences of the stack; none where it needs none."""
        files = []
        repository = stack.repository
        if repository is not None:
            address, login = _address_and_login(repository.url)
            source = f"URIs: {address}\nSuites: /\nSigned-By: {KEYRING}\n"
            files = [
                ManagedFile(KEYRING, StepKind.KEY, key=repository.key),
                ManagedFile(REPOSITORY, StepKind.REPOSITORY, f"{HEADER}Types: deb\n{source}"),
            ]
            # Everybody can read the source; a login of the mirror before is not left behind.
            text = f"{HEADER}machine {address} {login}\n" if login else None
            absent = text is None
            files.insert(
                1, ManagedFile(LOGIN, StepKind.REPOSITORY, text, mode="0600", absent=absent)
            )
        if repository is not None or stack.pins:
            files.append(ManagedFile(PREFERENCES, StepKind.PIN, self.preferences(stack)))
        return tuple(files)

    def build_files(self, stack: Stack) -> tuple[ManagedFile, ...]:
        """Return nothing: kernel modules are built by the compiler that the kernel names."""
        del stack
        return ()

    def preferences(self, stack: Stack) -> str:
        """Return the text of the preferences file, see apt_preferences(5)."""
        paragraphs = (
            f"Package: {' '.join(rule.names)}\nPin: {rule.pin}\nPin-Priority: {rule.priority}\n"
            for rule in self._rules(stack)
        )
        return HEADER + "\n".join(paragraphs)

    def _rules(self, stack: Stack) -> Sequence[PackageRule]:
        rules = []
        if stack.repository is not None:
            # One origin for everything named nvidia or cuda: mixing archives breaks dependencies.
            rules.append(PackageRule(PREFERENCES, ("*",), "release o=NVIDIA", 600))
        rules += map(self._pin, stack.pins)
        # What packages need, apt takes the newest of; 1000 moves nothing down by itself.
        for name, version in stack.exact.items():
            rules.append(PackageRule(PREFERENCES, (name,), f"version {version}", 1000))
        return rules

    def _pin(self, pin: Pin) -> PackageRule:
        """Return apt's form of a rule; 1001 downgrades, -1 forbids."""
        if pin.origin:
            rule = f"release o={pin.origin}"
        elif pin.version:
            rule = f"version {self.release_of(pin.version)}"
        else:
            rule = f"version {self.branch_of(pin.branch or '')}"
        names = tuple(name for name in pin.names if not name.startswith("!"))
        return PackageRule(PREFERENCES, names, rule, 1001 if pin.prefer else -1)

    def forbidding(
        self, rules: Sequence[PackageRule], stack: Stack, names: Sequence[str]
    ) -> Sequence[tuple[PackageRule, Sequence[str]]]:
        """Return the rules of others that forbid packages of the stack, with those."""
        # Files of NVIDIA's pinning packages: those for another driver go with this plan.
        pins = tuple(
            f"{_PREFERENCES_FOLDER}{package.name.rpartition('-')[0]}"
            for package in stack.packages
            if package.pre_install
        )
        ours = (*self.paths, *pins)
        foreign = [rule for rule in rules if not rule.path.startswith(ours)]
        # apt reads /etc/apt/preferences, then preferences.d by name.
        all_rules = sorted([*self._rules(stack), *foreign], key=lambda rule: rule.path)
        nvidia = stack.repository
        host = (urlsplit(nvidia.url).hostname or "") if nvidia else ""
        found: dict[PackageRule, list[str]] = {}
        of_distribution = {p.name for p in stack.packages if p.origin == "distro"}
        for name in names:
            version = self._version(stack) if matches(name, stack.version_locked) else None
            if name in of_distribution or nvidia is None:
                offer = ARCHIVE._replace(version=version)
            else:
                offer = Offer(host, nvidia.origin, version)
            rule = deciding(name, offer, all_rules)
            if rule is not None and rule.priority < 0 and rule.path != PREFERENCES:
                found.setdefault(rule, []).append(name)
        return tuple(found.items())

    def _version(self, stack: Stack) -> str | None:
        if stack.driver_version:
            return self.release_of(stack.driver_version)
        return self.branch_of(stack.branch) if stack.branch else None

    def version_locks(self, stack: Stack, version: str | None) -> tuple[str, ...]:
        """Return nothing: dpkg holds packages by name."""
        del stack, version
        return ()

    def has_index(self, repository: Repository, indexes: Collection[str]) -> bool:
        """Return whether apt has read the index of a repository."""
        # apt names an index after its URL: it writes "/" as "_", and so "_" itself as "%5f".
        address = _address_and_login(repository.url)[0].split("://", 1)[-1].rstrip("/")
        listed = address.replace("_", "%5f").replace("/", "_") + "_"
        return any(name.startswith(listed) for name in indexes)

    def preparation(self, stack: Stack) -> Sequence[Mapping[str, Any]]:
        """Return nothing: apt needs no preparation beyond its files."""
        del stack
        return ()


DEB = Deb()
