"""Per role: what has to be on the host, and how the host differs from it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from gpuprep.observe import running_driver
from gpuprep.packages.closure import is_installed, matches
from gpuprep.packages.deb import upstream_version, version_key
from gpuprep.planner.differences import (
    Differences,
    diff_files,
    diff_holds,
    diff_packages,
    diff_units,
    spec,
)
from gpuprep.planner.target import HEADER, CondaTarget, ManagedFile, RoleTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from gpuprep.model import Component, Package, Stack
    from gpuprep.observe import Observation
    from gpuprep.planner.settings import Settings

RolePlanner: TypeAlias = "Callable[[Differences, Observation, Stack, Settings], RoleTarget]"

REPOSITORY = "/etc/apt/sources.list.d/gpuprep-nvidia.sources"
KEYRING = "/usr/share/keyrings/gpuprep-nvidia.asc"
PREFERENCES = "/etc/apt/preferences.d/gpuprep-nvidia"
BLACKLIST = "/etc/modprobe.d/gpuprep-nouveau.conf"
MODULES = "/etc/modules-load.d/gpuprep.conf"
CUDA_PROFILE = "/etc/profile.d/gpuprep-cuda.sh"
CUDA_LINKER = "/etc/ld.so.conf.d/gpuprep-cuda.conf"
CONDA_PROFILE = "/etc/profile.d/gpuprep-conda.sh"
PATHS = (
    REPOSITORY,
    KEYRING,
    PREFERENCES,
    BLACKLIST,
    MODULES,
    CUDA_PROFILE,
    CUDA_LINKER,
    CONDA_PROFILE,
)


def repository_files(stack: Stack) -> tuple[ManagedFile, ...]:
    """Return the files through which the host trusts and prefers NVIDIA's repository."""
    repository = stack.repository
    if repository is None:
        return ()
    source = f"{HEADER}Types: deb\nURIs: {repository.url}\nSuites: /\nSigned-By: {KEYRING}\n"
    # One origin for everything named nvidia or cuda: mixing archives breaks dependencies.
    pin = f"{HEADER}Package: *\nPin: release o=NVIDIA\nPin-Priority: 600\n"
    if stack.pin:
        pin += f"\n{stack.pin.strip()}\n"
    # What packages need, apt takes the newest of; 1000 moves nothing down by itself.
    for name, version in stack.exact.items():
        pin += f"\nPackage: {name}\nPin: version {version}\nPin-Priority: 1000\n"
    return (
        ManagedFile(KEYRING, "key", key=repository.key),
        ManagedFile(REPOSITORY, "repository", source),
        ManagedFile(PREFERENCES, "pin", pin),
    )


def _of(stack: Stack, component: Component) -> list[Package]:
    return [p for p in stack.packages if p.component == component]


def _needs_index(found: Differences, stack: Stack, seen: Observation) -> bool:
    """Whether the package index must be read again before packages are installed."""
    if found.has("repository", "key"):
        return True
    if stack.repository is None:
        return False
    # apt names an index after its URL: it writes "/" as "_", and so "_" itself as "%5f".
    address = stack.repository.url.split("://", 1)[-1].rstrip("/")
    listed = address.replace("_", "%5f").replace("/", "_") + "_"
    return not any(name.startswith(listed) for name in seen["package_manager"]["indexes"])


def _shared_version(
    seen: Observation, patterns: Collection[str], branch: str | None = None
) -> str | None:
    """Return the version that most of the installed packages share, of several the newest.

    Args:
        seen: the observation.
        patterns: names that belong together.
        branch: driver branch that the version must be of.

    """
    versions = Counter(
        upstream_version(package["version"])
        for name, package in seen["packages"].items()
        if matches(name, patterns) and is_installed(seen["packages"], name)
    )
    inside = [v for v in versions if branch is None or v.startswith(f"{branch}.")]
    return max(inside, key=lambda v: (versions[v], version_key(v)), default=None)


