"""Build the repositories that hosts of Enterprise Linux have: their distribution's and NVIDIA's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rpm_rs

from gpuprep import catalog
from sandbox.el import distribution, kernels
from sandbox.el.debs import Archive
from sandbox.el.systems import SYSTEMS
from sandbox.nvrepo import build as nvrepo
from sandbox.nvrepo import content, cuda, cudnn, fabric, rpm, rpm_cuda, rpm_driver, rpm_publish
from sandbox.nvrepo.publish import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox.el.systems import System
    from sandbox.nvrepo.build import Workshop
    from sandbox.nvrepo.rpm import Rpm

HERE: Final = Path(__file__).parent
KEYS: Final = "el"
"""The folder of the distribution's own signing key, beside that of NVIDIA's."""


def distribution_key(keys: Path) -> SigningKey:
    """Return the key that signs the distribution's packages; `keys` holds one folder a key."""
    return SigningKey.ensure(keys / KEYS)


def build(shop: Workshop, base: str, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Build and publish what hosts of the systems `names` need; `base` is the URL of the web root.

    Returns the files that lead a host to its distribution's repositories, by system and path.
    """
    chosen = [SYSTEMS[name] for name in sorted(set(names))]
    for system in {system.distro: system for system in chosen}.values():
        _nvidia(_Maker(shop, SigningKey.ensure(shop.keys)), system)
    own = _Maker(shop, distribution_key(shop.keys.parent))
    return {system.name: _distribution(own, base, system) for system in chosen}


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes and publishes packages that one key signs."""

    shop: Workshop
    key: SigningKey

    def group(self, name: str, inputs: str, describe: Callable[[Path], list[Rpm]]) -> list[Path]:
        """Build a group of packages, unless the same `inputs` were built before."""

        def make(work: Path, stage: Path) -> None:
            rpm.build_all(describe(work), stage, rpm_rs.Signer(self.key.secret()))

        shared = nvrepo.sources("rpm.py", "deb.py") + self.key.fingerprint()
        return sorted(self.shop.made("rpms", name, shared + inputs, make).glob("*.rpm"))

    def publish(self, place: str, rpms: list[Path], key_name: str, modules: str = "") -> None:
        """Publish packages below the web root, unless exactly they are published already."""
        how = nvrepo.sources("rpm_publish.py") + self.key.fingerprint() + modules
        self.shop.publish(
            place,
            "\n".join([*map(str, rpms), how]),
            lambda directory: rpm_publish.repository(directory, rpms, self.key, key_name, modules),
        )


# --- the distribution -----------------------------------------------------------------------------


def _distribution(own: _Maker, base: str, system: System) -> dict[str, str]:
    url = distribution.root(system, base)

    def small(_: Path) -> list[Rpm]:
        return [*distribution.offered(system), distribution.epel_release(system, f"{url}/epel")]

    parts = _parts(own, system)
    places = {"epel": parts.pop("epel")}
    parts["offered"] = _group(own, system, f"offered-{nvrepo.digest(url)[:6]}", small)
    for path in (path for part in parts.values() for path in part):
        places.setdefault(place_of(system, rpm.read(path).name), []).append(path)
    for name, rpms in places.items():
        own.publish(f"el/{system.name}/{name}", rpms, distribution.KEY)
    return distribution.repositories(system, base)


def _parts(own: _Maker, system: System) -> dict[str, list[Path]]:
    """Build what a system's repositories have that is worth keeping: the files are large."""
    archive = Archive(system.suite, own.shop.cache)
    bench = distribution.Workbench(system, archive)

    def extra(work: Path) -> list[Rpm]:
        return [*bench.dkms(work), *distribution.beside_dkms(system)]

    return {
        "kernels": _group(own, system, "kernels", partial(_kernels, system, archive)),
        "compilers": _group(own, system, "compilers", bench.compilers),
        "epel": _group(own, system, "epel", extra),
    }


def _group(
    own: _Maker, system: System, part: str, describe: Callable[[Path], list[Rpm]]
) -> list[Path]:
    source = "kernels.py" if part == "kernels" else "distribution.py"
    inputs = nvrepo.sources("debs.py", "systems.py", source, "src/*.install", here=HERE)
    return own.group(f"{system.name}-{part}", f"{inputs}{system}", describe)


def with_driver(shop: Workshop, system: System, version: str) -> dict[str, list[Path]]:
    """Build what an image with an open driver of `version` has besides the system's own.

    Returns what compiles (``tools``), which is to be installed first, and the ``driver``.
    """
    own = _Maker(shop, distribution_key(shop.keys.parent))
    kernel = system.kernels[0]
    parts = _parts(own, system)
    wanted = {"dkms": system.dkms[-1], f"{kernel.stem}-devel": kernel.release.partition("-")[0]}
    tools = [*parts["compilers"]]
    for path in (*parts["kernels"], *parts["epel"]):
        found = rpm.read(path)
        if wanted.get(found.name) == found.version and (
            found.name == "dkms" or found.evr == kernel.release
        ):
            tools.append(path)
    drivers = _drivers(_Maker(shop, SigningKey.ensure(shop.keys)), system)
    without = {rpm_driver.KMOD["proprietary"], rpm_driver.META["proprietary"], *rpm_driver.ADD_ONS}
    described = [(rpm.read(path), path) for path in drivers]
    return {
        "tools": tools,
        "driver": [
            path
            for found, path in described
            if found.version == version and found.name not in without
        ],
    }


def place_of(system: System, name: str) -> str:
    """Return the repository of the distribution that has the package `name`."""
    if name == "libmnl-devel":
        return "codeready"
    if system.oracle and name.startswith("kernel-uek"):
        return "uek"
    return "oci" if system.oracle and name == "oci-utils" else "baseos"


def _kernels(system: System, archive: Archive, work: Path) -> list[Rpm]:
    tree = kernels.assemble(archive.headers(), work)
    described = []
    for kernel in (*system.kernels, *system.offered):
        older = kernel.own_compiler and distribution.older_gcc(system.suite)
        compiler = "gcc" if kernel.own_compiler else f"gcc-toolset-{system.toolsets[0]}"
        described += [
            *kernels.small(kernel, system.major, kernels.compiled_modules(kernel, work)),
            kernels.devel(kernel, tree, compiler=compiler, older_gcc=older),
        ]
        if kernel.flavour == "rhck":
            described.append(kernels.matched(kernel))
    return described


# --- NVIDIA ---------------------------------------------------------------------------------------


def _drivers(nvidia: _Maker, system: System) -> list[Path]:
    shared = nvrepo.sources("rpm_driver.py", "compiled.py", "content.py", "src/*")
    return nvidia.group(
        f"driver-el{system.major}",
        shared + nvrepo.sources("driver.py", "fabric.py"),
        partial(_driver, system.major),
    )


def _nvidia(nvidia: _Maker, system: System) -> None:
    """Publish NVIDIA's repository for the system's major version."""
    shared = nvrepo.sources("rpm_driver.py", "compiled.py", "content.py", "src/*")
    drivers = _drivers(nvidia, system)
    compute = nvidia.group(
        "compute",
        shared + nvrepo.sources("rpm_cuda.py", "cuda.py", "cudnn.py"),
        partial(_compute, nvidia.shop.cache),
    )
    modules = ""
    if system.major < rpm_driver.STREAMLESS_SINCE:
        modules = rpm_driver.streams(
            package for package in map(rpm.read, drivers) if package.name != rpm_driver.SELINUX[0]
        )
    place = f"{nvrepo.REPOS}/{system.distro}/x86_64"
    key_name = catalog.load().systems[system.name].key.file
    nvidia.publish(place, [*drivers, *compute], key_name, modules)


def _driver(major: int, work: Path) -> list[Rpm]:
    versions = [
        package
        for version in content.EL_DRIVERS
        for package in rpm_driver.packages(version, major, rpm_driver.payloads(version, work))
    ]
    return [*versions, rpm_driver.policy(major)]


def _compute(cache: Path, work: Path) -> list[Rpm]:
    """Describe what has no version of a driver: CUDA, cuDNN and the subnet manager."""
    majors = {release.cuda for release in content.CUDNN}
    debs = [
        *(deb for toolkit in content.TOOLKITS for deb in cuda.packages(toolkit, cache)),
        *cuda.newest_metas(content.TOOLKITS),
        *(
            deb
            for release in content.CUDNN
            for deb in cudnn.packages(release, majors - {release.cuda}, work)
        ),
        fabric.nvlsm(work),
    ]
    return [rpm_cuda.converted(deb) for deb in debs]
