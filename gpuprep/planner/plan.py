"""The plan of one host."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gpuprep.model import Message, Refusal, Stack, Step
from gpuprep.observe import facts, running_driver
from gpuprep.packages.deb import upstream_version
from gpuprep.planner.differences import Differences
from gpuprep.planner.roles import PATHS, PLANNERS, condarc_path, marker_path, needs_index
from gpuprep.planner.rules import host_rules
from gpuprep.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.catalog import Catalog
    from gpuprep.lock.lockfile import LockFile
    from gpuprep.model import DesiredStack, HostFacts
    from gpuprep.observe import Observation
    from gpuprep.planner.settings import Settings
    from gpuprep.planner.target import RoleTarget

# States that an interrupted transaction leaves; the next one finishes them (deb_transaction).
INTERRUPTED = ("unpacked", "triggers-pending", "triggers-awaited")
FAMILIES = ("deb",)  # package formats that the roles can work with
SHARED = ("key", "repository", "pin")  # kinds of files that several roles need


@dataclass(frozen=True, slots=True)
class RolePlan:
    """What one role has to do.

    Attributes:
        target: the desired state as data for the tasks.
        steps: the differences; empty = nothing to do.
        refresh: the package index must be read again first.
        family: ``deb`` or ``rpm``.

    """

    target: RoleTarget
    family: str
    steps: tuple[Step, ...] = ()
    refresh: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the steps, each once."""
        return tuple(dict.fromkeys(step.kind for step in self.steps))

    def to_dict(self) -> dict[str, Any]:
        """Give JSON types for the role's tasks."""
        return {
            "target": self.target.to_dict(),
            "steps": [asdict(step) for step in self.steps],
            "kinds": list(self.kinds),
            "refresh": self.refresh,
            "family": self.family,
        }


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The plan of one host.

    Attributes:
        state: ``converged``, ``drifted``, ``refused``, ``failed`` or ``unreachable``.
        code: ``E_*`` code of a refusal or failure.
        error: why the host is not planned, in words, with what to do.
        facts: what the resolver was told.
        stack: what the resolver chose.
        roles: per role, what has to be done.
        warnings: coded warnings.
        versions: what is on the host now, by component.
        reboot_required: a reboot is needed before the host can be proven.

    """

    state: str
    code: str | None = None
    error: str | None = None
    facts: HostFacts | None = None
    stack: Stack | None = None
    roles: Mapping[str, RolePlan] = field(default_factory=dict)
    warnings: tuple[Message, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    reboot_required: bool = False

    @property
    def ok(self) -> bool:
        """Whether the host could be planned."""
        return self.state in {"converged", "drifted"}

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in the order in which they are carried out."""
        return tuple(step for plan in self.roles.values() for step in plan.steps)

    def to_dict(self) -> dict[str, Any]:
        """Give JSON types; the form of a host in ``plan.json``."""
        return {
            "state": self.state,
            "code": self.code,
            "error": self.error,
            "facts": asdict(self.facts) if self.facts else None,
            "stack": asdict(self.stack) if self.stack else None,
            "steps": [asdict(step) for step in self.steps],
            "warnings": [asdict(warning) for warning in self.warnings],
            "versions": dict(self.versions),
            "reboot_required": self.reboot_required,
        }


def observation_request(catalog: Catalog, settings: Settings) -> dict[str, Any]:
    """Return what the observation has to look at for these settings."""
    prefix = settings.conda_prefix
    rules = host_rules()
    units = {*catalog.driver.services, *(s for f in catalog.fabrics.values() for s in f.services)}
    return {
        "packages": _observed(catalog, rules.observed_packages),
        "files": [*PATHS, condarc_path(prefix), marker_path(prefix)],
        "keys": [path for path in PATHS if path.endswith((".asc", ".gpg"))],
        "units": sorted(units),
        "kernel": settings.kernel,
        "conda": prefix,
        "commands": list(rules.observed_commands),
    }


def _observed(catalog: Catalog, others: str) -> str:
    """Return a regular expression of all package names that a plan can speak of."""
    names = [p for patterns in catalog.driver.closure.values() for p in patterns if p[0] != "!"]
    # Not fnmatch.translate: the host's Python may be older than the controller's.
    words = "|".join(re.escape(name).replace(r"\*", ".*") for name in dict.fromkeys(names))
    return f"(?:{others}|(?:{words})$)"


