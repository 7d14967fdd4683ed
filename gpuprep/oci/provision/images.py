"""Which image a fleet boots from, and whether gpuprep can prepare what it holds. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gpuprep import codes
from gpuprep.packages.support import Support, support_of, supported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuprep.catalog import Catalog
    from gpuprep.model import Refusal
    from gpuprep.oci.provision.desired import ImageChoice

# The system's name in a fleet file: OCI's name, the catalog's, the login user of its images.
_SYSTEMS: Final = {
    "ubuntu": ("Canonical Ubuntu", "ubuntu", "ubuntu"),
    "oracle-linux": ("Oracle Linux", "ol", "opc"),
    "debian": ("Debian", "debian", "debian"),
}
_GPU_BUILD: Final = "Gen2-GPU"


def oci_name(os: str) -> str:
    """Return OCI's name of a system."""
    return _SYSTEMS[os][0]


def system_of(operating_system: str, version: str) -> str:
    """Return the catalog's name of an image's system; the plain words when it has none."""
    for name, ours, _ in _SYSTEMS.values():
        if name == operating_system:
            # Oracle Linux is compatible within a major release, the others name the whole one.
            release = version.split(".", maxsplit=1)[0] if ours == "ol" else version
            return f"{ours}-{release}"
    return f"{operating_system} {version}".strip() or "unknown"


def login_of(operating_system: str) -> str | None:
    """Return the login user of an image's system; None when it is not known."""
    return next((user for name, _, user in _SYSTEMS.values() if name == operating_system), None)


def check_system(system: str, arch: str, catalog: Catalog, choice: ImageChoice) -> Refusal | None:
    """Return why hosts of this system are not launched: nothing could be done with them."""
    known = catalog.systems.get(system)
    proven = supported(catalog, Support.PROVEN)
    if known is None:
        return codes.refusal("E_OCI_SYSTEM", system=system, level="not in the catalog",
                             proven=proven)  # fmt: skip
    level = support_of(known, arch) if arch in known.arches else Support.EXPLAINED
    fine = level is Support.PROVEN or (choice.unproven and level is Support.INSTALLED)
    if fine:
        return None
    return codes.refusal("E_OCI_SYSTEM", system=f"{system} on {arch}", level=level, proven=proven)


def newest(images: Iterable[Mapping[str, Any]], arch: str, choice: ImageChoice) -> Any:  # noqa: ANN401 - JSON
    """Return the newest image of the platform that fits; None when there is none."""
    fitting = [
        one
        for one in images
        if ("aarch64" in (one.get("displayName") or "")) == (arch == "aarch64")
        and (_GPU_BUILD in (one.get("displayName") or "")) == choice.gpu_image
        and one.get("lifecycleState", "AVAILABLE") == "AVAILABLE"
    ]
    return max(
        fitting,
        key=lambda one: (one.get("timeCreated") or "", one.get("displayName") or ""),
        default=None,
    )
