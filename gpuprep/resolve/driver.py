"""Driver branch and kernel-module flavour."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from gpuprep import codes
from gpuprep.model.versions import at_least, key
from gpuprep.resolve import driver_kernel
from gpuprep.resolve.case import Case, Driver, Refused
from gpuprep.resolve.source import (
    candidates,
    is_locked_down,
    kernel_with_modules,
    next_kernel,
    takes_ready_modules,
    what_there_is,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.catalog.tables import Archive, Branch, Catalog
    from gpuprep.model import Flavour


def choose_driver(case: Case) -> Driver:
    """Return the driver that fits, or the one that is kept.

    Raises:
        Refused: no driver fits the GPUs and the settings.

    """
    if case.desired.keep_driver is not None:
        return _kept(case, case.desired.keep_driver)
    try:
        return _chosen(case)
    except Refused as refused:
        if refused.code != "E_READY_MODULES" or is_locked_down(case):
            raise
        return _built_instead(case, refused)


def _chosen(case: Case) -> Driver:
    branch, version, exact = _branch(case)
    _check_end_of_life(case, branch)
    flavour = _flavour(case, branch, version)
    if takes_ready_modules(case):
        _warn_of_next_kernel(case, branch.name, flavour)
    return Driver(branch, version, exact, flavour)


def _built_instead(case: Case, refused: Refused) -> Driver:
    """Return the archive's driver with modules that are built on the host: it has none ready."""
    running, newest = case.facts.kernel, next_kernel(case)
    if newest != running:
        raise refused
    case.builds_modules = True
    driver = _chosen(case)
    case.because("modules", "built on the host", codes.text(refused.code, **refused.values))
    return driver


def _warn_of_next_kernel(case: Case, branch: str, flavour: Flavour) -> None:
    kernel, following = (
        kernel_with_modules(case, archive_of(case), branch, flavour),
        candidates(case)[0],
    )
    if kernel != following:
        case.warn(
            "W_NEXT_KERNEL_MODULES", os=case.facts.os, b=branch, kernel=following, other=kernel
        )


def archive_of(case: Case) -> Archive:
    """Return the distribution's archive.

    Raises:
        Refused: no driver is known in it.

    """
    archive = case.catalog.archives.get(case.facts.os)
    if archive is None:
        raise Refused("E_DISTRO_SOURCE", "source", os=case.facts.os)
    return archive


def _kept(case: Case, version: str) -> Driver:
    branch = _known_branch(case, _branch_of(version), "keep_driver")
    _check_branch(case, branch, version, "keep_driver")
    case.because("branch", branch.name, f"driver {version} is kept as it is")
    _check_end_of_life(case, branch, "keep_driver")
    return Driver(branch, version, version, None)


def _branch(case: Case) -> tuple[Branch, str, str | None]:
    desired = case.desired
    if desired.version != "auto" and desired.branch not in {"auto", _branch_of(desired.version)}:
        raise Refused("E_DRIVER_VERSION", "version", version=desired.version, b=desired.branch)
    if desired.source == "distro":
        return _archive_branch(case)
    if desired.version != "auto":
        return _exact_version(case)
    if desired.branch != "auto":
        branch = _known_branch(case, desired.branch, "branch")
        _check_branch(case, branch, branch.latest, "branch")
        case.because("branch", branch.name, "asked for")
        return branch, branch.latest, None
    return _by_channel(case)


def _exact_version(case: Case) -> tuple[Branch, str, str]:
    version = case.desired.version
    branch = _known_branch(case, _branch_of(version), "version")
    _check_branch(case, branch, version, "version")
    case.because("branch", branch.name, f"version {version} asked for")
    return branch, version, version


