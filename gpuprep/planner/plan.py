"""The plan of one host: resolved once, from everything known, and carried out as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gpuprep.catalog.rules import host_rules
from gpuprep.components import BY_NAME, BY_ROLE, COMPONENTS, NAMES, resolve
from gpuprep.components.base import Situation
from gpuprep.components.differences import Differences
from gpuprep.components.module_rules import blocking, firmware_off
from gpuprep.model import (
    SHARED_KINDS,
    DesiredStack,
    Family,
    HostFacts,
    Message,
    Phase,
    PlanState,
    Refusal,
    Stack,
    Step,
    StepKind,
)
from gpuprep.model.names import matches
from gpuprep.model.plain import plain
from gpuprep.model.value import Value
from gpuprep.observe import facts
from gpuprep.packages import FAMILIES, family_of
from gpuprep.packages.closure import is_installed
from gpuprep.packages.foreign import rivals
from gpuprep.packages.support import Support, support_of, supported
from gpuprep.planner.advice import with_advice
from gpuprep.planner.host_sources import builder_obstacle, forbidden, stream_warnings
from gpuprep.planner.kernel_warnings import kernel_warnings
from gpuprep.planner.rebooting import words_of
from gpuprep.planner.space import needs, shortage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuprep.catalog import Catalog
    from gpuprep.components.base import Component
    from gpuprep.components.state import RoleState
    from gpuprep.model import Settings
    from gpuprep.observe.observation import HostObservation
    from gpuprep.packages.family import PackageFamily

Resolver: TypeAlias = Callable[[HostFacts, DesiredStack, "Catalog"], Stack | Refusal]


_CONFIGURE: Final = "configure"


def phase_of_stage(stage: str) -> Phase:
    """Return the phase that a stage of a role's operations belongs to."""
    return Phase.CONFIGURE if stage == _CONFIGURE else Phase.INSTALL


class RolePlan(Value, frozen=True):
    """What one role has to do.

    Attributes:
        state: the desired state.
        steps: the differences; empty = nothing to do.
        family: the host's package family.
        refresh: the package index must be read again first.
        complete: carry out also what finds out by itself that there is nothing to do.
        lock_timeout: seconds to wait for the package manager's locks.
        versions: desired versions, for the role's exported facts.

    """

    state: RoleState
    steps: tuple[Step, ...]
    family: Family
    refresh: bool = False
    complete: bool = False
    lock_timeout: int = 600
    version: str = "-"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the steps, each once."""
        return tuple(dict.fromkeys(step.kind for step in self.steps))

    def phase_of(self, step: Step) -> Phase:
        """Return the phase of the role's work that a step belongs to: that of its operations."""
        return self._phase(step.kind)

    def _phase(self, kind: str) -> Phase:
        without = self.state.operations((), refresh=False)
        stages = self.state.operations((kind,), refresh=False)
        own = [stage for stage, found in stages.items() if found != without.get(stage)]
        # What no operation does is left to a reboot, which is asked for when all is configured.
        return phase_of_stage((own or list(without) or [_CONFIGURE])[0])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types: what the role's tasks are handed."""
        operations = self.state.operations(self.kinds, refresh=self.refresh, complete=self.complete)
        phases = {kind: self._phase(kind) for kind in self.kinds}
        return {
            "role": self.state.role,
            "family": self.family,
            "steps": [{**plain(step), "phase": phases[step.kind]} for step in self.steps],
            "kinds": list(self.kinds),
            "operations": operations,
            "lock_timeout": self.lock_timeout,
            "reboot_required": StepKind.REBOOT in self.kinds,
            "version": self.version,
        }


