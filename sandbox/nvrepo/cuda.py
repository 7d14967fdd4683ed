"""NVIDIA's CUDA packages: compiler, runtime, metas that pull in a driver, alternatives.

The compiler and the runtime are NVIDIA's own, taken from its wheels. Dependencies follow the lists
of `cuda-toolkit` images (public Dockerfiles pinning 13.0.48, 13.2.86 and 13.3.29): `cuda-nvcc`
depends on build-essential, `cuda-cudart` on three `config-common` packages, whose scripts
register the alternatives `cuda` and `cuda-<major>`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox import wheels
from sandbox.nvrepo.deb import Deb, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TARGET = "targets/x86_64-linux"


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A release of CUDA and the versions of the packages in it."""

    release: str
    nvcc: str
    cudart: str
    driver: str

    @property
    def major(self) -> str:
        """The major version, as in 13."""
        return self.release.partition(".")[0]

    @property
    def short(self) -> str:
        """The version with one dot, as in 13.0."""
        return ".".join(self.release.split(".")[:2])

    @property
    def dashed(self) -> str:
        """The version as package names carry it, as in 13-0."""
        return self.short.replace(".", "-")

    @property
    def home(self) -> str:
        """Where it is installed, without leading slash."""
        return f"usr/local/cuda-{self.short}"

    @property
    def priority(self) -> int:
        """Rank in the alternatives: the newer release wins."""
        return int(self.short.replace(".", ""))

    def named(self, stem: str) -> str:
        """Name a package of this release."""
        return f"{stem}-{self.dashed}"


def packages(toolkit: Toolkit, cache: Path) -> list[Deb]:
    """Describe the packages of one release."""
    return [*_payload(toolkit, cache), *_config(toolkit), *_metas(toolkit)]


def tree(root: Path, prefix: str) -> dict[str, Entry]:
    """List the files below `root` as entries below `prefix`, programs executable."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            with path.open("rb") as content:
                program = content.read(4) == b"\x7fELF" and ".so" not in path.name
            name = f"{prefix}/{path.relative_to(root)}"
            found[name] = Entry(source=path, mode=0o755 if program else 0o644)
    return found


def _deb(
    toolkit: Toolkit,
    stem: str,
    version: str,
    depends: Iterable[str] = (),
    files: dict[str, Entry] | None = None,
) -> Deb:
    return Deb(
        name=toolkit.named(stem),
        version=f"{version}-1",
        description=f"CUDA {stem} {toolkit.short}",
        relations={"Depends": tuple(depends)},
        files=files or {},
        section="multiverse/devel",
        compression="zstd",
    )


def _payload(toolkit: Toolkit, cache: Path) -> list[Deb]:
    """Describe the packages with the real compiler and runtime of NVIDIA's wheels."""
    home, t = toolkit.home, toolkit
    nvcc, crt, cudart, nvvm = (
        wheels.unpacked(f"nvidia-{name}", version, cache) / "nvidia" / f"cu{t.major}"
        for name, version in (
            ("cuda-nvcc", t.nvcc),
            ("cuda-crt", t.nvcc),
            ("cuda-runtime", t.cudart),
            ("nvvm", t.nvcc),
        )
    )
    runtime = f"libcudart.so.{t.major}"
    library, include = f"{home}/{TARGET}/lib", f"{home}/{TARGET}/include"
    built = tree(cudart / "lib", library)
    shared = {
        f"{library}/{runtime}.{t.cudart}": built.pop(f"{library}/{runtime}"),
        f"{library}/{runtime}": Entry(link=f"{runtime}.{t.cudart}"),
    }
    headers = {**tree(cudart / "include", include), **tree(nvcc / "include", include)}
    return [
        _deb(t, "cuda-crt", t.nvcc, files=tree(crt / "include", include)),
        _deb(t, "libnvvm", t.nvcc, files=tree(nvvm / "nvvm", f"{home}/nvvm")),
        _deb(
            t,
            "cuda-nvcc",
            t.nvcc,
            ("build-essential", t.named("cuda-crt"), t.named("libnvvm")),
            tree(nvcc / "bin", f"{home}/bin"),
        ),
        _cudart(t, shared),
        _cudart_dev(t, {**built, **headers, f"{library}/libcudart.so": Entry(link=runtime)}),
    ]


