"""The resolver: facts and settings in, a stack or a refusal out.

The rules are facts of the data file; the steps here only walk them, in the order in which one
choice depends on another: host, driver, toolkits, cuDNN, packages.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from gpuprep import codes
from gpuprep.model import DesiredStack, Refusal, Stack
from gpuprep.model.variables import variable_of
from gpuprep.resolve import packages as names
from gpuprep.resolve.case import Case, Refused
from gpuprep.resolve.choices import check_choices
from gpuprep.resolve.conda import choose_installer
from gpuprep.resolve.cuda import (
    choose_toolkits,
    toolkit_packages,
    toolkits_of,
    warn_about_toolkits,
)
from gpuprep.resolve.cudnn import choose_cudnn, cudnn_packages
from gpuprep.resolve.driver import Driver, choose_driver
from gpuprep.resolve.host import fabric_of, open_case

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Catalog
    from gpuprep.model import HostFacts, Package

_AUTOMATIC: dict[str, Any] = {
    field.name: getattr(DesiredStack(), field.name) for field in fields(DesiredStack)
}


def resolve(facts: HostFacts, desired: DesiredStack, catalog: Catalog) -> Stack | Refusal:
    """Decide which stack a host gets.

    Every choice carries its reason. A refusal names the clashing settings (``settings``), a minimal
    set: without them the host resolves, to the stack told in ``nearest``. A refusal without
    settings is forced by the host itself.
    """
    try:
        return _decide(facts, desired, catalog)
    except Refused as refused:
        return _explain(refused, facts, desired, catalog)


def _decide(facts: HostFacts, desired: DesiredStack, catalog: Catalog) -> Stack:
    check_choices(desired, catalog)
    case = open_case(facts, desired, catalog)
    driver = choose_driver(case)
    if driver is not None and case.manages_driver:
        names.check_secure_boot(case)
    stack = _parts(case, driver)
    if driver is not None:
        stack = _with_driver(stack, case, driver)
    return _locked(
        replace(stack, reasons=tuple(case.reasons), warnings=tuple(case.warnings)), desired
    )


def _parts(case: Case, driver: Driver | None) -> Stack:
    """Everything but the driver."""
    packages: tuple[Package, ...] = ()
    if driver is not None and case.manages_driver:
        packages += names.driver_packages(case, driver)
    stack = Stack(
        family=case.system.family,
        source=case.desired.source,
        manage_driver=case.manages_driver,
        repository=names.repository_of(case) if case.needs_repository else None,
        conda=choose_installer(case) if case.wants("conda") else None,
    )
    if case.wants("cuda") or case.wants("cudnn"):
        toolkits = choose_toolkits(case, driver)
        if case.wants("cuda"):
            warn_about_toolkits(case, toolkits)
            packages += toolkit_packages(case, toolkits, driver)
            stack = replace(stack, cuda=toolkits_of(case, toolkits))
        if case.wants("cudnn"):
            cudnn = choose_cudnn(case, tuple(dict.fromkeys(t.major for t in toolkits)))
            chosen = cudnn_packages(case, cudnn)
            packages += chosen
            stack = replace(stack, cudnn=cudnn.label, holds=tuple(p.name for p in chosen))
    return replace(stack, packages=packages)


def _with_driver(stack: Stack, case: Case, driver: Driver) -> Stack:
    stack = replace(
        stack,
        branch=driver.branch.name,
        driver_version=driver.exact,
        flavour=driver.flavour,
        fabric=fabric_of(case),
    )
    if not case.manages_driver:
        return stack
    from_nvidia = case.desired.source == "nvidia"
    return replace(
        stack,
        stream=names.stream_of(case, driver) if from_nvidia else None,
        lock=names.lock_of(case, driver) if from_nvidia else None,
        closure=names.closure_of(case),
        pin=names.pin_of(case, driver),
        services=names.services_of(case),
        rivals=names.rivals_of(case, driver) if case.manages_driver else (),
        dkms_toolset=names.toolset_of(case),
        module=names.module_of(case, driver),
        kernel_modules=names.kernel_modules_of(case),
    )


def _locked(stack: Stack, desired: DesiredStack) -> Stack:
    """Fix NVIDIA's packages at the versions of the lock; pinning packages follow the driver."""
    locked = desired.locked
    if locked is None:
        return stack
    bound = {p.name for p in stack.packages if p.origin == "nvidia" and not p.first}
    missing = sorted(bound - set(locked))
    if missing:
        raise Refused("E_LOCK_MISSING", "locked", packages=", ".join(missing))
    fixed = (replace(p, version=locked[p.name]) if p.name in bound else p for p in stack.packages)
    return replace(stack, packages=tuple(fixed), exact=locked)


