"""What the substitute channel and installers hold. The only place of their versions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox.conda.package import PLACEHOLDER, Content, Link, Package

TARGET = Path(__file__).parent / "target"
PYTHONS = ("3.11.14", "3.12.11", "3.13.9")
HOST_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""Versions that the hosts' own python3 may have."""


@dataclass(frozen=True, slots=True)
class Release:
    """A Miniforge release and what is in its base environment."""

    version: str
    conda: str
    mamba: str
    solver: str


RELEASES = (
    Release("25.11.0-1", conda="25.11.0", mamba="2.4.0", solver="25.11.0"),
    Release("26.3.2-3", conda="26.3.2", mamba="2.5.0", solver="26.4.2"),
    Release("26.7.2-0", conda="26.7.2", mamba="2.6.0", solver="26.6.0"),
)
"""Oldest first; the newest is the one whose checksum hosts are told."""
BASE_PYTHON = PYTHONS[-1]

PIP = "26.3"
WHEELS = {"py-rattler": "0.28.0", "ruamel.yaml": "0.18.15"}
"""What our conda needs beside itself; comes with the installer, not as packages."""


def base(release: Release) -> tuple[Package, ...]:
    """Describe the packages of a release's base environment."""
    return (
        python(BASE_PYTHON),
        conda(release.conda),
        Package("mamba", release.mamba, subdir="linux-64"),
        Package("conda-libmamba-solver", release.solver),
        TZDATA,
    )


def python(version: str) -> Package:
    """Describe a python that runs the host's own python3 with the environment's packages.

    An environment with it is what `python3 -m venv` makes. Whatever version the host's python3 has,
    a `.pth` file in its own `site-packages` leads it to those of this version.
    """
    short = version.rpartition(".")[0]
    site = f"lib/python{short}/site-packages"
    ways = {
        f"lib/python{other}/site-packages/substitute.pth": f"../../python{short}/site-packages\n"
        for other in HOST_PYTHONS
        if other != short
    }
    return Package(
        "python",
        version,
        build=f"h0000000_0_cp{short.replace('.', '')}",
        subdir="linux-64",
        depends=("tzdata",),
        constrains=(f"python_abi {short}.* *_cp{short.replace('.', '')}",),
        files={
            "bin/python3": Link("/usr/bin/python3"),
            "bin/python": Link("python3"),
            f"bin/python{short}": Link("python3"),
            "pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\n",
            f"{site}/README.txt": "site-packages\n",
            **ways,
        },
    )


def conda(version: str) -> Package:
    """Describe the package of our conda."""
    short = BASE_PYTHON.rpartition(".")[0]
    site = f"lib/python{short}/site-packages/conda"
    program = (
        f"#!{PLACEHOLDER}/bin/python\nfrom conda.cli import run_and_leave\n\nrun_and_leave()\n"
    )
    return Package(
        "conda",
        version,
        build=f"py{short.replace('.', '')}h0000000_0",
        subdir="linux-64",
        depends=(f"python >={short},<{short[:2]}{int(short[2:]) + 1}.0a0", "conda-libmamba-solver"),
        files={
            "bin/conda": program,
            "condabin/conda": program,
            "etc/profile.d/conda.sh": (TARGET / "conda.sh")
            .read_text()
            .replace("@PREFIX@", PLACEHOLDER),
            "shell/condabin/README.txt": "See etc/profile.d/conda.sh.\n",
            **{
                f"{site}/{path.name}": path.read_text()
                for path in sorted((TARGET / "conda").glob("*.py"))
            },
        },
    )


def module(name: str, version: str, *depends: str, build: str = "pyh0000000_0") -> Package:
    """Describe a pure Python package with one importable module that tells its version."""
    return Package(
        name,
        version,
        build=build,
        noarch="python",
        depends=("python >=3.9", *depends),
        files={f"site-packages/{name}/__init__.py": f'__version__ = "{version}"\n'},
    )


def extension(name: str, version: str, short: str, build: str, *depends: str) -> Package:
    """Describe a package built for one Python version; its module is named like the package."""
    return Package(
        name,
        version,
        build=build,
        subdir="linux-64",
        depends=(f"python >={short},<{short[:2]}{int(short[2:]) + 1}.0a0", *depends),
        files={
            f"lib/python{short}/site-packages/{IMPORTS.get(name, name)}/__init__.py": (
                f'__version__ = "{version}"\n'
            )
        },
    )


def pip(unpacked: Path) -> Package:
    """Describe the package of the real pip; ``unpacked`` is its wheel's content."""
    files: dict[str, Content] = {
        f"site-packages/{path.relative_to(unpacked).as_posix()}": path
        for path in sorted(unpacked.rglob("*"))
        if path.is_file() and path.suffix != ".exe" and path.name != "RECORD"
    }
    about = f"site-packages/pip-{PIP}.dist-info"
    files[f"{about}/INSTALLER"] = "conda\n"
    files[f"{about}/RECORD"] = ""
    return Package(
        "pip",
        PIP,
        build="pyh0000000_0",
        noarch="python",
        depends=("python >=3.9",),
        files=files,
    )


IMPORTS = {"pytorch": "torch"}
# In conda-forge tkinter comes with Python, and what it draws with in this package.
TK = Package(
    "tk",
    "8.6.13",
    build="pyh0000000_0",
    noarch="python",
    depends=("python >=3.9",),
    files={"site-packages/tkinter/__init__.py": "TkVersion = 8.6\n"},
)
TZDATA = Package("tzdata", "2025b", files={"share/zoneinfo/tzdata.zi": "# version 2025b\n"})


def channel() -> list[Package]:
    """Describe every package of the channel."""
    shorts = [version.rpartition(".")[0] for version in PYTHONS]
    built = [
        package
        for short in shorts
        for py in (f"py{short.replace('.', '')}",)
        for package in (
            *(
                extension("numpy", version, short, f"{py}h0000000_0", "libblas >=3.9")
                for version in ("2.2.6", "2.3.4")
            ),
            extension(
                "pandas", "2.3.3", short, f"{py}h0000000_0", "numpy >=2.2,<3", "python-dateutil"
            ),
            extension("pytorch", "2.8.0", short, f"cpu_{py}h0000000_0", "numpy >=2,<3"),
            *(
                extension(
                    "pytorch",
                    "2.8.0",
                    short,
                    f"cuda{cuda.replace('.', '')}_{py}h0000000_1",
                    *("numpy >=2,<3", f"cuda-version >={cuda},<{int(cuda[:2]) + 1}", "__cuda"),
                )
                for cuda in ("12.9", "13.0")
            ),
        )
    ]
    bases = [package for release in RELEASES for package in base(release)]
    unique = {(package.subdir, package.filename): package for package in bases}
    return [
        *unique.values(),
        *(python(version) for version in PYTHONS if version != BASE_PYTHON),
        *built,
        Package("libblas", "3.9.0", subdir="linux-64", files={"lib/libblas.so.3": "substitute\n"}),
        *(
            Package("cuda-version", version, constrains=(f"__cuda >={version.partition('.')[0]}",))
            for version in ("12.9", "13.0", "13.2")
        ),
        *(module("six", version) for version in ("1.16.0", "1.17.0")),
        module("python-dateutil", "2.9.0", "six >=1.5"),
        module("tqdm", "4.67.1"),
        TK,
        *(module("requests", version, "six") for version in ("2.31.0", "2.32.5")),
    ]
