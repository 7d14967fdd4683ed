"""Package names, repository and pins of a driver: the catalog's rules filled in."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gpuprep.model import Family, Package, Pin, Repository, SigningKey
from gpuprep.model.versions import key
from gpuprep.resolve.case import Case, Driver, Refused
from gpuprep.resolve.driver import archive_of
from gpuprep.resolve.host import fabric_of
from gpuprep.resolve.source import is_locked_down, kernel_with_modules, takes_ready_modules

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Archive, DriverNames
    from gpuprep.model import Flavour


def repository_of(case: Case) -> Repository:
    """Return NVIDIA's repository for the host, or the mirror that stands in for it."""
    rules, system = case.catalog.repositories, case.system
    names = {
        "base": (case.desired.mirror or rules.base).rstrip("/"),
        "distro": system.distro,
        "arch": rules.arch_dir[case.facts.arch],
    }
    key_url = rules.key_url.format(file=system.key.file, **names)
    where = "mirror" if case.desired.mirror else "NVIDIA's repository"
    url = rules.directory.format(**names)
    case.because("repository", url, f"{where} for {case.facts.os}", "repositories")
    own = case.desired.mirror_fingerprint
    key = (
        SigningKey(key_url, own.upper())
        if own
        else SigningKey(key_url, system.key.fingerprint, system.key.sha256)
    )
    return Repository(url, system.family, key, rules.origin, rules.elsewhere)


def driver_packages(case: Case, driver: Driver) -> tuple[Package, ...]:
    """Return everything the driver needs, in order: pins, compiler, headers, driver, fabric.

    rpm may install what a module is built with after the driver, whose scriptlet then builds
    nothing: there compiler and headers come in a transaction before. With deb, DKMS builds when
    headers come later.
    """
    if takes_ready_modules(case):
        return tuple(_from_archive(case, driver))
    before = (*_toolset_packages(case), *_headers(case))
    if case.desired.source == "distro":
        return (*before, *_from_archive(case, driver))
    own = [Package(name, "driver") for name in _from_nvidia(case, driver)]
    return (*_first(case, driver), *before, *own, *_fabric_packages(case, driver))


def version_locked_of(case: Case) -> tuple[str, ...]:
    """Return the name patterns of packages that must share the driver's version."""
    if case.desired.source == "distro":
        return archive_of(case).closure
    return case.catalog.driver.closure[case.system.family]


def services_of(case: Case) -> tuple[str, ...]:
    """Return the units that must run beside the driver."""
    fabric = case.catalog.fabrics.get(fabric_of(case))
    return case.catalog.driver.services + (fabric.services if fabric else ())


def module_of(case: Case, driver: Driver) -> str:
    """Return the kernel module's file name as modinfo knows it."""
    if case.desired.source == "distro":
        return archive_of(case).branches[driver.branch.name].module
    return case.catalog.driver.module


def kernel_modules_of(case: Case) -> tuple[str, ...]:
    """Return other kernel modules that must be loaded at boot."""
    fabric = case.catalog.fabrics.get(fabric_of(case))
    return fabric.kernel_modules if fabric else ()


def stream_of(case: Case, driver: Driver) -> str | None:
    """Return the module stream; None where there are no streams."""
    stream = _names(case, driver).stream
    flavour = _flavour(driver)
    return stream[flavour].format(b=driver.branch.name) if flavour in stream else None


def version_locks_of(case: Case, driver: Driver) -> tuple[str, ...]:
    """Return the raw lines of the version lock; none where packages are held by name."""
    if case.system.family != Family.RPM:
        return ()
    lock = case.catalog.driver.lock
    version = driver.exact or f"{driver.branch.name}.*"
    return tuple(
        lock.line.format(name=name, epoch=epoch, version=version)
        for name, epochs in lock.names
        for epoch in epochs
    )


def pins_of(case: Case, driver: Driver) -> tuple[Pin, ...]:
    """Return the rules for what no pinning package holds.

    That is a branch without such a package, an exact version from the distribution's archive, and
    NVIDIA's own driver where only the archive's is wanted but the repository is there.
    """
    locked = version_locked_of(case)
    if case.desired.source != "distro":
        if driver.branch.pin or case.system.family == Family.RPM:  # that has a version lock
            return ()
        branch = None if driver.exact else driver.branch.name
        return (Pin(locked, version=driver.exact, branch=branch),)
    pins = [Pin(locked, version=driver.exact)] if driver.exact else []
    if case.needs_repository:
        foreign = case.catalog.driver.closure[case.system.family]
        origin = case.catalog.repositories.origin
        pins.append(Pin(foreign, prefer=False, origin=origin))
    return tuple(pins)