class HostPlan(Value, frozen=True):
    """The plan of one host.

    Attributes:
        state: what the plan says of the host.
        code: ``E_*`` code of a refusal or failure.
        error: why the host is not planned, in words, with what to do.
        facts: what the resolver was told.
        stack: what the resolver chose.
        roles: per role, what has to be done.
        warnings: coded warnings.
        versions: what is on the host now, by component.
        reboot_required: a reboot is needed before the host can be proven.

    """

    state: PlanState
    code: str | None = None
    error: str | None = None
    facts: HostFacts | None = None
    stack: Stack | None = None
    roles: Mapping[str, RolePlan] = {}
    warnings: tuple[Message, ...] = ()
    versions: Mapping[str, str] = {}
    reboot_required: bool = False

    @property
    def ok(self) -> bool:
        """Whether the host could be planned."""
        return self.state in {PlanState.CONVERGED, PlanState.DRIFTED}

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in the order in which they are carried out."""
        return tuple(step for plan in self.roles.values() for step in plan.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types; the form of a host in ``plan.json``."""
        return {
            "state": self.state,
            "code": self.code,
            "error": self.error,
            "facts": plain(self.facts),
            "stack": plain(self.stack),
            "steps": plain(list(self.steps)),
            "warnings": plain(list(self.warnings)),
            "versions": dict(self.versions),
            "reboot_required": self.reboot_required,
        }


def observation_request(catalog: Catalog, settings: Settings) -> dict[str, Any]:
    """Return what the observation has to look at for these settings."""
    rules = host_rules()
    units = {*catalog.driver.services, *(s for f in catalog.fabrics.values() for s in f.services)}
    managed = [path for family in FAMILIES.values() for path in family.paths]
    own = [path for component in COMPONENTS for path in component.paths(settings)]
    return {
        "packages": _observed(catalog, rules.observed_packages),
        "files": [*managed, *own],
        "keys": [path for path in managed if path.endswith((".asc", ".gpg"))],
        "units": sorted(units),
        "modules": sorted(
            {m for fabric in catalog.fabrics.values() for m in fabric.kernel_modules}
            | set(catalog.driver.display_modules)
        ),
        "kernel": settings.kernel,
        "changes": {
            name: {"file": look.file, "unchanged": look.unchanged, "changed": look.changed}
            for name, change in catalog.kernels.changes.items()
            if (look := change.look) is not None
        },
        "ready": _ready_modules(catalog, settings),
        "firewall": (s := catalog.shapes.get(settings.shape or "")) is not None and s.rdma,
        "conda": settings.conda_prefix,
        "commands": list(rules.observed_commands),
        "accounts": [name for component in COMPONENTS for name in component.accounts],
        "checkouts": [path for component in COMPONENTS for path in component.checkouts],
    }


def _ready_modules(catalog: Catalog, settings: Settings) -> dict[str, str] | None:
    """Return where archives list modules that they have ready; None where none would be taken."""
    found = [archive.signed_index for archive in catalog.archives.values() if archive.signed_index]
    if not found or settings.stack.source == "nvidia":
        return None
    (index,) = set(found)  # one family of systems has such
    return {"index": index.files, "prefix": index.prefix, "driver": index.driver}


def _observed(catalog: Catalog, others: str) -> str:
    """Return a regular expression of all package names that a plan can speak of."""
    names = [p for patterns in catalog.driver.closure.values() for p in patterns if p[0] != "!"]
    # Not fnmatch.translate: the host's Python may be older than the controller's.
    words = "|".join(re.escape(name).replace(r"\*", ".*") for name in dict.fromkeys(names))
    return f"(?:{others}|(?:{words})$)"


def plan_host(
    observation: HostObservation,
    settings: Settings,
    catalog: Catalog,
    resolver: Resolver = resolve,
    role: str | None = None,
) -> HostPlan:
    """Return the plan of one host.

    Args:
        observation: what the host said of itself.
        settings: what the user wants on it.
        catalog: what belongs together.
        resolver: decides the stack; another one for a lock file.
        role: the one role to plan for, None = all. It gets what it would get in the whole plan:
            what decides its component is resolved as well, and only then left to its own role.

    """
    return _Planner(observation, settings, catalog, resolver).plan(role)