def _strays(seen: Observation, stack: Stack, version: str | None) -> tuple[str, ...]:
    """Return installed driver packages of another branch, version or flavour, by their name."""
    roots = {package.name for package in stack.packages}
    strays = []
    for name in seen["packages"]:
        if name in roots or not is_installed(seen["packages"], name):
            continue
        marks = [part for part in name.split("-") if part[:3].isdigit()]
        another = any(_another(mark, stack.branch, version) for mark in marks)
        if (another and matches(name, stack.closure)) or matches(name, stack.rivals):
            strays.append(name)
    return tuple(sorted(strays))


def _stale_pins(found: Differences, seen: Observation, early: Sequence[Package]) -> tuple[str, ...]:
    """Find pins for another driver; a removed package leaves its preferences file in force."""
    patterns = [f"{package.name.rpartition('-')[0]}-*" for package in early]
    wanted = {package.name for package in early}
    stale = []
    for name, package in sorted(seen["packages"].items()):
        if name in wanted or not matches(name, patterns) or package["status"] == "not-installed":
            continue
        found.add("pin", name, "remove", f"{name} pins another driver", package["version"])
        stale.append(name)
    return tuple(stale)


def _another(mark: str, branch: str | None, version: str | None) -> bool:
    """Whether ``580`` or ``580.95.05`` in a package's name speaks of another driver."""
    if "." in mark and version is not None:
        return mark != version
    return mark.split(".", maxsplit=1)[0] != branch


def gpu_driver(
    found: Differences, seen: Observation, stack: Stack, settings: Settings
) -> RoleTarget:
    """Plan the driver: repository, pins, packages at one version, holds, module, units."""
    if not stack.manage_driver:
        return RoleTarget(found.role)
    files = [
        *repository_files(stack),
        ManagedFile(
            BLACKLIST, "blacklist", f"{HEADER}blacklist nouveau\noptions nouveau modeset=0\n"
        ),
    ]
    if stack.kernel_modules:
        text = HEADER + "".join(f"{name}\n" for name in stack.kernel_modules)
        files.append(ManagedFile(MODULES, "modules", text))
    diff_files(found, seen, files)
    packages = _of(stack, "driver")
    early = [p for p in packages if p.first]
    version = stack.driver_version or _shared_version(seen, stack.closure, stack.branch)
    strays = _strays(seen, stack, version) if stack.source == "nvidia" else ()
    bound = (*stack.closure, *(f"!{n}" for n in strays)) if stack.source == "nvidia" else ()
    purge = _stale_pins(found, seen, early)
    pins = diff_packages(found, seen, early, ())
    main = diff_packages(
        found,
        seen,
        [p for p in packages if not p.first],
        stack.closure,
        version=version,
        bound=bound,
        exact=stack.exact,
    )
    for name in strays:
        reason = f"{name} belongs to another driver than {version or stack.branch} {stack.flavour}"
        found.add("package", name, "remove", reason, seen["packages"][name]["version"])
    moving = found.has("package")
    patterns = (*stack.closure, *(p.name for p in early))
    diff_holds(found, seen, patterns, bare=moving)
    kernel = seen["kernel"]["release"]
    built = [m for m in seen["modules"]["on_disk"] if m["name"] in {"nvidia", stack.module}]
    if not moving and not _module_fits(built, version, kernel):
        versions = ", ".join(sorted({str(m["version"]) for m in built})) or None
        reason = f"no module of this driver is built for kernel {kernel}"
        found.add("module", kernel, "build", reason, versions, version)
    diff_units(found, seen, stack.services)
    initramfs = _diff_initramfs(found, seen)
    load, reboot = _diff_loaded(found, seen, version, stack.module, settings)
    return RoleTarget(
        found.role,
        files=tuple(files),
        early=pins.wanted,
        packages=main.wanted,
        remove=strays,
        purge=purge,
        bound=bound,
        version=f"{version}-*" if version else f"{stack.branch}.*",
        hold=patterns,
        units=stack.services,
        kernel=kernel,
        load=load,
        initramfs=initramfs,
        reboot=reboot,
    )


def _module_fits(built: Sequence[dict[str, str]], version: str | None, kernel: str) -> bool:
    return any(
        module["vermagic"] == kernel and (version is None or module["version"] == version)
        for module in built
    )