def conflicting_of(case: Case, driver: Driver) -> tuple[str, ...]:
    """Return the name patterns of packages that must go when ours come.

    Those of NVIDIA's other flavour; beside modules that come ready, those that would build their
    own, which depmod prefers.
    """
    if case.desired.source == "distro":
        building = archive_of(case).dkms if ready_modules_of(case, driver) else {}
        return tuple(dict.fromkeys(name.format(b="*") for name in building.values()))
    own = _flavour(driver)
    names: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for rule in case.catalog.driver.names[case.system.names]:
        for (flavour, _profile), templates in rule.packages.items():
            names[flavour == own] |= dict.fromkeys(t.format(b="*") for t in templates)
    conflicting = [name for name in names[False] if name not in names[True]]
    return (*conflicting, *(f"!{name}" for name in names[True]))


def toolset_of(case: Case) -> str | None:
    """Return the compiler DKMS must use when the kernel's gcc is not the system's."""
    major = _kernel_gcc(case.facts.kernel_cc)
    # A host without a compiler gets the system's default one together with DKMS.
    system = case.facts.system_gcc or case.system.gcc
    if major is None or system is None or major == system:
        return None
    if case.system.gccs and major not in case.system.gccs:
        case.warn("W_KERNEL_GCC", kernel=major, os=case.facts.os, gcc=system)
        return None
    return case.catalog.driver.toolset[case.system.family].format(major=major)


def check_secure_boot(case: Case) -> None:
    """Refuse modules that Secure Boot would not load.

    Raises:
        Refused: DKMS would build an unsigned module.

    """
    if is_locked_down(case) and not takes_ready_modules(case):
        raise Refused("E_SECURE_BOOT_UNSIGNED", "source")


def _flavour(driver: Driver) -> Flavour:
    return driver.flavour or "open"


def _first(case: Case, driver: Driver) -> list[Package]:
    rules = case.catalog.driver
    if case.system.family == Family.RPM:
        names = (*case.system.dkms_from, rules.lock.package)
        return [Package(name, "driver", pre_install=True, origin="distro") for name in names]
    if driver.branch.pin:
        name = rules.pin_package.format(branch_or_version=driver.exact or driver.branch.name)
        return [Package(name, "driver", pre_install=True)]
    case.warn("W_NO_SUCH_PIN", b=driver.branch.name)
    return []


def _names(case: Case, driver: Driver) -> DriverNames:
    rule_set = case.catalog.driver.names[case.system.names]
    return next(names for names in rule_set if driver.branch.name in names.branches)


def _from_nvidia(case: Case, driver: Driver) -> list[str]:
    templates = _names(case, driver).packages[_flavour(driver), case.desired.profile]
    return [template.format(b=driver.branch.name) for template in templates]


def _fabric_packages(case: Case, driver: Driver) -> list[Package]:
    kind = fabric_of(case)
    if kind == "none":
        return []
    fabric = case.catalog.fabrics[kind]
    rules = fabric.packages[case.system.family]
    names = next(rule.names for rule in rules if driver.branch.name in rule.branches)
    case.because("fabric", kind, "by shape or GPU", "fabrics")
    own = [Package(name.format(b=driver.branch.name), "driver") for name in names]
    return own + [Package(name, "driver", origin="distro") for name in fabric.from_distro]


def _from_archive(case: Case, driver: Driver) -> list[Package]:
    archive = archive_of(case)
    branch, flavour = driver.branch.name, _flavour(driver)
    names = list(archive.branches[branch].packages[flavour, case.desired.profile])
    names += ready_modules_of(case, driver).values() or _archive_modules(archive, flavour)
    names += _archive_fabric(case, archive)
    return [Package(name.format(b=branch), "driver", origin="distro") for name in names]