def _cudart(toolkit: Toolkit, files: dict[str, Entry]) -> Deb:
    common = (f"-{toolkit.dashed}", f"-{toolkit.major}", "")
    depends = [f"cuda-toolkit{scope}-config-common" for scope in common]
    deb = _deb(toolkit, "cuda-cudart", toolkit.cudart, depends, files)
    return replace(deb, triggers=("activate-noawait ldconfig",))


def _cudart_dev(toolkit: Toolkit, files: dict[str, Entry]) -> Deb:
    depends = (toolkit.named("cuda-cudart"), toolkit.named("cuda-crt"))
    return _deb(toolkit, "cuda-cudart-dev", toolkit.cudart, depends, files)


def _config(toolkit: Toolkit) -> list[Deb]:
    """Describe the packages that write the linker's paths and switch the alternatives."""
    home, major = toolkit.home, toolkit.major
    links = {f"cuda-{major}": f"/usr/local/cuda-{major}", "cuda": "/usr/local/cuda"}
    install = "".join(
        f"    update-alternatives --install {link} {name} /{home} {toolkit.priority}\n"
        for name, link in links.items()
    )
    remove = "".join(f"    update-alternatives --remove {name} /{home}\n" for name in links)
    common = Deb(
        name="cuda-toolkit-config-common",
        version=f"{toolkit.cudart}-1",
        description="Common config package for CUDA Toolkit",
        architecture="all",
        section="multiverse/devel",
        triggers=("activate-noawait ldconfig",),
    )
    return [
        replace(
            common,
            name=f"cuda-toolkit-{toolkit.dashed}-config-common",
            files={
                f"etc/ld.so.conf.d/cuda-{toolkit.dashed}.conf": Entry(
                    text=f"/{home}/{TARGET}/lib\n"
                ),
                f"{home}/lib64": Entry(link=f"{TARGET}/lib"),
                f"{home}/include": Entry(link=f"{TARGET}/include"),
            },
            scripts={
                "postinst": f'if [ "$1" = configure ]; then\n{install}fi\n',
                "prerm": f'if [ "$1" = remove ]; then\n{remove}fi\n',
            },
        ),
        replace(
            common,
            name=f"cuda-toolkit-{major}-config-common",
            files={
                f"etc/ld.so.conf.d/988_cuda-{major}.conf": Entry(
                    text=f"/usr/local/cuda-{major}/{TARGET}/lib\n"
                )
            },
        ),
        replace(
            common,
            files={"etc/ld.so.conf.d/000_cuda.conf": Entry(text=f"/usr/local/cuda/{TARGET}/lib\n")},
        ),
    ]


def _metas(toolkit: Toolkit) -> list[Deb]:
    """Describe the metapackages; `cuda-X-Y` is the one that drags a driver along."""
    t = toolkit

    def meta(stem: str, *depends: str) -> Deb:
        exact = [name if " " in name else f"{t.named(name)}" for name in depends]
        return _deb(t, stem, t.release, exact)

    version_file = (
        f'{{"cuda": {{"name": "CUDA SDK", "version": "{t.release}"}},'
        f' "cuda_nvcc": {{"name": "CUDA NVCC", "version": "{t.nvcc}"}},'
        f' "cuda_cudart": {{"name": "CUDA Runtime (cudart)", "version": "{t.cudart}"}}}}\n'
    )
    whole = meta("cuda-toolkit", "cuda-compiler", "cuda-libraries", "cuda-libraries-dev")
    return [
        meta("cuda-compiler", "cuda-nvcc"),
        meta("cuda-libraries", "cuda-cudart"),
        meta("cuda-libraries-dev", "cuda-cudart-dev"),
        replace(whole, files={f"{t.home}/version.json": Entry(text=version_file)}),
        meta("cuda-runtime", "cuda-libraries", f"cuda-drivers (>= {t.driver})"),
        meta("cuda", "cuda-runtime", "cuda-toolkit"),
    ]


def newest_metas(toolkits: Iterable[Toolkit]) -> list[Deb]:
    """Describe the metapackages without a version, and those of a major version only."""
    ordered = sorted(toolkits, key=lambda toolkit: toolkit.priority)
    per_major = {f"-{toolkit.major}": toolkit for toolkit in ordered}
    return [
        replace(
            _deb(toolkit, stem, toolkit.release, (toolkit.named(stem),)), name=f"{stem}{suffix}"
        )
        for stem in ("cuda-toolkit", "cuda")
        for suffix, toolkit in {**per_major, "": ordered[-1]}.items()
    ]
