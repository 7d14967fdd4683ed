"""A host's kernel in the choice of its driver: what is refused, told and warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep import codes
from gpuprep.resolve import kernels
from gpuprep.resolve.case import Case, Driver, Refused
from gpuprep.resolve.source import kernel_with_modules, takes_ready_modules, what_there_is

if TYPE_CHECKING:
    from gpuprep.resolve.kernels import Kernel, Obstacle

CHOICE = "kernels"  # of the reason that says which kernels a driver carries


def refusal_of(case: Case, version: str, flavour: str, *settings: str) -> Refused | None:
    """Return why a driver cannot be built for the host's kernel; None when it can, as far as known.

    Args:
        case: the host.
        version: driver release.
        flavour: of its kernel modules.
        settings: settings that ask for it.

    """
    kernel = kernels.kernel_of(case.facts)
    if kernel is None or _is_prebuilt(case):
        return None
    found = kernels.obstacle(case.catalog.kernels, kernel, version, flavour, _mended(case, version))
    if found is None:
        return None
    values = words(kernel, version, flavour, found)
    return Refused("E_DRIVER_KERNEL", "flavour", *settings, **values)


def words(kernel: Kernel, version: str, flavour: str, found: Obstacle) -> dict[str, str]:
    """Return what the messages about a driver and a kernel name."""
    branch = version.split(".", maxsplit=1)[0]
    how = "its headers show it"
    if not found.shown:
        how = "told by its number"
        how += "; its headers are not there to look into" if kernel.headers is None else ""
    return {
        "have": version,
        "flavour": flavour,
        "kernel": kernel.release,
        "what": found.change.what,
        "how": how,
        "fix": f"branch {branch} builds on it from {found.fixed} on"
        if found.fixed
        else f"no release of branch {branch} does",
    }


def oldest_of(case: Case, driver: Driver) -> str | None:
    """Return the oldest release of the driver's branch that builds on the host's kernel.

    None: an exact release is asked for, or no release is known that does not build.
    """
    kernel = kernels.kernel_of(case.facts)
    if kernel is None or driver.exact or driver.flavour is None or _is_prebuilt(case):
        return None
    mended = _mended(case, driver.version)
    table = case.catalog.kernels
    return kernels.oldest_of_branch(table, kernel, driver.version, driver.flavour, mended)


def explain(case: Case, driver: Driver) -> None:
    """Note which kernels the driver carries, and warn of a kernel that is newer than all known."""
    if _is_prebuilt(case):
        _explain_prebuilt(case, driver)
        return
    for flavour in (driver.flavour,) if driver.flavour else ("open", "proprietary"):
        _explain(case, driver, flavour)
    kernel = kernels.kernel_of(case.facts)
    table = case.catalog.kernels
    if kernel is not None and case.manages_driver and kernels.is_untried(table, kernel):
        case.warn("W_KERNEL_UNTRIED", kernel=kernel.release, newest=table.newest_seen)


def _explain(case: Case, driver: Driver, flavour: str) -> None:
    mended = _mended(case, driver.version)
    told = kernels.carried(case.catalog.kernels, driver.version, flavour, mended)
    why = f"driver {driver.version} with {flavour} modules"
    if told.change is not None:
        why += f": later ones changed what it needs ({told.change.what})"
    elif told.seen:
        why += " was seen to build there; nothing is known that breaks it"
    if told.except_for:
        older = ", ".join(release.replace("*", "") for release in told.except_for)
        why += f"; nor on {older} and later ones of each series"
    kernel = kernels.kernel_of(case.facts)
    if kernel is not None and kernel.headers is None:
        why += f"; {kernel.release} is judged by its number, its headers are not there"
    refused = refusal_of(case, driver.version, flavour)
    if refused is not None:  # a driver that is kept
        why += f"; {codes.text(refused.code, **refused.values)}"
    case.because(CHOICE, told.words, why, "kernel_changes")


def _explain_prebuilt(case: Case, driver: Driver) -> None:
    archive = case.catalog.archives[case.facts.os]
    branch, flavour = driver.branch.name, driver.flavour or archive.prefer
    kernel = kernel_with_modules(case, archive, branch, flavour) or ""
    why = f"the archive of {case.facts.os} has signed modules for each of its kernels"
    if case.facts.ready_modules is not None:
        why = f"signed modules, by the host's package index: {what_there_is(case, archive)}"
    case.because(CHOICE, kernel, why, "archives")


def _is_prebuilt(case: Case) -> bool:
    """Return whether the modules come built, so that no kernel's interface matters here."""
    return case.manages_driver and takes_ready_modules(case)


def _mended(case: Case, version: str) -> tuple[str, ...]:
    """Return the changes that the patches of the distribution's package follow."""
    archive = case.catalog.archives.get(case.facts.os)
    if case.desired.source != "distro" or archive is None:
        return ()
    entry = archive.branches.get(version.split(".", maxsplit=1)[0])
    return entry.mended if entry is not None and entry.version == version else ()