def _diff_initramfs(found: Differences, seen: Observation) -> bool:
    """Find an initial RAM disk that is older than the nouveau blacklist."""
    if not seen["commands"].get("update-initramfs") or not seen["initramfs"]:
        return False
    blacklist = seen["files"].get(BLACKLIST) or {}
    stale = any(made < blacklist.get("mtime", 0) for made in seen["initramfs"].values())
    if stale or found.has("blacklist"):
        reason = "the initial RAM disk was made before the nouveau blacklist"
        found.add("initramfs", seen["kernel"]["release"], "rebuild", reason)
        return True
    return False


def _diff_loaded(
    found: Differences, seen: Observation, version: str | None, module: str, settings: Settings
) -> tuple[str | None, bool]:
    """Find a loaded module that is not the installed one: module to load, whether to reboot."""
    kernel = seen["kernel"]
    if kernel["release"] != kernel["running"] or not kernel["loads_modules"]:
        return None, False
    loaded = running_driver(seen)
    nouveau = "nouveau" in seen["modules"]["loaded"]
    stale = loaded is not None and (found.has("package") or loaded != version)
    if nouveau or stale:
        held = "nouveau" if nouveau else str(loaded)
        reason = f"the kernel runs {held}, not the installed driver"
        if not settings.reboot_allowed:
            reason += "; gpu_driver_reboot_allowed is false, so this is left to you"
        found.add("reboot", "host", "reboot", reason, held, version)
        return None, True
    if loaded is None:
        found.add("load", module, "load", "the kernel module is not loaded", None, version)
        return module, False
    return None, False


def cuda_toolkit(
    found: Differences, seen: Observation, stack: Stack, settings: Settings
) -> RoleTarget:
    """Plan the toolkits: packages, default link, shell profile, linker path."""
    del settings
    if not stack.cuda:
        return RoleTarget(found.role)
    machine = {"x86_64": "x86_64", "aarch64": "sbsa"}[seen["arch"]]
    profile = (
        f"{HEADER}export CUDA_HOME=/usr/local/cuda\n"
        'case ":${PATH}:" in\n  *:/usr/local/cuda/bin:*) ;;\n'
        "  *) PATH=/usr/local/cuda/bin:$PATH ;;\nesac\n"
    )
    files = (
        *repository_files(stack),
        ManagedFile(CUDA_PROFILE, "profile", profile),
        ManagedFile(
            CUDA_LINKER, "linker", f"{HEADER}/usr/local/cuda/targets/{machine}-linux/lib\n"
        ),
    )
    diff_files(found, seen, files)
    patterns = tuple(pattern for toolkit in stack.cuda for pattern in toolkit.closure)
    main = diff_packages(found, seen, _of(stack, "cuda"), patterns, exact=stack.exact)
    value = f"/usr/local/cuda-{stack.cuda[0].version}"
    link = seen["cuda"]["alternative"]
    if link["value"] != value or link["mode"] != "manual" or seen["cuda"]["default"] != value:
        reason = f"/usr/local/cuda is not fixed to {value}"
        before = seen["cuda"]["default"] and f"{seen['cuda']['default']} ({link['mode']})"
        found.add("alternative", "cuda", "set", reason, before, f"{value} (manual)")
    return RoleTarget(found.role, files=files, packages=main.wanted, alternative=value)


def cudnn(found: Differences, seen: Observation, stack: Stack, settings: Settings) -> RoleTarget:
    """Plan cuDNN: runtime and headers at one version, held."""
    del settings
    packages = _of(stack, "cudnn")
    if not packages:
        return RoleTarget(found.role)
    files = repository_files(stack)
    diff_files(found, seen, files)
    wanted: list[str] = []
    for major in sorted({_cuda_major(package.name) for package in packages}):
        names = [name for name in stack.holds if _cuda_major(name) == major]
        roots = [package for package in packages if package.name in names]
        # Installed ones stay where they are, all at one version; new ones are the newest.
        asked = (upstream_version(root.version) for root in roots if root.version)
        version = next(asked, None) or _shared_version(seen, names)
        wanted += diff_packages(found, seen, roots, names, version=version, bound=names).wanted
    diff_holds(found, seen, stack.holds, bare=found.has("package"))
    return RoleTarget(found.role, files=files, packages=tuple(wanted), hold=stack.holds)