def plan_host(observation: Observation, settings: Settings, catalog: Catalog) -> HostPlan:
    """Plan one host.

    Args:
        observation: what the host said of itself.
        settings: what the user wants on it.
        catalog: what belongs together.

    """
    seen = facts(observation, settings.shape)
    versions = versions_of(observation)
    desired = settings.stack
    if settings.keep_driver:
        kept = running_driver(observation) or versions.get("driver")
        if kept is None:
            return _refused(host_rules().refusal("E_KEEP_NOTHING"), seen, versions)
        desired = replace(desired, keep_driver=kept)
    answer = _resolve(seen, desired, catalog, settings.lock)
    if isinstance(answer, Refusal):
        return _refused(answer, seen, versions)
    if answer.family not in FAMILIES:
        return _refused(host_rules().refusal("E_OS_FAMILY", os=seen.os), seen, versions, answer)
    if not settings.persistence:
        services = (name for name in answer.services if "persistence" not in name)
        answer = replace(answer, services=tuple(services))
    roles: dict[str, RolePlan] = {}
    taken: set[str] = set()  # paths
    for name in settings.roles:
        found = Differences(name)
        target = PLANNERS[name](found, observation, answer, settings)
        refreshed = any(role.refresh for role in roles.values())
        refresh = not refreshed and needs_index(found, answer, observation)
        # Roles share the repository; its steps belong to the first of them.
        own = [s for s in found.steps if s.kind not in SHARED or s.target not in taken]
        taken |= {step.target for step in own}
        roles[name] = RolePlan(target, answer.family, tuple(own), refresh)
    plan = HostPlan(
        state="drifted" if any(role.steps for role in roles.values()) else "converged",
        facts=seen,
        stack=answer,
        roles=roles,
        warnings=(*answer.warnings, *_replacement(answer, versions)),
        versions=versions,
        reboot_required=any(step.kind == "reboot" for r in roles.values() for step in r.steps),
    )
    obstacle = _obstacle(observation, plan)
    return _refused(obstacle, seen, versions, answer) if obstacle else plan


def _resolve(
    seen: HostFacts, desired: DesiredStack, catalog: Catalog, lock: LockFile | None
) -> Stack | Refusal:
    if lock is None:
        return resolve(seen, desired, catalog)
    from gpuprep.lock.lockfile import resolve_locked  # noqa: PLC0415 - few runs need it

    return resolve_locked(seen, desired, catalog, lock)


def _refused(
    message: Message, seen: HostFacts, versions: Mapping[str, str], stack: Stack | None = None
) -> HostPlan:
    text = message.message + (f" Nearest: {message.nearest}" if message.nearest else "")
    return HostPlan("refused", message.code, text, facts=seen, versions=versions, stack=stack)


def _replacement(stack: Stack, versions: Mapping[str, str]) -> tuple[Message, ...]:
    """Warn when a driver of another branch would have to go."""
    found = versions.get("driver")
    if not found or not stack.manage_driver or found.split(".")[0] == stack.branch:
        return ()
    return (host_rules().warning("W_DRIVER_REPLACED", found=found, branch=stack.branch),)


def _obstacle(observation: Observation, plan: HostPlan) -> Message | None:
    """Return what forbids carrying out the plan now, None when nothing does."""
    driver = plan.roles.get("gpu_driver")
    changes_driver = driver is not None and any(s.kind == "package" for s in driver.steps)
    holders = observation["driver"]["holders"]
    strangers = [h for h in holders if h["command"] not in host_rules().own_daemons]
    if changes_driver and strangers:
        names = ", ".join(f"{h['command']} ({h['pid']})" for h in strangers[:5])
        return host_rules().refusal("E_GPU_BUSY", processes=names)
    if not plan.steps:
        return None
    manager = observation["package_manager"]
    # Who holds the lock is at work on them: the transaction waits for that.
    broken = [] if manager["locks"] else manager["broken"]
    wanted = {step.target for step in plan.steps}
    others = [b for b in broken if b["name"] not in wanted and b["status"] not in INTERRUPTED]
    if others:
        names = ", ".join(f"{b['name']} ({b['status']})" for b in others[:5])
        return host_rules().refusal("E_DPKG_BROKEN", packages=names)
    return _disk_obstacle(observation, plan)


def _disk_obstacle(observation: Observation, plan: HostPlan) -> Message | None:
    needs: dict[str, int] = {}
    for name, role in plan.roles.items():
        if any(s.kind in {"package", "installation"} and s.before is None for s in role.steps):
            for path, megabytes in host_rules().space_mb.get(name, {}).items():
                needs[path] = needs.get(path, 0) + megabytes
    for path, need in needs.items():
        free = observation["free_mb"].get(path)
        if free is not None and free < need:
            return host_rules().refusal("E_DISK", path=path, free=free, need=need)
    return None


def versions_of(observation: Observation) -> dict[str, str]:
    """Return what is on a host: driver, cuda, cudnn, conda, as far as they are there."""
    found: dict[str, str] = {}
    driver = running_driver(observation)
    if driver is None:
        packaged = [
            upstream_version(observation["packages"][name]["version"])
            for name in host_rules().driver_witnesses
            if observation["packages"].get(name, {}).get("status") == "installed"
        ]
        driver = packaged[0] if packaged else None
    if driver:
        found["driver"] = driver
    toolkits = [t["path"].rpartition("-")[2] for t in observation["cuda"]["toolkits"] if t["nvcc"]]
    if toolkits:
        found["cuda"] = ", ".join(toolkits)
    if observation["cudnn"]["library_versions"]:
        found["cudnn"] = ", ".join(observation["cudnn"]["library_versions"])
    if observation["conda"].get("complete"):
        found["conda"] = observation["conda"]["version"]
    return found
