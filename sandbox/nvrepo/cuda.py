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
from sandbox.nvrepo import compiled
from sandbox.nvrepo.deb import Deb, Entry, script

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
    front_end: str = ""
    """Version of the wheels whose front end is used, where the release's own are incomplete."""
    ptx: str = ""
    """PTX version the release's assembler takes, where another release's front end is used."""

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
        """Return the name of a package of this release."""
        return f"{stem}-{self.dashed}"


def packages(toolkit: Toolkit, cache: Path) -> list[Deb]:
    """Describe the packages of one release."""
    return [*_payload(toolkit, cache), *_config(toolkit), *_metas(toolkit)]


def tree(root: Path, prefix: str) -> dict[str, Entry]:
    """List the files below `root` as entries below `prefix`, programs executable.

    Some wheels mark their directories with an empty `__init__.py`; no package holds that.
    """
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != "__init__.py":
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
    """Describe the packages with compiler, headers and runtime."""
    t, home = toolkit, toolkit.home
    parts = (_parts12 if t.front_end else _parts13)(t, cache)
    runtime = f"libcudart.so.{t.major}"
    library = f"{home}/{TARGET}/lib"
    static = tree(parts.library, library)
    shared = {
        f"{library}/{runtime}.{t.cudart}": static.pop(f"{library}/{runtime}"),
        f"{library}/{runtime}": Entry(link=f"{runtime}.{t.cudart}"),
    }
    compiler = ("build-essential", t.named("cuda-crt"), t.named("libnvvm"))
    cudart_dev = {
        **parts.headers,
        **static,
        f"{library}/libcudart.so": Entry(link=runtime),
    }
    cudart_dev = {**_in_place_of_archives(library, runtime), **cudart_dev}
    return [
        _deb(t, "cuda-crt", t.nvcc, files=parts.crt),
        _deb(t, "libnvvm", t.nvcc, files=parts.nvvm),
        _deb(t, "cuda-nvcc", t.nvcc, compiler, parts.nvcc),
        _cudart(t, shared),
        _cudart_dev(t, cudart_dev),
    ]


def _in_place_of_archives(library: str, runtime: str) -> dict[str, Entry]:
    """Return what nvcc links by default, for releases whose wheel has no static libraries (12.8).

    The linker reads the first as a script that names the shared runtime.
    """
    return {
        f"{library}/libcudart_static.a": Entry(text=f"INPUT ( {runtime} )\n"),
        f"{library}/libcudadevrt.a": Entry(text="!<arch>\n"),
    }


@dataclass(frozen=True, slots=True)
class _Parts:
    """The files of a toolkit, by the package that owns them; `library` still unsorted."""

    nvcc: dict[str, Entry]
    nvvm: dict[str, Entry]
    crt: dict[str, Entry]
    headers: dict[str, Entry]
    library: Path


def _wheel(name: str, version: str, cache: Path, inside: str) -> Path:
    return wheels.unpacked(f"nvidia-{name}", version, cache) / "nvidia" / inside


def _parts13(toolkit: Toolkit, cache: Path) -> _Parts:
    """From CUDA 13 on NVIDIA's wheels hold the whole compiler."""
    t, inside = toolkit, f"cu{toolkit.major}"
    nvcc, crt, nvvm = (
        _wheel(name, t.nvcc, cache, inside) for name in ("cuda-nvcc", "cuda-crt", "nvvm")
    )
    cudart = _wheel("cuda-runtime", t.cudart, cache, inside)
    include = f"{t.home}/{TARGET}/include"
    profile = _profile((nvcc / "bin" / "nvcc.profile").read_text())
    return _Parts(
        nvcc={
            **tree(nvcc / "bin", f"{t.home}/bin"),
            f"{t.home}/bin/nvcc.profile": Entry(text=profile),
            **tree(nvcc / "include", include),
        },
        nvvm=tree(nvvm / "nvvm", f"{t.home}/nvvm"),
        crt=tree(crt / "include", include),
        headers=tree(cudart / "include", include),
        library=cudart / "lib",
    )


def _profile(text: str) -> str:
    """Return nvcc's settings for the layout of the packages.

    Some wheels (13.2) name `lib` and `include` beside `bin`, as they lie in a wheel; the packages
    have both below the target's directory, and no link `lib`.
    """
    return text.replace("-L$(TOP)/lib", f"-L$(TOP)/{TARGET}/lib").replace(
        "$(TOP)/include", f"$(TOP)/{TARGET}/include"
    )


def _parts12(toolkit: Toolkit, cache: Path) -> _Parts:
    """Make a compiler of CUDA 12 from its assembler and the front end of a later release.

    The wheels of CUDA 12 hold ptxas, libdevice, headers and runtime, but neither nvcc nor cicc. The
    `crt` headers are the front end's: they match the code that it writes (and, unlike those of
    12.9, they agree with glibc 2.41 and newer, so that this compiler works on Debian 13).
    """
    t = toolkit
    nvcc = _wheel("cuda-nvcc-cu12", t.nvcc, cache, "cuda_nvcc")
    cudart = _wheel("cuda-runtime-cu12", t.cudart, cache, "cuda_runtime")
    front, crt, cicc = (
        _wheel(name, t.front_end, cache, "cu13") for name in ("cuda-nvcc", "cuda-crt", "nvvm")
    )
    substitute, include = f"{t.home}/substitute", f"{t.home}/{TARGET}/include"
    tools = tree(front / "bin", substitute)
    tools[f"{substitute}/fatbinary.real"] = tools.pop(f"{substitute}/fatbinary")
    tools[f"{substitute}/cicc.real"] = Entry(source=cicc / "nvvm" / "bin" / "cicc", mode=0o755)
    tools |= {
        f"{substitute}/{name}": _tool12(t, "tool12.sh") for name in ("cicc", "ptxas", "fatbinary")
    }
    tools[f"{substitute}/nvcc.profile"] = Entry(source=compiled.SOURCES / "nvcc12.profile")
    headers = tree(nvcc / "include", include)
    own = {path: entry for path, entry in headers.items() if "/crt/" not in path}
    return _Parts(
        nvcc={
            f"{t.home}/bin/nvcc": _tool12(t, "nvcc12.sh"),
            **tree(nvcc / "bin", f"{t.home}/bin"),
            **tools,
            **own,
        },
        nvvm=tree(nvcc / "nvvm" / "libdevice", f"{t.home}/nvvm/libdevice"),
        crt=tree(crt / "include", include),
        headers=tree(cudart / "include", include),
        library=cudart / "lib",
    )


def _tool12(toolkit: Toolkit, source: str) -> Entry:
    text = (compiled.SOURCES / source).read_text()
    known = {
        "@SHORT@": toolkit.short,
        "@NVCC@": toolkit.nvcc,
        "@FRONT@": toolkit.front_end,
        "@PTX@": toolkit.ptx,
    }
    for mark, value in known.items():
        text = text.replace(mark, value)
    return script(text)


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
