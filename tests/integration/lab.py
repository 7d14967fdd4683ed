"""What the integration tests share: sandbox hosts, gpuprep run against them, and eyes for every
change on a host.
"""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gpuprep
from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.model import FleetResult, HostResult
from gpuprep.planner import HostPlan, observation_request, plan_host, settings_from
from sandbox import bootstrap, fleet, hosts, servers, services
from sandbox.nvrepo.build import REPOS

if TYPE_CHECKING:
    from pathlib import Path

    from gpuprep.observe import HostObservation
    from gpuprep.planner import Settings
    from sandbox.fleet import HostSpec

FLEET = "tests"
EL_FLEET = "el"
UBUNTU_FLEET = "ubuntu"
SNAPSHOT = "converged"
# Not part of a host's state: the kernel's views, what a boot makes anew, and logs.
VOLATILE = ("/proc", "/sys", "/run", "/tmp", "/dev", "/var/log")
# The package manager's own books and caches, which any transaction writes.
PACKAGE_BOOKS = (
    *("/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/lib/systemd"),
    *("/var/lib/rpm", "/var/lib/dnf"),
)

_FINGERPRINT = """
import hashlib, json, os, stat, sys
skip, limit = set(json.loads(sys.argv[1])), float(sys.argv[2])
found = {}
for top, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(top, f) not in skip]
    for name in folders + files:
        path = os.path.join(top, name)
        try:
            info = os.lstat(path)
            mode = info.st_mode
            facts = [stat.S_IFMT(mode), stat.S_IMODE(mode), info.st_uid, info.st_gid]
            if stat.S_ISLNK(mode):
                facts.append(os.readlink(path))
            elif stat.S_ISREG(mode):
                if info.st_size <= limit:
                    with open(path, "rb") as handle:
                        facts.append(hashlib.sha1(handle.read()).hexdigest())
                else:
                    facts.append([info.st_size, int(info.st_mtime)])
                facts.append(info.st_mtime_ns)
            found[path] = facts
        except FileNotFoundError:
            pass
json.dump(found, sys.stdout)
"""

# What rpm's database has beside it as soon as somebody reads it.
READERS_MARKS = tuple(f"/var/lib/rpm/rpmdb.sqlite-{kind}" for kind in ("shm", "wal"))
# Both families' books in one form: name, tab, version (a package may be there more than once).
_PACKAGES = """
if command -v dpkg-query > /dev/null; then
    dpkg-query -W -f '${Package}\\t${Version} ${db:Status-Abbrev}\\n'
else
    rpm -qa --qf '%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}.%{ARCH}\\n'
    sed -n '/^[^#]/s/^/lock\\t/p' /etc/dnf/plugins/versionlock.list 2> /dev/null || :
fi
"""

STAMP = 5  # place of the modification time among the facts of a file

Tree = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class State:
    """Everything on a host: files by path, packages by name (version, status, hold).

    Lines of dnf's version lock are there as a package called ``lock``.
    """

    files: Tree
    packages: Mapping[str, str]

    def differences(
        self, other: State, *, without: Iterable[str] = (), stamps: bool = True
    ) -> set[str]:
        """Paths and ``package NAME`` that differ; ``stamps`` counts modification times."""
        outside = tuple(f"{path}/" for path in without)
        facts = slice(None if stamps else STAMP)
        return {
            path
            for path in self.files.keys() | other.files.keys()
            if not path.startswith(outside)
            and self.files.get(path, [])[facts] != other.files.get(path, [])[facts]
        } | {
            f"package {name}"
            for name in self.packages.keys() | other.packages.keys()
            if self.packages.get(name) != other.packages.get(name)
        }


