"""The driver as Ubuntu cuts it into packages: NVIDIA's for its directories, and the archive's.

The files are those of the Debian packages. Names and relations follow package lists of hosts and
the archive's own listings; what was not seen there is said in docs/testing.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.nvrepo import driver as debian
from sandbox.nvrepo import fabric
from sandbox.nvrepo.deb import Deb, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sandbox.nvrepo.driver import Driver, Flavour

# A package of Ubuntu's and the Debian packages whose files it has.
_LIBRARIES = {
    "libnvidia-compute": (
        *("libcuda1", "libnvidia-ml1", "libnvidia-ptxjitcompiler1", "libnvidia-nvvm4"),
        *("nvidia-opencl-icd", "libnvidia-gpucomp"),
    ),
    "libnvidia-cfg1": ("libnvidia-cfg1",),
    "libnvidia-gl": ("libnvidia-glcore", "libnvidia-eglcore"),
}
_UNIT = "usr/lib/systemd/system/nvidia-persistenced.service"
_RULES = "usr/lib/udev/rules.d/71-nvidia.rules"
_START = (
    'ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", SUBSYSTEM=="drivers", '
    'RUN+="/bin/systemctl start --no-block nvidia-persistenced.service"\n'
)


@dataclass(frozen=True, slots=True)
class Cut:
    """How one repository names and versions a driver.

    Attributes:
        driver: the driver.
        suffix: what names carry: ``-580``, ``-580-server`` or nothing.
        version: version of the packages.
        archive: whether it is Ubuntu's own archive.

    """

    driver: Driver
    suffix: str
    version: str
    archive: bool

    def named(self, stem: str, flavour: Flavour = "proprietary") -> str:
        """Return the name of a package; that of the open flavour ends in ``-open``."""
        return f"{stem}{self.suffix}{'-open' if flavour == 'open' else ''}"

    def exactly(self, *stems: str) -> tuple[str, ...]:
        """Relations that bind packages to this version."""
        return tuple(f"{self.named(stem)} (= {self.version})" for stem in stems)

    def about(self, name: str) -> tuple[str, ...]:
        """Relations that bind a package to this release; the archive leaves the revision open."""
        if not self.archive:
            return (f"{name} (= {self.version})",)
        upstream = self.driver.version
        return (f"{name} (<= {upstream}-1)", f"{name} (>= {upstream})")

    @property
    def modules(self) -> str:
        """The folder of the modules in a kernel's: ``nvidia-580srv``."""
        return f"nvidia{self.suffix.replace('-server', 'srv')}"


def of_nvidia(driver: Driver) -> Cut:
    """Return how NVIDIA's directories for Ubuntu name a driver."""
    suffix = f"-{driver.branch}" if driver.suffixed else ""
    revision = "0ubuntu1" if driver.suffixed else "1ubuntu1"
    return Cut(driver, suffix, f"{driver.version}-{revision}", archive=False)


def of_archive(driver: Driver, release: str) -> Cut:
    """Return how the archive of an Ubuntu release names a driver."""
    version = f"{driver.version}-0ubuntu0.{release}.1"
    return Cut(driver, f"-{driver.branch}-server", version, archive=True)


def nvidia_packages(driver: Driver, work: Path) -> list[Deb]:
    """Describe what NVIDIA's directories have of a driver."""
    cut = of_nvidia(driver)
    own = _parts(driver, work)
    return [
        *_common(cut, own),
        *(deb for flavour in debian.FLAVOURS for deb in _of_flavour(cut, own, flavour)),
        *(deb for flavour in debian.FLAVOURS for deb in _metas(cut, flavour)),
        *(replace(own[name], version=cut.version) for name in ("nvidia-modprobe", "libxnvctrl0")),
        replace(
            own["nvidia-settings"],
            version=cut.version,
            relations={"Depends": (f"libxnvctrl0 (= {cut.version})",)},
        ),
        *(replace(one, version=cut.version) for one in fabric.packages(driver, work)),
        debian.full_pin(driver),
    ]


def archive_packages(driver: Driver, release: str, work: Path) -> list[Deb]:
    """Describe what the archive of an Ubuntu release has of a driver besides signed modules."""
    cut = of_archive(driver, release)
    own = _parts(driver, work)
    fabrics = [
        replace(own_fabric, name=f"{own_fabric.name}-{driver.branch}", version=cut.version)
        for own_fabric in fabric.packages(driver, work)
        if own_fabric.name in {"nvidia-fabricmanager", "libnvidia-nscq"}
    ]
    return [
        *_common(cut, own),
        *(deb for flavour in debian.FLAVOURS for deb in _of_flavour(cut, own, flavour)),
        *fabrics,
    ]


def transitional(old: int, new: int, version: str) -> list[Deb]:
    """Describe the packages through which the archive turns a branch into a later one."""
    stems = ("nvidia-driver", "nvidia-headless-no-dkms", "nvidia-utils", "nvidia-dkms")
    names = [
        (stem, end) for stem in stems for end in ("", "-open") if stem != "nvidia-utils" or not end
    ]
    return [
        Deb(
            name=f"{stem}-{old}-server{end}",
            version=version,
            description=f"Transitional package for {stem}-{new}-server{end}",
            architecture="all",
            relations={"Depends": (f"{stem}-{new}-server{end}",)},
        )
        for stem, end in names
    ]


def _parts(driver: Driver, work: Path) -> dict[str, Deb]:
    """Return the Debian packages of a driver by name."""
    return {deb.name: deb for deb in debian.packages(driver, work)}