def _by_channel(case: Case) -> tuple[Branch, str, None]:
    catalog = case.catalog
    channel = case.desired.channel
    line = catalog.channels[channel]
    others = dict.fromkeys(b for names in _channels(catalog) for b in names if b not in line)
    refusal: Refused | None = None
    for name in (*line, *others):
        branch = catalog.branches[name]
        try:
            _check_branch(case, branch, branch.latest)
            _check_proprietary(case, branch)
        except Refused as refused:
            refusal = refusal or refused
            continue
        _explain_branch(case, branch, refusal)
        return branch, branch.latest, None
    raise refusal or Refused("E_BRANCH_UNKNOWN", "channel", b="auto", known=", ".join(line))


def _channels(catalog: Catalog) -> Iterable[tuple[str, ...]]:
    """Return the branches of each channel, the default one's first."""
    yield catalog.channels[catalog.default_channel]
    yield from catalog.channels.values()


def _explain_branch(case: Case, branch: Branch, refusal: Refused | None) -> None:
    last = [gpu for gpu in case.gpus if gpu.arch.last_branch == branch.name]
    if last:
        why = f"last branch for {last[0].arch.name.capitalize()}"
        case.because("branch", branch.name, why, "architectures")
        return
    until = f"supported until {branch.eol}" if branch.eol else "end of life not announced"
    why = f"channel {case.desired.channel}, {until}, drives every GPU found"
    if refusal is not None:
        why = codes.text(refusal.code, **refusal.values)
    case.because("branch", branch.name, why, "branches")


def _archive_branch(case: Case) -> tuple[Branch, str, str | None]:
    desired = case.desired
    archive = archive_of(case)
    exact = None if desired.version == "auto" else desired.version
    asked = _branch_of(exact) if exact else desired.branch
    wanted = _as_it_became(case, archive, asked)
    refusal: Refused | None = None
    for name in _archive_order(archive) if wanted == "auto" else (wanted,):
        entry = archive.branches.get(name)
        if entry is None or not _may_have(archive, name, exact):
            break
        branch = _known_branch(case, name, "branch")
        try:
            _check_branch(case, branch, exact or entry.version, "source", "branch", "version")
            if not _packaged(case, archive, name):
                continue
            _check_ready(case, archive, name)
        except Refused as refused:
            refusal = refusal or refused
            continue
        why = f"in the archive of {case.facts.os}"
        if refusal is not None:
            why += f"; {codes.text(refusal.code, **refusal.values)}"
        case.because("branch", name, why, "archives")
        return branch, exact or entry.version, exact
    raise refusal or Refused(
        "E_DISTRO_BRANCH",
        "source",
        "branch",
        "version",
        "flavour",
        os=case.facts.os,
        b=wanted if wanted == asked else f"{asked}, which became {wanted}",
        flavour=desired.flavour,
        known=", ".join(f"{name} ({entry.version})" for name, entry in archive.branches.items()),
    )


def _may_have(archive: Archive, branch: str, version: str | None) -> bool:
    """Return whether an archive can have a version: Ubuntu's moves on within its branches."""
    if version is None or version == archive.branches[branch].version:
        return True
    return bool(archive.signed) and _branch_of(version) == branch


def _as_it_became(case: Case, archive: Archive, branch: str) -> str:
    """Return the branch that the archive installs by a branch's name."""
    became = archive.became.get(branch)
    if became is None:
        return branch
    case.warn("W_DISTRO_BRANCH_BECAME", b=branch, os=case.facts.os, became=became)
    return became


def _archive_order(archive: Archive) -> tuple[str, ...]:
    others = sorted((b for b in archive.branches if b != archive.default), key=key, reverse=True)
    return (archive.default, *others)


def _check_ready(case: Case, archive: Archive, branch: str) -> None:
    """Refuse a driver without ready modules for the kernels of a host that takes such."""
    if takes_ready_modules(case) and not _flavours_in(case, archive, branch):
        values = {"os": case.facts.os, "b": branch, "have": what_there_is(case, archive)}
        kernels = " and ".join(candidates(case))
        settings = ("branch", "version", "flavour", "source")
        raise Refused("E_READY_MODULES", *settings, kernel=kernels, **values)


