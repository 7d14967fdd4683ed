"""Whether the driver on a host follows the host's kernels: told before a reboot loses the GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.catalog.rules import host_rules
from gpuprep.model.names import matches
from gpuprep.model.variables import variable_of
from gpuprep.resolve.driver_kernel import words
from gpuprep.resolve.kernels import Kernel, obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.catalog import Catalog
    from gpuprep.catalog.tables import Archive
    from gpuprep.model import Flavour, Message
    from gpuprep.observe.observation import HostObservation

_WAITS = "which the next boot starts"
_FLAVOURS: tuple[Flavour, ...] = ("open", "proprietary")


def kernel_warnings(
    observation: HostObservation,
    catalog: Catalog,
    version: str | None,
    system: str,
    *,
    kept: bool,
) -> tuple[Message, ...]:
    """Return the warnings of kernels of a host that its driver does not build on.

    Args:
        observation: what the host said of itself.
        catalog: the facts.
        version: driver on the host, None when there is none.
        system: the host's system as the catalog calls it.
        kept: whether the driver is to stay as it is.

    """
    if version is None:
        return ()
    archive = catalog.archives.get(system)
    told = observation.driver_flavour
    flavours = (told,) if told else _FLAVOURS
    if archive is not None and _has_prebuilt(observation, archive):
        return ()
    entry = archive.branches.get(version.split(".", maxsplit=1)[0]) if archive else None
    mended = entry.mended if entry and entry.version == version else ()
    warnings = []
    for kernel, when in _kernels_without_module(observation, version):
        found = [
            (flavour, obstacle(catalog.kernels, kernel, version, flavour, mended))
            for flavour in flavours
        ]
        flavour, first = found[0]
        if first is not None and all(each for _, each in found):
            values = words(kernel, version, flavour, first)
            advice = _advice(kernel.release, kept=kept, waits=when == _WAITS)
            warning = host_rules().warning("W_DRIVER_KERNEL", when=when, advice=advice, **values)
            warnings.append(warning)
    return tuple(warnings)


def _advice(release: str, *, kept: bool, waits: bool) -> str:
    """Return what to set so that the host gets a driver that builds."""
    options = [f"-e {variable_of('keep_driver')}=auto"] if kept else []
    if waits:
        options.append(f"-e gpu_driver_kernel={release}")
    before = "before the reboot, " if waits else ""
    with_them = f" with {' '.join(options)}" if options else ""
    return f"{before}gpuprep apply{with_them} gives the host one that does"


def _kernels_without_module(
    observation: HostObservation, version: str
) -> Iterator[tuple[Kernel, str]]:
    """Return the kernels that need this driver's module and have none, each with what it is."""
    kernel, on_disk = observation.kernel, observation.modules.on_disk
    built = {module.kernel for module in on_disk if module.version == version}
    if observation.running_driver == version:
        built.add(kernel.running)
    named = {kernel.target: "which it is to be built for"}
    if kernel.is_running:
        named[kernel.running] = "which runs"
    if kernel.waiting:
        named[kernel.waiting] = _WAITS
    for release, when in named.items():
        if release not in built:
            yield Kernel(release, kernel.shown.get(release)), when


def _has_prebuilt(observation: HostObservation, archive: Archive) -> bool:
    """Return whether the host has modules that the archive built: no compiler is needed."""
    patterns = [name.format(b="*", kernel="*") for name in archive.signed.values()]
    return any(
        matches(name, patterns) and observation.is_installed(name) for name in observation.packages
    )
