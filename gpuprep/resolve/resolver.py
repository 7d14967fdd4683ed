"""The resolver: facts and settings in, a stack or a refusal out.

The rules are facts of the data file; the steps here only walk them, in the order in which one
choice depends on another: host, driver, toolkits, cuDNN, packages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from gpuprep import codes
from gpuprep.model import DesiredStack, Refusal, Stack
from gpuprep.model.value import Value
from gpuprep.model.variables import variable_of
from gpuprep.resolve.case import Case, Refused
from gpuprep.resolve.choices import check_choices
from gpuprep.resolve.host import after_reboot, open_case
from gpuprep.resolve.packages import repository_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.catalog.tables import Catalog
    from gpuprep.model import HostFacts

ResolveStep: TypeAlias = Callable[[Case, Stack], Stack]

_AUTOMATIC: dict[str, Any] = {
    field.name: getattr(DesiredStack(), field.name) for field in fields(DesiredStack)
}


def resolve(
    facts: HostFacts,
    desired: DesiredStack,
    catalog: Catalog,
    steps: Mapping[str, ResolveStep],
) -> Stack | Refusal:
    """Return the stack a host gets, or why it gets none.

    Every choice carries its reason. A refusal names the clashing settings (``settings``), a minimal
    set: without them the host resolves, to the stack told in ``nearest``. A refusal without
    settings is forced by the host itself.

    Args:
        facts: what is known of the host.
        desired: what is asked for.
        catalog: what belongs together.
        steps: by component, in the order in which one decides another, what adds it to a stack.

    """
    return _Resolver(facts, catalog, steps).resolve(desired)


class _Resolver(Value, frozen=True):
    """One host, and everything that could be asked for on it."""

    facts: HostFacts
    catalog: Catalog
    steps: Mapping[str, ResolveStep]

    def resolve(self, desired: DesiredStack) -> Stack | Refusal:
        try:
            return self.decide(desired)
        except Refused as refused:
            return self.explain(self.next_boot(refused, desired), desired)

    def next_boot(self, refused: Refused, desired: DesiredStack) -> Refused:
        """Return a refusal; of a kernel that waits for its reboot, whether a driver is lost there.

        Then a reboot alone would end in a failed compilation, and a host without its GPUs.
        """
        if refused.code != "E_REBOOT_FIRST":
            return refused
        later = replace(self, facts=after_reboot(self.facts))
        lost = later.attempt(desired)
        if not isinstance(lost, Refused) or lost.code != "E_DRIVER_KERNEL":
            return refused
        why = later.explain(lost, desired)
        options = " ".join(f"-e {variable_of(s)}={_AUTOMATIC[s]}" for s in why.settings)
        change = f"Before the reboot: {options}, giving {why.nearest}" if options else why.nearest
        newest = self.facts.state.newest_kernel
        return Refused(
            "E_NEXT_KERNEL", kernel=newest, why=why.message, change=change or "No setting helps"
        )

    def decide(self, desired: DesiredStack) -> Stack:
        check_choices(desired, self.catalog, tuple(self.steps))
        case = open_case(self.facts, desired, self.catalog)
        stack = Stack(
            family=case.system.family,
            source="distro" if case.desired.source == "distro" else "nvidia",
            manage_driver=case.manages_driver,
            repository=repository_of(case) if case.needs_repository else None,
        )
        for name, step in self.steps.items():
            if case.wants(name):
                stack = step(case, stack)
        return _locked(
            replace(stack, reasons=tuple(case.reasons), warnings=tuple(case.warnings)), desired
        )

    def explain(self, refused: Refused, desired: DesiredStack) -> Refusal:
        """Return the refusal with the smallest set of settings whose dropping helps."""
        fallen = self.relax(refused, desired)
        if isinstance(fallen, Refused):
            return _hopeless(refused, fallen)
        dropped, stack = fallen
        for setting in dropped:
            fewer = tuple(w for w in dropped if w != setting)
            attempt = self.attempt(self.without(desired, fewer))
            if isinstance(attempt, Stack):
                dropped, stack = fewer, attempt
        return _refusal(refused, dropped, stack)

    def relax(
        self, refused: Refused, desired: DesiredStack
    ) -> Refused | tuple[tuple[str, ...], Stack]:
        """Drop one clashing setting after the other until the host resolves or none is to blame."""
        dropped: tuple[str, ...] = ()
        outcome: Stack | Refused = refused
        while isinstance(outcome, Refused):
            candidates = [
                w
                for w in outcome.settings
                if w not in dropped and getattr(desired, w) != self.relaxed(desired, w)
            ]
            if not candidates:
                return outcome
            attempts = [
                (setting, self.attempt(self.without(desired, (*dropped, setting))))
                for setting in candidates
            ]
            best = next((a for a in attempts if isinstance(a[1], Stack)), attempts[0])
            dropped, outcome = (*dropped, best[0]), best[1]
        return dropped, outcome

    def attempt(self, desired: DesiredStack) -> Stack | Refused:
        try:
            return self.decide(desired)
        except Refused as refused:
            return refused

    def without(self, desired: DesiredStack, settings: tuple[str, ...]) -> DesiredStack:
        return replace(desired, **{name: self.relaxed(desired, name) for name in settings})

    def relaxed(self, desired: DesiredStack, setting: str) -> Any:  # noqa: ANN401  (any field)
        if setting == "components":
            chosen = self.steps if desired.components is None else desired.components
            return tuple(name for name in chosen if name != "driver")
        return _AUTOMATIC[setting]


def _locked(stack: Stack, desired: DesiredStack) -> Stack:
    """Fix packages at the versions of the lock; pinning packages follow the driver.

    Ready modules of a kernel that the lock does not know are free: they are bound to the driver.
    """
    locked = desired.locked
    if locked is None:
        return stack
    bound = {p.name for p in stack.packages if p.origin == "nvidia" and not p.pre_install}
    bound |= set(stack.archive_driver)
    missing = sorted(bound - set(locked))
    if missing:
        raise Refused("E_LOCK_MISSING", "locked", packages=", ".join(missing))
    bound |= set(stack.ready.values()) & set(locked)
    fixed = (replace(p, version=locked[p.name]) if p.name in bound else p for p in stack.packages)
    return replace(stack, packages=tuple(fixed), exact=locked)


def _refusal(
    refused: Refused,
    settings: tuple[str, ...] = (),
    stack: Stack | None = None,
) -> Refusal:
    text = codes.text(refused.code, **refused.values)
    return Refusal(refused.code, text, _nearest(stack) if stack else None, settings)


def _hopeless(refused: Refused, fallen: Refused) -> Refusal:
    """Refuse where no dropping of settings helps, since the host itself forbids it."""
    deeper = None
    if fallen.code != refused.code:
        text = codes.text(fallen.code, **fallen.values)
        deeper = f"{text} ({fallen.code})"
    return replace(_refusal(refused), nearest=deeper)


def _nearest(stack: Stack) -> str:
    parts = []
    if stack.branch:
        flavour = f" ({stack.flavour} modules)" if stack.flavour else ""
        parts.append(f"driver {stack.driver_version or stack.branch}{flavour}")
    parts += [f"CUDA {toolkit.version}" for toolkit in stack.cuda]
    if stack.cudnn:
        parts.append(f"cuDNN {stack.cudnn}")
    if stack.conda:
        parts.append(f"conda {stack.conda.version}")
    if stack.faceswap:
        parts.append(f"Faceswap with {stack.faceswap.variant}")
    return ", ".join(parts) or "nothing to install"