class Lab:
    """Hosts of the sandbox, and gpuprep run against them."""

    def __init__(self, folder: Path) -> None:
        bootstrap.ensure()
        self._folder = folder
        self._numbers = itertools.count()
        self._variables: dict[str, Any] = {}

    # --- hosts ----------------------------------------------------------------------------

    def start(self, *specs: HostSpec) -> None:
        """Start bare hosts; those of the same name that live are replaced."""
        hosts.stop_all(spec.name for spec in specs)
        begun = hosts.start_all(specs, FLEET)
        self._variables = services.start(begun)

    @staticmethod
    def specs(*names: str, of: str = FLEET) -> tuple[HostSpec, ...]:
        """Return hosts of the fleet ``of`` by name; all without names."""
        return tuple(s for s in fleet.load(of) if not names or s.name in names)

    @staticmethod
    def address(name: str) -> str:
        """Return the address of a host."""
        return hosts.find(name).address

    @staticmethod
    def run(name: str, *argv: str, stdin: str | None = None) -> str:
        """Run a command in a host as root and return what it printed; it must succeed."""
        emulated = not hosts.find(name).container
        done = hosts.run(name, argv, stdin=stdin, timeout=1800 if emulated else 300)
        assert done.returncode == 0, f"{name}: {shlex.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def sh(self, name: str, script: str) -> str:
        """Run a shell script in a host as root; every command of it must succeed."""
        return self.run(name, "sh", "-euc", script)

    @property
    def mirror(self) -> str:
        """Base URL of the sandbox's web server."""
        return str(self._variables["gpuprep_mirror"]).removesuffix(f"/{REPOS}")

    # --- gpuprep ----------------------------------------------------------------------------

    def inventory(self, *names: str, variables: Mapping[str, Any] | None = None) -> Path:
        """Write an inventory of these hosts, with the sandbox's and further variables."""
        path = self._folder / f"inventory-{next(self._numbers)}" / "hosts.yml"
        found = [hosts.find(name) for name in names]
        return hosts.write_inventory(found, {**self._variables, **(variables or {})}, path)

    def plan(self, *names: str, **variables: Any) -> FleetResult:
        """``gpuprep.plan`` with settings."""
        return gpuprep.plan(self.inventory(*names), variables=variables)

    def apply(self, *names: str, **variables: Any) -> FleetResult:
        """``gpuprep.apply`` with settings."""
        return gpuprep.apply(self.inventory(*names), variables=variables)

    def apply_each(self, settings: Mapping[str, Mapping[str, Any]]) -> FleetResult:
        """``gpuprep.apply`` to hosts that are each set to something else, in the inventory."""
        path = self._folder / f"inventory-{next(self._numbers)}" / "hosts.yml"
        found = [hosts.find(name) for name in settings]
        hosts.write_inventory(found, self._variables, path)
        folder = path.parent / "host_vars"
        folder.mkdir()
        for name, values in settings.items():
            (folder / f"{name}.json").write_text(json.dumps(dict(values)))
        return gpuprep.apply(path)

    def check(self, *names: str, **variables: Any) -> FleetResult:
        """``gpuprep.apply(check=True)`` with settings."""
        return gpuprep.apply(self.inventory(*names), check=True, variables=variables)

    def look(self, name: str, **variables: Any) -> HostPlan:
        """Observe and plan one host without Ansible: the same script, the same planner."""
        settings = self._settings(name, variables)
        return plan_host(self.seen(name, **variables), settings, load())

    def seen(self, name: str, **variables: Any) -> HostObservation:
        """Observe one host without Ansible."""
        request = observation_request(load(), self._settings(name, variables))
        answer = self.run(name, "python3", "-S", "-E", "-", stdin=observe.script(request))
        return observe.read(answer)

    def _settings(self, name: str, variables: Mapping[str, Any]) -> Settings:
        spec = hosts.find(name).spec
        return settings_from({**self._variables, **spec.vars, "oci_shape": spec.shape, **variables})

    # --- what happened to a host ------------------------------------------------------------

    def state(self, name: str, hashed: float = 1e6) -> State:
        """Take down everything on a host that outlives a reboot.

        Args:
            name: the host.
            hashed: largest file whose content is read, in bytes; larger ones count as unchanged
                while their size and second of modification are, as the package manager keeps them.

        """
        argv = ("python3", "-S", "-E", "-c", _FINGERPRINT, json.dumps(VOLATILE), str(hashed))
        files = json.loads(self.run(name, *argv))
        for path in READERS_MARKS:
            files.pop(path, None)
        packages: dict[str, str] = {}
        for line in sorted(self.sh(name, _PACKAGES).splitlines()):
            package, version = line.split("\t", 1)
            packages[package] = f"{packages[package]} {version}" if package in packages else version
        return State(files, packages)

    def logins(self, name: str) -> int:
        """Ssh sessions that a host has seen since it started."""
        return self._journal(name, "Accepted publickey for ")

    def commands(self, name: str) -> int:
        """Commands that were run as root over ssh since the host started: round trips."""
        return self._journal(name, "COMMAND=")

    def _journal(self, name: str, text: str) -> int:
        lines = self.run(name, "journalctl", "--no-pager", "--output=cat").splitlines()
        return sum(text in line for line in lines)

    @staticmethod
    def requests(name: str) -> list[str]:
        """Paths that a host asked of the sandbox's servers, oldest first."""
        address = hosts.find(name).address
        return [str(r["path"]) for r in servers.requests() if r["client"] == address]


def ids(result: FleetResult | HostResult | HostPlan, name: str = "") -> set[str]:
    """Ids of the steps of a host."""
    host = result.hosts[name] if isinstance(result, FleetResult) else result
    return {step.id for step in host.steps}


def failed_checks(host: HostResult) -> list[str]:
    """Rungs of the ladder that a host failed."""
    return [f"{check.id}: {check.detail}" for check in host.checks if check.status == "failed"]


@dataclass(frozen=True)
class FirstRun:
    """The fleet's way from bare to converged, taken once per session.

    Attributes:
        names: hosts of the fleet.
        bare: state of the hosts before anything.
        checked: result of check mode on the bare hosts.
        untouched: state after check mode.
        applied: result of the real run.

    """

    names: tuple[str, ...]
    bare: Mapping[str, State]
    checked: FleetResult
    untouched: Mapping[str, State]
    applied: FleetResult
    good: tuple[str, ...] = field(default=())


Restore = Callable[[str], str]
TakenRun = Callable[[str], FirstRun]
Fresh = Callable[..., str]
