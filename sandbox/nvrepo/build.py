"""Build the substitute repositories below a web root; do again only what changed."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.nvrepo import content, cuda, cudnn, driver, fabric, headers
from sandbox.nvrepo.deb import Deb, Entry, build_all
from sandbox.nvrepo.publish import Naming, SigningKey, flat_repository

if TYPE_CHECKING:
    from collections.abc import Callable

REPOS = "compute/cuda/repos"
KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where things are made (`cache`), served from (`www`) and keys are kept (`keys`).

    With `real_cudnn` the releases of cuDNN that hosts get by default are NVIDIA's own (gigabytes).
    """

    cache: Path
    www: Path
    keys: Path
    real_cudnn: bool = False

    def group(self, name: str, inputs: str, describe: Callable[[Path], list[Deb]]) -> list[Path]:
        """Build a group of packages, unless the same `inputs` were built before."""
        home = self.made("debs", name, inputs, lambda work, stage: build_all(describe(work), stage))
        return sorted(home.glob("*.deb"))

    def made(self, kind: str, name: str, inputs: str, make: Callable[[Path, Path], object]) -> Path:
        """Return the folder that `make(work, folder)` fills, made anew when `inputs` changed."""
        home = self.cache / kind / f"{name}-{digest(inputs)}"
        if not home.is_dir():
            for stale in home.parent.glob(f"{name}-{'?' * 16}"):
                shutil.rmtree(stale)
            stage = home.with_name(f".{home.name}.new")
            shutil.rmtree(stage, ignore_errors=True)
            work = self.cache / "work" / name
            shutil.rmtree(work, ignore_errors=True)  # of a build that was ended
            make(work, stage)
            shutil.rmtree(work, ignore_errors=True)
            shutil.rmtree(self.cache / "unpacked", ignore_errors=True)  # wheels, twice their size
            stage.rename(home)
        return home

    def publish(self, place: str, inputs: str, fill: Callable[[Path], None]) -> None:
        """Let `fill` make the directory `place` of the web root, unless `inputs` are there."""
        stamp = self.cache / "published" / place.replace("/", "_")
        wanted = digest(inputs)
        directory = self.www / place
        if directory.is_dir() and stamp.is_file() and stamp.read_text() == wanted:
            return
        directory.parent.mkdir(parents=True, exist_ok=True)
        fill(directory)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(wanted)


def digest(text: str) -> str:
    """Shorten `text` to a name for what is made from it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sources(*names: str, here: Path = Path(__file__).parent) -> str:
    """Read the files of this package, or of `here`, that decide what a group holds."""
    files = [path for name in names for path in sorted(here.glob(name))]
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in files)


def build(shop: Workshop, base: str) -> str:
    """Build and publish everything; `base` is the URL of the web root.

    Returns the fingerprint of the key that signs.
    """
    key = SigningKey.ensure(shop.keys)
    common = sources("deb.py", "compiled.py", "content.py", "src/*")
    driver_debs = shop.group("driver", common + sources("driver.py", "fabric.py"), _driver)
    cuda_debs = shop.group("cuda", common + sources("cuda.py"), lambda _: _cuda(shop.cache))
    cudnn_debs = shop.group(
        "cudnn",
        f"{common}{sources('cudnn.py')}{shop.real_cudnn}",
        lambda work: _cudnn(work, shop.cache if shop.real_cudnn else None),
    )
    for distribution, key_name in content.distributions().items():
        place = f"{REPOS}/{distribution}/x86_64"
        keyring_debs = shop.group(
            f"keyring-{distribution}",
            common + sources("build.py") + base + key.fingerprint(),
            partial(keyring, distribution, f"{base}/{place}/", key),
        )
        debs = [*driver_debs, *cuda_debs, *cudnn_debs, *keyring_debs]
        _publish(shop, place, debs, key, Naming("NVIDIA CUDA", key_name))
    running = sorted(headers.RELEASES.values())
    kernel_debs = shop.group(
        *("kernel", common + sources("headers.py") + " ".join(running)),
        lambda _: [headers.package(release) for release in running],
    )
    _publish(shop, KERNEL, kernel_debs, key, Naming("Kernel headers", "key.pub"))
    return key.fingerprint()


def headers_source(shop: Workshop, base: str) -> str:
    """Return the deb822 text of the apt source with headers of Debian hosts' kernels."""
    armour = (shop.www / KERNEL / "key.pub").read_text().rstrip("\n").split("\n")
    signed_by = "\n".join(f" {line or '.'}" for line in armour)
    return f"Types: deb\nURIs: {base}/{KERNEL}/\nSuites: /\nSigned-By:\n{signed_by}\n"


def _publish(shop: Workshop, place: str, debs: list[Path], key: SigningKey, names: Naming) -> None:
    """Publish `debs` below the web root, unless exactly they are published already."""
    inputs = "\n".join([*map(str, debs), key.fingerprint(), sources("publish.py")])
    shop.publish(place, inputs, lambda directory: flat_repository(directory, debs, key, names))


def _driver(work: Path) -> list[Deb]:
    pins = [driver.branch_pin(branch) for branch in content.PINNED_BRANCHES]
    versions = [
        deb
        for version in content.DRIVERS
        for deb in (*driver.packages(version, work), *fabric.packages(version, work))
    ]
    return [*pins, driver.dkms(), *versions, fabric.nvlsm(work)]


def _cuda(cache: Path) -> list[Deb]:
    releases = [deb for toolkit in content.TOOLKITS for deb in cuda.packages(toolkit, cache)]
    return [*releases, *cuda.newest_metas(content.TOOLKITS)]


def _cudnn(work: Path, real: Path | None) -> list[Deb]:
    majors = {release.cuda for release in content.CUDNN}
    return [
        deb
        for release in content.CUDNN
        for deb in cudnn.packages(
            release,
            majors - {release.cuda},
            work,
            real if (release.version, release.cuda) in content.REAL_CUDNN else None,
        )
    ]


def keyring(distribution: str, url: str, key: SigningKey, work: Path) -> list[Deb]:
    """Describe the package that makes a host trust the repository."""
    kept = "usr/share/keyrings/cuda-archive-keyring.gpg"
    preference = "Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n"
    return [
        Deb(
            name="cuda-keyring",
            version="1.1-1",
            description="GPG keyring for the CUDA repository",
            architecture="all",
            files={
                kept: Entry(source=key.write_keyring(work / f"{distribution}.gpg")),
                f"etc/apt/sources.list.d/cuda-{distribution}-x86_64.list": Entry(
                    text=f"deb [signed-by=/{kept}] {url} /\n"
                ),
                "etc/apt/preferences.d/cuda-repository-pin-600": Entry(text=preference),
            },
        )
    ]