def _deb(
    cut: Cut,
    name: str,
    depends: Iterable[str] = (),
    files: Mapping[str, Entry] | None = None,
    **more: tuple[str, ...],
) -> Deb:
    branch = cut.driver.branch
    source = f"nvidia-graphics-drivers-{branch}{'-server' if cut.archive else ''}"
    relations = {"Depends": tuple(depends), **more}
    return Deb(
        name=name,
        version=cut.version,
        description=f"NVIDIA driver {cut.driver.version}",
        source=source if cut.archive or cut.suffix else "nvidia-graphics-drivers",
        relations=relations,
        files=files or {},
    )


def _exclusive(cut: Cut, stem: str) -> dict[str, tuple[str, ...]]:
    """Return the relations by which branches and sources exclude each other."""
    if not cut.suffix:
        return {}
    return dict.fromkeys(("Provides", "Conflicts", "Replaces"), (stem,))


def _common(cut: Cut, own: Mapping[str, Deb]) -> list[Deb]:
    """Describe what both flavours share."""
    firmware = own["firmware-nvidia-gsp"].files
    firmware_name = f"{cut.named('nvidia-firmware')}-{cut.driver.version}"
    libraries = [
        replace(
            _deb(
                cut,
                cut.named(stem),
                ("libc6 (>= 2.34)",),
                {path: entry for name in names for path, entry in own[name].files.items()},
                **_exclusive(cut, stem),
            ),
            triggers=("activate-noawait ldconfig",),
        )
        for stem, names in _LIBRARIES.items()
    ]
    return [
        *libraries,
        _deb(cut, firmware_name, files=firmware),
        _deb(
            cut,
            cut.named("nvidia-kernel-common"),
            (firmware_name, "kmod"),
            {_RULES: Entry(text=_START)},
            **_exclusive(cut, "nvidia-kernel-common"),
        ),
        _deb(
            cut,
            cut.named("nvidia-utils"),
            cut.exactly("libnvidia-compute"),
            own["nvidia-driver-cuda"].files,
            **_exclusive(cut, "nvidia-utils"),
        ),
        _persistenced(cut, own["nvidia-persistenced"]),
    ]


def _persistenced(cut: Cut, own: Deb) -> Deb:
    """Describe the daemon: up to branch 589 its unit is static, udev starts it."""
    if not cut.archive and not cut.suffix:
        return replace(own, version=cut.version)
    unit = (own.files[_UNIT].text or "").partition("\n[Install]")[0]
    return _deb(
        cut,
        cut.named("nvidia-compute-utils"),
        cut.exactly("libnvidia-compute"),
        {**own.files, _UNIT: Entry(text=unit)},
        **_exclusive(cut, "nvidia-persistenced"),
    )


def _daemon(cut: Cut) -> str:
    named = cut.archive or cut.suffix
    return cut.named("nvidia-compute-utils") if named else "nvidia-persistenced"


def _of_flavour(cut: Cut, own: Mapping[str, Deb], flavour: Flavour) -> list[Deb]:
    """Describe module sources, DKMS package and the names that bring a driver."""
    built = own[debian.DKMS[flavour]]
    other: Flavour = "proprietary" if flavour == "open" else "open"
    source, dkms = (cut.named(s, flavour) for s in ("nvidia-kernel-source", "nvidia-dkms"))
    hook = "etc/kernel/header_postinst.d/nvidia-dkms-substitute"
    common = cut.named("nvidia-kernel-common")
    space = (
        *cut.exactly("libnvidia-compute", "libnvidia-cfg1"),
        f"{_daemon(cut)} (= {cut.version})",
        f"{source} (= {cut.version})",
        *cut.about(common),
    )
    # What builds comes and goes with DKMS's package; the real one knows what was added to it.
    builder = f"usr/src/nvidia-{cut.driver.version}/dkms-substitute"
    building = {path: built.files[path] for path in (hook, builder)}
    texts = {path: entry for path, entry in built.files.items() if path not in building}
    driver = (
        *cut.exactly("libnvidia-gl", "nvidia-utils"),
        *cut.about(dkms),
        *space,
    )
    exclusive: dict[str, tuple[str, ...]] = {"Conflicts": (cut.named("nvidia-dkms", other),)}
    if cut.suffix:
        virtual = "nvidia-dkms-kernel"
        exclusive = {"Provides": (virtual,), "Conflicts": (virtual, *exclusive["Conflicts"])}
    found = [
        _deb(
            cut,
            source,
            files=texts,
            Conflicts=(cut.named("nvidia-kernel-source", other),),
        ),
        replace(
            _deb(
                cut,
                dkms,
                ("dkms", f"{source} (= {cut.version})", *cut.about(common)),
                building,
                **exclusive,
            ),
            scripts=built.scripts,
        ),
        _deb(cut, cut.named("nvidia-driver", flavour), driver),
    ]
    if cut.archive:
        bare = _deb(cut, cut.named("nvidia-headless-no-dkms", flavour), space)
        whole = (f"{bare.name} (= {cut.version})", *cut.about(dkms))
        found += [bare, _deb(cut, cut.named("nvidia-headless", flavour), whole)]
    return found


def _metas(cut: Cut, flavour: Flavour) -> list[Deb]:
    """Describe the names that people install from NVIDIA's directories."""
    plain = {"open": "nvidia-open", "proprietary": "cuda-drivers"}[flavour]
    driver = cut.named("nvidia-driver", flavour)
    settings = ("nvidia-modprobe", "nvidia-settings", "libxnvctrl0")
    needs: tuple[str, ...] = (f"{driver} (= {cut.version})",)
    needs += tuple(f"{name} (= {cut.version})" for name in settings)
    metas = []
    for name in dict.fromkeys((f"{plain}{cut.suffix}", plain)):
        metas.append(replace(_deb(cut, name, needs), source=plain))
        needs = (f"{name} (= {cut.version})",)
    return metas
