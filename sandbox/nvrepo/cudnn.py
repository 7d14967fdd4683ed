"""NVIDIA's cuDNN packages of series 8 and 9, with the alternatives that choose between them.

The library is compiled here and refuses work, as cuDNN does without a GPU; on demand it is NVIDIA's
own, from its wheel. File names and alternatives: file lists of 9.7.0 and 9.17.0 and installation
logs of 9.3.0 and 8.9.7 in public code. Packages of two CUDA majors hold the same files, so only one
of them can be installed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.nvrepo import compiled
from sandbox.nvrepo.deb import Deb, Entry
from sandbox.nvrepo.driver import LIBRARIES
from sandbox.wheels import unpacked

if TYPE_CHECKING:
    from pathlib import Path

INCLUDE = "usr/include/x86_64-linux-gnu"
SPLIT_SINCE = 9
"""From this series on package names carry the CUDA major, and headers have a package."""
PARTS = {
    8: ("ops_infer", "cnn_infer", "adv_infer"),
    9: (
        *("ops", "cnn", "adv", "graph", "heuristic"),
        *("engines_precompiled", "engines_runtime_compiled"),
    ),
}
"""Libraries beside libcudnn itself."""


@dataclass(frozen=True, slots=True)
class Cudnn:
    """A cuDNN release for one CUDA major; `built` is the CUDA release it was built with."""

    version: str
    cuda: str
    built: str

    @property
    def numbers(self) -> list[int]:
        """Major, minor and patch level."""
        return [int(part) for part in self.version.split(".")[:3]]

    @property
    def major(self) -> int:
        """The series."""
        return self.numbers[0]

    @property
    def short(self) -> str:
        """The version in file names, as in 9.10.2."""
        return ".".join(map(str, self.numbers))

    @property
    def number(self) -> int:
        """What cudnnGetVersion returns: thousands a major up to series 8, then ten thousands."""
        major, minor, patch = self.numbers
        return major * (10_000 if major >= SPLIT_SINCE else 1_000) + minor * 100 + patch

    @property
    def package_version(self) -> str:
        """The version of the Debian packages."""
        suffix = "" if self.major >= SPLIT_SINCE else f"+cuda{self.built}"
        return f"{self.version}-1{suffix}"

    def named(self, kind: str = "") -> str:
        """Return the name of a package: `libcudnn9-dev-cuda-13`, `libcudnn8-dev`."""
        scope = f"-cuda-{self.cuda}" if self.major >= SPLIT_SINCE else ""
        return f"libcudnn{self.major}{kind}{scope}"

    def exactly(self, kind: str) -> str:
        """Relation that binds to a package of this release."""
        return f"{self.named(kind)} (= {self.package_version})"


def packages(release: Cudnn, others: set[str], work: Path, real: Path | None = None) -> list[Deb]:
    """Describe the packages of one release.

    `others` are the other CUDA majors there are packages for; `real` is the cache for NVIDIA's
    wheels when their libraries and headers are wanted.
    """
    runtime, headers = _real(release, real) if real else _substitute(release, work)
    library = replace(
        _deb(release, "", others, runtime, "libc6 (>= 2.34)"),
        triggers=("activate-noawait ldconfig",),
    )
    scripts = _alternatives(release.major, list(headers))
    if release.major < SPLIT_SINCE:
        dev = _deb(release, "-dev", others, headers, release.exactly(""))
        return [library, replace(dev, scripts=scripts)]
    dev = _deb(release, "-dev", others, {}, release.exactly(""), release.exactly("-headers"))
    meta = _deb(release, "", set(), {}, release.exactly(""), release.exactly("-dev"))
    return [
        library,
        replace(dev, scripts=scripts),
        _deb(release, "-headers", others, headers),
        replace(meta, name=f"cudnn{release.major}-cuda-{release.cuda}"),
    ]


def _deb(
    release: Cudnn, kind: str, others: set[str], files: dict[str, Entry], *depends: str
) -> Deb:
    """Describe one package, which excludes its like for the CUDA majors `others`."""
    likes = [replace(release, cuda=other).named(kind) for other in sorted(others)]
    excluded = tuple(name for name in likes if name != release.named(kind))
    return Deb(
        name=release.named(kind),
        version=release.package_version,
        source="cudnn",
        description=f"cuDNN {kind.strip('-') or 'runtime'} for CUDA {release.cuda}",
        section="multiverse/libs",
        relations={"Depends": depends, "Conflicts": excluded, "Replaces": excluded},
        files=files,
        compression="zstd",
    )


def _runtime_entry(release: Cudnn, name: str, built: Path) -> dict[str, Entry]:
    real = f"{name}.so.{release.short}"
    return {
        f"{LIBRARIES}/{real}": Entry(source=built),
        f"{LIBRARIES}/{name}.so.{release.major}": Entry(link=real),
    }


def _header_entry(release: Cudnn, name: str, entry: Entry) -> dict[str, Entry]:
    return {f"{INCLUDE}/{name.removesuffix('.h')}_v{release.major}.h": entry}


def _substitute(release: Cudnn, work: Path) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Compile libraries and write headers that agree on the version."""
    major, minor = release.built.split(".")[:2]
    home = work / f"cudnn-{release.version}-{release.cuda}"
    soname = f"libcudnn.so.{release.major}"
    main = compiled.library(
        "libcudnn.c",
        home / soname,
        soname=soname,
        macros={
            "CUDNN_MAJOR": release.major,
            "CUDNN_NUMBER": release.number,
            "CUDART_VERSION": int(major) * 1000 + int(minor) * 10,
        },
    )
    runtime = _runtime_entry(release, "libcudnn", main)
    for part in PARTS[release.major]:
        name = f"libcudnn_{part}"
        soname = f"{name}.so.{release.major}"
        text = {"SONAME": soname, "VERSION": release.version}
        built = compiled.library("plain_library.c", home / soname, soname=soname, macros=text)
        runtime |= _runtime_entry(release, name, built)
    unit = 10_000 if release.major >= SPLIT_SINCE else 1_000
    names = zip(("MAJOR", "MINOR", "PATCHLEVEL"), release.numbers, strict=True)
    version_header = (
        "#ifndef CUDNN_VERSION_H_\n#define CUDNN_VERSION_H_\n"
        + "".join(f"#define CUDNN_{name} {number}\n" for name, number in names)
        + f"#define CUDNN_VERSION (CUDNN_MAJOR * {unit} + CUDNN_MINOR * 100 + CUDNN_PATCHLEVEL)\n"
        + "#endif\n"
    )
    headers = {
        **_header_entry(release, "cudnn.h", Entry(source=compiled.SOURCES / "cudnn.h")),
        **_header_entry(release, "cudnn_version.h", Entry(text=version_header)),
    }
    return runtime, headers