def ready_modules_of(case: Case, driver: Driver) -> dict[str, str]:
    """Return the package with ready modules by kernel: that which the next boot starts.

    Each kernel's modules are of the release that was there with it: those of the running one and of
    a newer one may exclude each other. The running one, where the next boot's has none yet.
    """
    if not takes_ready_modules(case):
        return {}
    archive, flavour, branch = archive_of(case), _flavour(driver), driver.branch.name
    kernel = kernel_with_modules(case, archive, branch, flavour)
    if kernel is None:  # choose_driver() refuses that
        return {}
    return {kernel: archive.signed[flavour].format(b=branch, kernel=kernel)}


def signer_of(case: Case) -> str | None:
    """Return who must have signed the modules; None = whoever."""
    return archive_of(case).signer if takes_ready_modules(case) else None


def elsewhere_of(case: Case, driver: Driver) -> tuple[str, ...]:
    """Return the name patterns of packages that another source of drivers left, or another one."""
    archive = case.catalog.archives.get(case.facts.os)
    if archive is None or not archive.own:
        return ()
    if case.desired.source == "nvidia":
        return (*archive.own, *archive.signed_names)
    nvidias = (*case.catalog.driver.closure[case.system.family], *_plain_names(case))
    flavour = _flavour(driver)
    modules = (archive.signed[flavour], *archive.signed_parts[flavour])
    ours = (form.format(b=driver.branch.name, kernel="[0-9]*") for form in modules)
    return (*nvidias, *archive.signed_names, *(f"!{name}" for name in (*archive.own, *ours)))


def stale_of(case: Case) -> tuple[str, ...]:
    """Return the name patterns of packages that hold a driver of NVIDIA's, where it must go."""
    if case.desired.source != "distro" or case.system.family == Family.RPM:
        return ()
    return (case.catalog.driver.pin_package.format(branch_or_version="*"),)


def _plain_names(case: Case) -> list[str]:
    """Return what people install from NVIDIA's directories, as patterns."""
    return [
        template.format(b="*")
        for rule in case.catalog.driver.names[case.system.names]
        for templates in rule.packages.values()
        for template in templates
    ]


def _archive_modules(archive: Archive, flavour: Flavour) -> list[str]:
    return [archive.dkms[flavour]] if archive.dkms else []


def _archive_fabric(case: Case, archive: Archive) -> tuple[str, ...]:
    kind = fabric_of(case)
    if kind == "none":
        return ()
    if kind not in archive.fabric:
        names = ", ".join(dict.fromkeys(gpu.name for gpu in case.gpus))
        raise Refused("E_DISTRO_FABRIC", "source", gpu=names, fabric=kind, os=case.facts.os)
    case.because("fabric", kind, "by shape or GPU", "fabrics")
    return archive.fabric[kind]


def _toolset_packages(case: Case) -> list[Package]:
    toolset = toolset_of(case)
    if toolset is None:
        return []
    why = f"the kernel was built with gcc {_kernel_gcc(case.facts.kernel_cc)}, "
    why += f"the system's is {case.facts.system_gcc or case.system.gcc}"
    case.because("dkms_toolset", toolset, why, "kernel_headers")
    return [Package(toolset, "driver", pre_install=_builds_once(case), origin="distro")]


def _headers(case: Case) -> list[Package]:
    kernel = case.facts.kernel
    if kernel is None:
        return []
    rules = case.catalog.headers[case.system.kernels]
    rule = next(rule for rule in rules if fnmatchcase(kernel, rule.match))
    names = {"kernel": kernel, "kernel_no_variant": kernel.split("+", maxsplit=1)[0]}
    return [
        Package(
            name.format(**names),
            "driver",
            version.format(**names) if version else None,
            pre_install=_builds_once(case),
            origin="distro",
        )
        for name, version in rule.packages.items()
    ]


def _builds_once(case: Case) -> bool:
    """Return whether modules are built only while the driver's own packages are installed."""
    return case.system.family == Family.RPM


def _kernel_gcc(compiler: str | None) -> int | None:
    """Return gcc's major version from CONFIG_CC_VERSION_TEXT: ``gcc (GCC) 14.2.1 2025...``."""
    if not compiler or "gcc" not in compiler.lower():
        return None
    words = compiler.replace("-", " ").split()
    dotted = next((word for word in words if word[:1].isdigit() and "." in word), None)
    return key(dotted)[0] if dotted else None