def _flavours_in(case: Case, archive: Archive, branch: str) -> set[Flavour]:
    """Return the flavours that an archive has for the host: packaged, and ready for its kernel."""
    packaged = _packaged(case, archive, branch)
    if not takes_ready_modules(case):
        return packaged
    return {f for f in packaged if kernel_with_modules(case, archive, branch, f) is not None}


def _packaged(case: Case, archive: Archive, branch: str) -> set[Flavour]:
    packaged = {flavour for flavour, _ in archive.branches[branch].packages}
    wanted = {"open", "proprietary"} if case.desired.flavour == "auto" else {case.desired.flavour}
    possible = set.intersection(*(set(gpu.flavours) for gpu in case.gpus))
    return packaged & wanted & possible


def _branch_of(version: str) -> str:
    return version.split(".", maxsplit=1)[0]


def _known_branch(case: Case, name: str, setting: str) -> Branch:
    branch = case.catalog.branches.get(name)
    if branch is None:
        raise Refused("E_BRANCH_UNKNOWN", setting, b=name, known=", ".join(case.catalog.branches))
    return branch


def _check_branch(case: Case, branch: Branch, version: str, *settings: str) -> None:
    if case.desired.source == "nvidia" and not case.desired.keep_driver:
        _check_system(case, branch, *settings)
    for gpu in case.gpus:
        last = gpu.arch.last_branch
        if last is not None and key(branch.name) > key(last):
            raise Refused(
                "E_BRANCH_ARCH",
                *settings,
                b=branch.name,
                arch=gpu.arch.name,
                gpu=gpu.name,
                last=last,
            )
        if not at_least(version, gpu.min_driver):
            raise Refused(
                "E_BRANCH_GPU_MIN",
                *settings,
                gpu=gpu.name,
                need=gpu.min_driver,
                b=branch.name,
                have=version,
            )
    if not case.desired.keep_driver:
        _check_kernel(case, branch, version, *settings)


def _check_kernel(case: Case, branch: Branch, version: str, *settings: str) -> None:
    """Refuse a driver that the host's kernel lets be built in no flavour that fits."""
    found = [
        driver_kernel.refusal_of(case, version, flavour, *settings)
        for flavour in _flavours_that_fit(case, branch, version)
    ]
    refusals = [refusal for refusal in found if refusal is not None]
    if found and len(refusals) == len(found):
        raise refusals[0]


def _flavours_that_fit(case: Case, branch: Branch, version: str) -> list[Flavour]:
    """Return the flavours that GPUs, settings and packages leave, the preferred one first."""
    possible = set.intersection(*(set(gpu.flavours) for gpu in case.gpus))
    order: list[Flavour] = ["open", "proprietary"]
    if case.desired.source == "distro":
        archive = archive_of(case)
        possible = set(_flavours_in(case, archive, branch.name))
        order.sort(key=lambda flavour: flavour != archive.prefer)
    if case.desired.flavour != "auto":
        possible &= {case.desired.flavour}
    if not branch.proprietary:
        possible.discard("proprietary")
    if _open_obstacle(case, version) is not None:
        possible.discard("open")
    return [flavour for flavour in order if flavour in possible]


def _check_system(case: Case, branch: Branch, *settings: str) -> None:
    branches = case.system.branches
    if branch.name not in branches:
        values = {"os": case.facts.os, "b": branch.name, "known": str(branches)}
        raise Refused("E_BRANCH_SYSTEM", *settings, **values)


def _check_proprietary(case: Case, branch: Branch) -> None:
    if case.desired.flavour == "proprietary" and not branch.proprietary:
        raise Refused("E_PROPRIETARY_REMOVED", "branch", "version", "flavour")