def _explain(
    refused: Refused, facts: HostFacts, desired: DesiredStack, catalog: Catalog
) -> Refusal:
    """Find the smallest set of settings whose dropping helps, and what would be installed then."""
    fallen = _relax(refused, facts, desired, catalog)
    if isinstance(fallen, Refused):
        return _hopeless(refused, fallen)
    dropped, stack = fallen
    for setting in dropped:
        fewer = tuple(w for w in dropped if w != setting)
        attempt = _attempt(facts, _without(desired, fewer), catalog)
        if isinstance(attempt, Stack):
            dropped, stack = fewer, attempt
    return _refusal(refused, dropped, stack)


def _relax(
    refused: Refused, facts: HostFacts, desired: DesiredStack, catalog: Catalog
) -> Refused | tuple[tuple[str, ...], Stack]:
    """Drop one clashing setting after the other until the host resolves or none is to blame."""
    dropped: tuple[str, ...] = ()
    outcome: Stack | Refused = refused
    while isinstance(outcome, Refused):
        candidates = [
            w
            for w in outcome.settings
            if w not in dropped and getattr(desired, w) != _relaxed(desired, w)
        ]
        if not candidates:
            return outcome
        attempts = [
            (setting, _attempt(facts, _without(desired, (*dropped, setting)), catalog))
            for setting in candidates
        ]
        best = next((a for a in attempts if isinstance(a[1], Stack)), attempts[0])
        dropped, outcome = (*dropped, best[0]), best[1]
    return dropped, outcome


def _attempt(facts: HostFacts, desired: DesiredStack, catalog: Catalog) -> Stack | Refused:
    try:
        return _decide(facts, desired, catalog)
    except Refused as refused:
        return refused


def _without(desired: DesiredStack, settings: tuple[str, ...]) -> DesiredStack:
    return replace(desired, **{setting: _relaxed(desired, setting) for setting in settings})


def _relaxed(desired: DesiredStack, setting: str) -> Any:  # noqa: ANN401  (any field)
    if setting == "components":
        return tuple(part for part in desired.components if part != "driver")
    return _AUTOMATIC[setting]


def _refusal(
    refused: Refused,
    settings: tuple[str, ...] = (),
    stack: Stack | None = None,
) -> Refusal:
    text = codes.text(refused.code, **refused.values)
    return Refusal(refused.code, text, _nearest(settings, stack) if stack else None, settings)


def _hopeless(refused: Refused, fallen: Refused) -> Refusal:
    """Refuse where no dropping of settings helps, since the host itself forbids it."""
    deeper = None
    if fallen.code != refused.code:
        text = codes.text(fallen.code, **fallen.values)
        deeper = f"with no other settings either: {text} ({fallen.code})"
    return replace(_refusal(refused), nearest=deeper)


def _nearest(settings: tuple[str, ...], stack: Stack) -> str:
    parts = []
    if stack.branch:
        flavour = f" ({stack.flavour} modules)" if stack.flavour else ""
        parts.append(f"driver {stack.driver_version or stack.branch}{flavour}")
    parts += [f"CUDA {toolkit.version}" for toolkit in stack.cuda]
    if stack.cudnn:
        parts.append(f"cuDNN {stack.cudnn}")
    if stack.conda:
        parts.append(f"conda {stack.conda.version}")
    without = " and ".join(dict.fromkeys(map(variable_of, settings)))
    return f"without {without}: {', '.join(parts) or 'nothing to install'}"