def _cuda_major(name: str) -> str:
    """CUDA major version in a cuDNN package's name, empty when there is none (series 8)."""
    return name.partition("-cuda-")[2]


def conda(found: Differences, seen: Observation, stack: Stack, settings: Settings) -> RoleTarget:
    """Plan conda: installation, system-wide configuration, profile, environments."""
    installer = stack.conda
    if installer is None:
        return RoleTarget(found.role)
    prefix = settings.conda_prefix
    there = seen["conda"]
    marker = json.dumps({"installer": installer.version, "sha256": installer.sha256}) + "\n"
    _diff_installation(found, seen, installer.version, json.loads(marker))
    files = _conda_files(settings, marker)
    diff_files(found, seen, files)
    for setting in settings.environments:
        env = there["envs"].get(setting.name)
        if env is None:
            found.add(
                "environment", setting.name, "create", f"environment {setting.name} does not exist"
            )
            continue
        mark = env["marker"] or {}
        if mark.get("digest") != setting.digest:
            reason = f"the specification of {setting.name} is another than it was made from"
            found.add("environment", setting.name, "update", reason)
            continue
        gone = [n for n, v in mark.get("packages", {}).items() if env["packages"].get(n) != v]
        if gone:
            reason = f"{setting.name} lost or changed: {', '.join(sorted(gone))}"
            found.add("environment", setting.name, "update", reason)
    target = CondaTarget(prefix, installer, marker, not there["exists"], settings.environments)
    return RoleTarget(found.role, files=files, conda=target)


def _diff_installation(
    found: Differences, seen: Observation, version: str, marker: dict[str, str]
) -> None:
    there = seen["conda"]
    if not there["complete"]:
        reason = (
            "conda is not installed" if not there["exists"] else "the installation is not whole"
        )
        found.add("installation", there["prefix"], "install", reason, None, version)
    elif there["marker"] != marker:
        before = (there["marker"] or {}).get("installer") or f"conda {there['version']}"
        reason = "conda was installed by another installer"
        found.add("installation", there["prefix"], "upgrade", reason, before, version)


def condarc_path(prefix: str) -> str:
    """Return the path of the system-wide configuration of a conda prefix."""
    return f"{prefix}/.condarc"


def marker_path(prefix: str) -> str:
    """Return the path of the note that tells which installer made a conda prefix.

    Not called ``*.json``: conda takes each such file there for the record of a package.
    """
    return f"{prefix}/conda-meta/gpuprep"


def _conda_files(settings: Settings, marker: str) -> tuple[ManagedFile, ...]:
    prefix = settings.conda_prefix
    lines = [HEADER.rstrip(), "channels:", *(f"  - {name}" for name in settings.conda_channels)]
    lines += ["auto_activate_base: false", "channel_priority: strict"]
    if settings.conda_channel_alias:
        lines.append(f"channel_alias: {settings.conda_channel_alias}")
    profile = (
        f"{HEADER}[ ! -r {prefix}/etc/profile.d/conda.sh ] || . {prefix}/etc/profile.d/conda.sh\n"
    )
    return (
        ManagedFile(condarc_path(prefix), "condarc", "\n".join(lines) + "\n"),
        ManagedFile(CONDA_PROFILE, "profile", profile),
        ManagedFile(marker_path(prefix), "marker", marker),
    )


def needs_index(found: Differences, stack: Stack, seen: Observation) -> bool:
    """Whether the package index must be refreshed before this role installs packages."""
    return found.has("package") and _needs_index(found, stack, seen)


PLANNERS: dict[str, RolePlanner] = {
    "gpu_driver": gpu_driver,
    "cuda_toolkit": cuda_toolkit,
    "cudnn": cudnn,
    "conda": conda,
}

__all__ = ["PATHS", "PLANNERS", "condarc_path", "marker_path", "needs_index", "spec"]