class _Planner:
    """One host on the way to its plan."""

    def __init__(
        self,
        observation: HostObservation,
        settings: Settings,
        catalog: Catalog,
        resolver: Resolver,
    ) -> None:
        self._observation = observation
        self._settings = settings
        self._catalog = catalog
        self._resolver = resolver
        self._versions = versions_of(observation)
        driver = self._versions.get("driver")
        self._facts = replace(facts(observation, settings.shape), driver=driver)

    def plan(self, role: str | None) -> HostPlan:
        """Return the plan of all wanted components, or of one role's."""
        if role is not None and not BY_ROLE[role].wanted(self._settings.values):
            return HostPlan(PlanState.CONVERGED, facts=self._facts, versions=self._versions)
        answer: Stack | Message
        for names in self._attempts(role):
            answer = self._resolve(names)
            if isinstance(answer, Stack):
                break
        if isinstance(answer, Message):
            return self._refused(answer)
        chosen = [component for component in COMPONENTS if component.name in names]
        if not self._settings.persistence:
            answer = _without_persistence(answer, self._catalog)
        versions = {component.name: component.desired(answer) for component in chosen}
        present = _present(self._observation, answer, self._catalog, self._facts.os)
        answer = replace(answer, versions=versions, present=present)
        to_plan = [c for c in chosen if role is None or c.role == role]
        family = family_of(Family(answer.family))
        level = support_of(self._catalog.systems[self._facts.os], self._facts.arch)
        explained = level is Support.EXPLAINED
        if explained and any(component.uses_packages for component in to_plan):
            return self._refused(self._not_installed(), answer)
        situation = Situation(
            self._observation,
            answer,
            self._settings,
            family or next(iter(FAMILIES.values())),
            self._catalog,
            self._driver_cuda(answer),
        )
        roles = self._roles(to_plan, situation)
        drifted = any(plan.steps for plan in roles.values())
        plan = HostPlan(
            state=PlanState.DRIFTED if drifted else PlanState.CONVERGED,
            facts=self._facts,
            stack=answer,
            roles=roles,
            warnings=(
                *answer.warnings,
                *self._replacement(answer),
                *self._firmware(answer),
                *self._display(answer),
                *self._denied(),
                *stream_warnings(self._observation, answer, self._catalog),
                *self._lost_kernels(answer, roles),
                *self._waits(roles),
            ),
            versions=self._versions,
            reboot_required=any(StepKind.REBOOT in r.kinds for r in roles.values()),
        )
        own = (component.obstacle(situation, roles) for component in to_plan)
        obstacle = self._obstacle(plan) or next(filter(None, own), None)
        if obstacle is None:
            steps = {name: role.steps for name, role in roles.items()}
            obstacle = shortage(needs(steps, situation), self._observation.space)
        return self._refused(obstacle, answer) if obstacle else plan

    def _not_installed(self) -> Message:
        """Return the refusal of a system that is explained, but that no role installs."""
        levels = (Support.PROVEN, Support.INSTALLED)
        installed = ", ".join(supported(self._catalog, level) for level in levels)
        values = {"os": self._facts.os, "support": Support.EXPLAINED, "installed": installed}
        return host_rules().refusal("E_OS_FAMILY", **values)

    def _attempts(self, role: str | None) -> Iterable[tuple[str, ...]]:
        """Return the names of the components to resolve together; fewer where that is refused.

        A role used alone gets what it would get in the whole plan. Where there is none, it is
        refused for its own reasons only: those of its component and of what decides that. A host
        without a GPU can still have what needs no driver.
        """
        wanted = self._settings.stack.components
        names = set(NAMES if wanted is None else wanted)
        if role is None:
            return (_ordered(names),)
        own = BY_ROLE[role]
        deciders = names & set(_deciders(own))
        sets = (names, deciders, deciders - {"driver"})
        return tuple(dict.fromkeys(_ordered({own.name, *chosen}) for chosen in sets))

    def _resolve(self, components: tuple[str, ...]) -> Stack | Message:
        desired = replace(self._settings.stack, components=components)
        if self._settings.keep_driver and "driver" in components:
            kept = self._versions.get("driver")
            if kept is None:
                return host_rules().refusal("E_KEEP_NOTHING")
            desired = replace(desired, keep_driver=kept)
        return self._resolver(self._facts, desired, self._catalog)

    def _roles(self, components: Iterable[Component], situation: Situation) -> dict[str, RolePlan]:
        stack, family = situation.stack, situation.family
        roles: dict[str, RolePlan] = {}
        taken: set[str] = set()  # paths
        for component in components:
            differences = Differences(component.role)
            state = component.plan(differences, situation)
            if self._observation.first_boot:
                state = replace(state, first_boot=True)
            # Roles share the repository; its steps belong to the first of them.
            own = tuple(
                s for s in differences.steps if s.kind not in SHARED_KINDS or s.target not in taken
            )
            taken |= {step.target for step in own}
            refreshed = any(plan.refresh for plan in roles.values())
            roles[component.role] = RolePlan(
                state,
                own,
                family.name,
                refresh=not refreshed and self._needs_index(differences, stack, family),
                complete=not self._settings.short_cut,
                lock_timeout=self._settings.lock_timeout,
                version=stack.versions.get(component.name, "-"),
            )
        return roles

    def _driver_cuda(self, stack: Stack) -> str | None:
        """Return the newest CUDA of the driver that the host gets, else of the one it has."""
        current = self._versions.get("driver", "").partition(".")[0]
        branch = self._catalog.branches.get(stack.branch or current)
        return branch.native_cuda if branch else None

    def _needs_index(self, differences: Differences, stack: Stack, family: PackageFamily) -> bool:
        """Return whether the package index must be read again before packages are installed."""
        if not differences.has(StepKind.PACKAGE):
            return False
        if differences.has(StepKind.SOURCE, StepKind.REPOSITORY, StepKind.KEY):
            return True
        repository = stack.repository
        indexes = self._observation.package_manager.indexes
        return repository is not None and not family.has_index(repository, indexes)

    def _refused(self, message: Message, stack: Stack | None = None) -> HostPlan:
        return HostPlan(
            PlanState.REFUSED,
            message.code,
            with_advice(message),
            facts=self._facts,
            versions=self._versions,
            stack=stack,
            warnings=self._kernel_warnings(),
        )

    def _lost_kernels(self, stack: Stack, roles: Mapping[str, RolePlan]) -> tuple[Message, ...]:
        """Return the warnings of kernels that a driver which stays on the host cannot follow."""
        driver = roles.get(BY_NAME["driver"].role)
        if stack.manage_driver and driver is not None and StepKind.PACKAGE in driver.kinds:
            return ()
        return self._kernel_warnings()

    def _waits(self, roles: Mapping[str, RolePlan]) -> tuple[Message, ...]:
        """Return the warnings of what packages have to wait for."""
        rules, seen = host_rules(), self._observation
        if not any(StepKind.PACKAGE in plan.kinds for plan in roles.values()):
            return ()
        seconds = self._settings.lock_timeout
        found = []
        if seen.first_boot:
            found.append(rules.warning("W_FIRST_BOOT", stage=seen.first_boot, seconds=seconds))
        if seen.package_manager.locks:
            holder = seen.package_manager.locks[0]
            values = {"command": holder.command, "pid": holder.pid, "path": holder.path}
            found.append(rules.warning("W_PACKAGES_LOCKED", seconds=seconds, **values))
        return tuple(found)

    def _kernel_warnings(self) -> tuple[Message, ...]:
        found = self._versions.get("driver")
        kept = self._settings.keep_driver
        return kernel_warnings(self._observation, self._catalog, found, self._facts.os, kept=kept)

    def _replacement(self, stack: Stack) -> tuple[Message, ...]:
        """Return the warning that a driver of another branch would have to go."""
        current = self._versions.get("driver")
        if not current or not stack.branch or not stack.manage_driver:
            return ()
        if current.split(".")[0] == stack.branch:
            return ()
        return (host_rules().warning("W_DRIVER_REPLACED", found=current, branch=stack.branch),)

    def _firmware(self, stack: Stack) -> tuple[Message, ...]:
        """Return the warning that open modules do without the firmware that they need."""
        if stack.flavour != "open" or not stack.manage_driver:
            return ()
        rule = firmware_off(self._observation.modules.rules, stack)
        if rule is None:
            return ()
        return (host_rules().warning("W_GPU_FIRMWARE_OFF", path=rule.path, line=rule.line),)

    def _obstacle(self, plan: HostPlan) -> Message | None:
        """Return what forbids carrying out the plan now, None when nothing does."""
        rules, observation = host_rules(), self._observation
        driver = plan.roles.get(BY_NAME["driver"].role)
        if driver is not None and plan.stack is not None and plan.stack.manage_driver:
            obstacle = self._module_obstacle(plan.stack)
            if obstacle is not None:
                return obstacle
        changes_driver = driver is not None and StepKind.PACKAGE in driver.kinds
        holders = observation.driver.holders
        others = [p for p in holders if p.command not in rules.own_daemons]
        if changes_driver and others:
            names = ", ".join(f"{p.command} ({p.pid})" for p in others[:5])
            return rules.refusal("E_GPU_BUSY", processes=names)
        if not any(plan.roles[r].kinds for r in plan.roles):
            return None
        if observation.selinux.is_confined:
            return rules.refusal("E_SELINUX_CONFINED", context=observation.selinux.context)
        return self._foreign(plan) or self._builder(plan) or self._broken(plan)

    def _module_obstacle(self, stack: Stack) -> Message | None:
        """Return what keeps the kernel from the modules of driver and fabric."""
        rules, modules = host_rules(), self._observation.modules
        rule = blocking(modules.rules, stack)
        if rule is not None:
            return rules.refusal("E_MODULE_BLOCKED", path=rule.path, line=rule.line)
        absent = [name for name in stack.kernel_modules if modules.others.get(name) == "absent"]
        return rules.refusal("E_FABRIC_MODULE", **self._absent(absent)) if absent else None

    def _absent(self, modules: Sequence[str]) -> dict[str, str]:
        """Return the words for modules that the kernel has not, and the package that has them."""
        kernel, packaged = self._observation.kernel.target, self._observation.modules.packaged
        packages = dict.fromkeys(f"{packaged[m]}-{kernel}" for m in modules if m in packaged)
        unknown = self._catalog.driver.extra_modules[self._observation.package_manager.family]
        package = ", ".join(packages) or unknown.format(kernel=kernel)
        return {"kernel": kernel, "modules": ", ".join(modules), "package": package}

    def _display(self, stack: Stack) -> tuple[Message, ...]:
        """Return the warning that display modules need a part of the kernel that is not there."""
        modules = self._observation.modules
        absent = [
            name
            for name in self._catalog.driver.display_modules
            if modules.others.get(name) == "absent" and name in modules.packaged
        ]
        wanted = self._settings.stack.profile == "full"
        if not absent or not wanted or not stack.manage_driver or stack.branch is None:
            return ()
        return (host_rules().warning("W_DISPLAY_MODULE", **self._absent(absent)),)

    def _denied(self) -> tuple[Message, ...]:
        """Return the warning that SELinux denies something to programs of the stack."""
        selinux = self._observation.selinux
        if not selinux.denials:
            return ()
        did = "has denied, since the boot,"
        if selinux.mode != "enforcing":
            did = "would have denied, were it enforcing,"
        denials = words_of(selinux.denials)
        return (host_rules().warning("W_SELINUX_DENIED", did=did, denials=denials),)

    def _foreign(self, plan: HostPlan) -> Message | None:
        """Return what others told the package manager that forbids the plan."""
        stack, manager = plan.stack, self._observation.package_manager
        family = family_of(manager.family)
        if stack is None or family is None:
            return None
        installed = {StepKind.PACKAGE, StepKind.SOURCE}
        if not any(step.kind in installed for step in plan.steps):
            return None
        nvidia = stack.repository
        for rival in rivals(manager.sources, nvidia, family.paths) if nvidia else ():
            if not rival.alone:
                values = {"path": rival.path, "url": rival.address}
                return host_rules().refusal("E_FOREIGN_SOURCE", **values)
        wanted = [package.name for package in stack.packages]
        targets = {step.target for step in plan.steps if step.kind == StepKind.PACKAGE}
        names = [name for name in wanted if name in targets]
        for rule, packages in family.forbidding(manager.rules, stack, names):
            return forbidden(rule, ", ".join(packages))
        return None

    def _builder(self, plan: HostPlan) -> Message | None:
        """Return that what builds the module cannot be had, where packages of the driver change."""
        driver, stack = plan.roles.get(BY_NAME["driver"].role), plan.stack
        if driver is None or StepKind.PACKAGE not in driver.kinds:
            return None
        if stack is None or stack.source != "nvidia":
            return None
        system = self._catalog.systems[self._facts.os]
        return builder_obstacle(self._observation, self._catalog, system)

    def _broken(self, plan: HostPlan) -> Message | None:
        manager = self._observation.package_manager
        family = family_of(manager.family)
        if family is None or manager.locks:
            # Who holds the lock is at work on them: the transaction waits for that.
            return None
        wanted = {step.target for step in plan.steps}
        # What an interrupted transaction of ours left, the next one finishes.
        ours = _names_of(plan.stack) if plan.stack else ()
        others = [
            b
            for b in manager.broken
            if b.name not in wanted
            and b.status not in family.interrupted
            and not matches(b.name, ours)
        ]
        if not others:
            return None
        names = ", ".join(f"{b.name} ({b.status})" for b in others[:5])
        return host_rules().refusal("E_PACKAGES_BROKEN", packages=names, repair=family.repair)