def _real(release: Cudnn, cache: Path) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Take libraries and headers from NVIDIA's wheel."""
    wheel = unpacked(f"nvidia-cudnn-cu{release.cuda}", release.version, cache)
    home = wheel / "nvidia" / "cudnn"
    runtime: dict[str, Entry] = {}
    headers: dict[str, Entry] = {}
    for path in sorted((home / "lib").glob("libcudnn*.so.*")):
        runtime |= _runtime_entry(release, path.name.partition(".so.")[0], path)
    for path in sorted((home / "include").glob("cudnn*.h")):
        headers |= _header_entry(
            release, path.name.replace(f"_v{release.major}", ""), Entry(source=path)
        )
    return runtime, headers


def _alternatives(series: int, headers: list[str]) -> dict[str, str]:
    """Write scripts that let `cudnn.h` and `libcudnn.so` point at this series."""
    main = f"/{INCLUDE}/cudnn_v{series}.h"
    slaves = {
        "libcudnn_so": (f"/{LIBRARIES}/libcudnn.so", f"/{LIBRARIES}/libcudnn.so.{series}"),
    }
    for path in sorted(headers):
        name = path.rpartition("/")[2].replace(f"_v{series}", "")
        if name != "cudnn.h":
            slaves[name.replace(".", "_")] = (f"/usr/include/{name}", f"/{path}")
    links = " ".join(f"--slave {link} {name} {path}" for name, (link, path) in slaves.items())
    install = (
        f"update-alternatives --install /usr/include/cudnn.h libcudnn {main} {series}0 {links}"
    )
    remove = f"update-alternatives --remove libcudnn {main}"
    return {
        "postinst": f'if [ "$1" = configure ]; then\n    {install}\nfi\n',
        "prerm": f'if [ "$1" = remove ]; then\n    {remove}\nfi\n',
    }
