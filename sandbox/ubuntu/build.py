"""Build the repositories that Ubuntu's hosts have: the archive and NVIDIA's directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuprep import catalog
from sandbox.nvrepo import build as nvrepo
from sandbox.nvrepo import content, cuda, cudnn, fabric
from sandbox.nvrepo import driver as debian
from sandbox.nvrepo.publish import Naming, SigningKey, flat_repository
from sandbox.ubuntu import archive, driver
from sandbox.ubuntu.modules import ModuleKey
from sandbox.ubuntu.systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.nvrepo.build import Workshop
    from sandbox.nvrepo.deb import Deb
    from sandbox.ubuntu.systems import System

HERE: Final = Path(__file__).parent
KEYS: Final = "ubuntu"
"""The folder of the archive's own signing key, beside that of NVIDIA's."""
SOURCES: Final = "/etc/apt/sources.list.d/ubuntu.sources"


def archive_key(keys: Path) -> SigningKey:
    """Return the key that signs the archive; `keys` holds one folder a key."""
    return SigningKey.ensure(keys / KEYS)


def module_key(keys: Path) -> ModuleKey:
    """Return the key that signs the archive's kernel modules."""
    return ModuleKey(keys / f"{KEYS}-modules")


def build(
    shop: Workshop, base: str, names: Iterable[str], state: str = "now"
) -> dict[str, dict[str, str]]:
    """Build and publish what hosts of the systems `names` need; `base` is the URL of the web root.

    Returns the files that lead a host to the archive in one of its states, by system and path.
    """
    chosen = [SYSTEMS[name] for name in sorted(set(names))]
    for system in chosen:
        _nvidia(shop, base, system)
        _archive(shop, system, state)
    return {system.name: {SOURCES: sources(base, system, state)} for system in chosen}


def sources(base: str, system: System, state: str) -> str:
    """Return the apt source of an archive, in Ubuntu's own form."""
    pockets = [f"{system.codename}{pocket}" for pocket in archive.POCKETS[state]]
    stanzas = (" ".join(pockets[:2]), pockets[2])
    where = f"URIs: {base}/ubuntu-{state}/{system.codename}/\n"
    return "\n".join(
        f"Types: deb\n{where}Suites: {suites}\nComponents: restricted\n"
        f"Signed-By: /{archive.KEYRING}\n"
        for suites in stanzas
    )


def _archive(shop: Workshop, system: System, state: str) -> None:
    key, keys = archive_key(shop.keys.parent), shop.keys.parent
    shared = nvrepo.sources("deb.py", "compiled.py", "driver.py", "fabric.py", "src/*")
    own = nvrepo.sources("*.py", here=HERE)
    made = f"{shared}{own}{system}{module_key(keys).certificate.serial_number}"
    pockets = archive.POCKETS[state]
    groups = {
        name: shop.group(
            f"{system.name}-{'now' if name == 'release' else state}-{name}",
            made,
            partial(archive.group, system, state, name, module_key(keys)),
        )
        for name in {name for names in pockets.values() for name in names}
    }
    pools = {pocket: [d for one in names for d in groups[one]] for pocket, names in pockets.items()}
    shop.publish(
        f"ubuntu-{state}/{system.codename}",
        "\n".join([*(str(deb) for debs in pools.values() for deb in debs), key.fingerprint(), own]),
        lambda directory: archive.repository(directory, system, pools, key),
    )


def _nvidia(shop: Workshop, base: str, system: System) -> None:
    """Publish NVIDIA's directory for a system: the branches that it has."""
    key = SigningKey.ensure(shop.keys)
    common = nvrepo.sources("deb.py", "compiled.py", "content.py", "src/*")
    place = f"{nvrepo.REPOS}/{system.distro}/x86_64"
    drivers = shop.group(
        f"driver-{system.distro}",
        common
        + nvrepo.sources("driver.py", "fabric.py")
        + nvrepo.sources("driver.py", "build.py", here=HERE)
        + str(catalog.load().systems[system.name].branches),
        partial(_drivers, system),
    )
    compute = shop.group(
        "compute-ubuntu",
        common + nvrepo.sources("cuda.py", "cudnn.py"),
        partial(_compute, shop.cache),
    )
    keyring = shop.group(
        f"keyring-{system.distro}",
        common + nvrepo.sources("build.py") + base + key.fingerprint(),
        partial(nvrepo.keyring, system.distro, f"{base}/{place}/", key),
    )
    names = Naming("NVIDIA CUDA", catalog.load().systems[system.name].key.file)
    debs = [*drivers, *compute, *keyring]
    inputs = "\n".join([*map(str, debs), key.fingerprint(), nvrepo.sources("publish.py")])
    shop.publish(place, inputs, lambda directory: flat_repository(directory, debs, key, names))


def _drivers(system: System, work: Path) -> list[Deb]:
    branches = catalog.load().systems[system.name].branches
    chosen = [one for one in content.DRIVERS if str(one.branch) in branches]
    pins = [debian.branch_pin(one) for one in content.PINNED_BRANCHES if str(one) in branches]
    versions = [deb for one in chosen for deb in driver.nvidia_packages(one, work)]
    return [*pins, debian.dkms(), *versions, fabric.nvlsm(work)]


def _compute(cache: Path, work: Path) -> list[Deb]:
    majors = {release.cuda for release in content.CUDNN}
    return [
        *(deb for toolkit in content.TOOLKITS for deb in cuda.packages(toolkit, cache)),
        *cuda.newest_metas(content.TOOLKITS),
        *(
            deb
            for release in content.CUDNN
            for deb in cudnn.packages(release, majors - {release.cuda}, work)
        ),
    ]