def _names_of(stack: Stack) -> tuple[str, ...]:
    """Return the name patterns of all packages that a stack brings along."""
    toolkits = (name for toolkit in stack.cuda for name in toolkit.names)
    return (*stack.version_locked, *toolkits, *stack.holds)


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    chosen = set(names)
    return tuple(name for name in BY_NAME if name in chosen)


def _deciders(component: Component) -> Iterable[str]:
    """Return the names of the components that decide one, directly or not."""
    for name in component.decided_by:
        yield name
        yield from _deciders(BY_NAME[name])


def versions_of(observation: HostObservation) -> dict[str, str]:
    """Return what is on a host, by component, as far as it is there."""
    versions = {component.name: component.current(observation) for component in COMPONENTS}
    return {name: version for name, version in versions.items() if version}


def _without_persistence(stack: Stack, catalog: Catalog) -> Stack:
    """Return a stack whose persistence daemon, which its package starts, must not run."""
    daemon = set(catalog.driver.services) & set(stack.services)
    return replace(
        stack,
        services=tuple(name for name in stack.services if name not in daemon),
        unwanted_services=tuple(sorted(daemon)),
    )


def _present(
    observation: HostObservation, stack: Stack, catalog: Catalog, system: str
) -> dict[str, str]:
    """Return the driver's packages that are there, where the archive gives them, with versions."""
    if not stack.archive_driver:
        return {}
    ready = [name for kernel in stack.ready for name in catalog.archives[system].signed_names]
    of_kernel = tuple(f"-{kernel}" for kernel in stack.ready)
    return {
        name: package.version
        for name, package in sorted(observation.packages.items())
        if package.version is not None
        and is_installed(observation.packages, name)
        and (
            matches(name, stack.version_locked)
            or (name.endswith(of_kernel) and matches(name, ready))
        )
    }