def _check_end_of_life(case: Case, branch: Branch, setting: str = "branch") -> None:
    today = case.desired.as_of or dt.datetime.now(tz=dt.UTC).date().isoformat()
    if branch.eol is None or branch.eol >= today:
        return
    if not case.desired.allow_eol:
        raise Refused("E_BRANCH_EOL", "allow_eol", setting, b=branch.name, eol=branch.eol)
    case.warn("W_BRANCH_EOL", b=branch.name, eol=branch.eol)


def _flavour(case: Case, branch: Branch, version: str) -> Flavour:
    wanted = case.desired.flavour
    for gpu in case.gpus:
        if wanted not in {"auto", *gpu.flavours}:
            raise Refused(
                "E_FLAVOUR_ARCH",
                "flavour",
                gpu=gpu.name,
                arch=gpu.arch.name,
                flavour=wanted,
                allowed=" or ".join(gpu.flavours),
            )
    common = set.intersection(*(set(gpu.flavours) for gpu in case.gpus))
    if not common:
        detail = "; ".join(f"{gpu.name}: {' or '.join(gpu.flavours)}" for gpu in case.gpus)
        raise Refused("E_FLAVOUR_CONFLICT", detail=detail)
    _check_proprietary(case, branch)
    chosen = _open_or_proprietary(case, branch, version, common)
    case.because("flavour", chosen, _why_flavour(case, version, chosen, common), "gpus")
    return chosen


def _open_or_proprietary(case: Case, branch: Branch, version: str, common: set[Flavour]) -> Flavour:
    possible, preferred = common, "open"
    if case.desired.source == "distro":
        archive = archive_of(case)
        possible, preferred = set(_flavours_in(case, archive, branch.name)), archive.prefer
    wanted = case.desired.flavour if case.desired.flavour != "auto" else preferred
    obstacle = _obstacle(case, version, "open")
    closed = _obstacle(case, version, "proprietary")
    if wanted == "proprietary" and "proprietary" in possible and closed is None:
        return "proprietary"
    if "open" in possible and obstacle is None:
        return "open"
    if case.desired.flavour == "open" or "proprietary" not in possible:
        raise obstacle or Refused("E_FLAVOUR_CONFLICT", detail=", ".join(sorted(common)))
    if not branch.proprietary:
        raise Refused("E_PROPRIETARY_REMOVED", "branch", "version")
    return "proprietary"


def _obstacle(case: Case, version: str, flavour: Flavour) -> Refused | None:
    """Return why a flavour of a driver cannot be had on the host; None when it can."""
    if flavour == "open" and (obstacle := _open_obstacle(case, version)) is not None:
        return obstacle
    return driver_kernel.refusal_of(case, version, flavour)


def _open_obstacle(case: Case, version: str) -> Refused | None:
    for gpu in case.gpus:
        if not at_least(version, gpu.open_since):
            return Refused(
                "E_FLAVOUR_DRIVER",
                "flavour",
                "branch",
                "version",
                gpu=gpu.name,
                have=version,
                need=gpu.open_since,
            )
    need = case.catalog.driver.open_kernel_min
    if case.facts.kernel and not at_least(case.facts.kernel, need):
        return Refused("E_FLAVOUR_KERNEL", "flavour", need=need, have=case.facts.kernel)
    return None


def _why_flavour(case: Case, version: str, chosen: Flavour, common: set[Flavour]) -> str:
    if case.desired.flavour == chosen:
        return "asked for"
    if len(common) == 1:
        names = ", ".join(gpu.name for gpu in case.gpus if gpu.flavours == (chosen,))
        return f"the only one for {names}"
    other: Flavour = "proprietary" if chosen == "open" else "open"
    obstacle = _obstacle(case, version, other)
    if obstacle is not None and (other == "open" or case.desired.source == "distro"):
        return codes.text(obstacle.code, **obstacle.values)
    if chosen == "open":
        return "NVIDIA's default for every GPU that has it"
    return f"the one that the archive of {case.facts.os} can install"
