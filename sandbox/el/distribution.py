"""The distribution's packages: who the system is, and compilers and DKMS out of Debian's files."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.el import systems
from sandbox.el.debs import tree, unpack
from sandbox.nvrepo.deb import Entry, script
from sandbox.nvrepo.rpm import Rpm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox.el.debs import Archive
    from sandbox.el.systems import System

SOURCES: Final = Path(__file__).parent / "src"
KEY: Final = "RPM-GPG-KEY-system"
HIDDEN: Final = "/opt/sandbox-hidden"
DEFAULT_KERNEL: Final = "DEFAULTKERNEL={core}\nUPDATEDEFAULT=yes\n"
DNF_CONF: Final = """\
[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
best=True
skip_if_unavailable=False
"""
OS_RELEASE: Final = """\
NAME="{title}"
VERSION="{version}"
ID="{ident}"
ID_LIKE="{like}"
VERSION_ID="{version}"
PLATFORM_ID="platform:el{major}"
PRETTY_NAME="{title} {version}"
"""
_BINUTILS: Final = (
    *("binutils", "binutils-common", "binutils-x86-64-linux-gnu", "libbinutils", "libctf0"),
    *("libctf-nobfd0", "libgprofng0", "libjansson4"),
)
_SFRAME: Final = {"bookworm": (), "trixie": ("libsframe1",)}
_SPLIT: Final = 14  # since this gcc Debian keeps the programs in packages of their own
_LIBRARIES: Final = ("libisl23", "libmpc3", "libmpfr6", "libcc1-0")
_C_HEADERS: Final = ("libc6-dev", "linux-libc-dev", "libcrypt-dev")
_NEWEST: Final = {"bookworm": 12, "trixie": 14}
"""The compiler that made the release's kernel."""
_SYSTEM: Final = {"bookworm": 11, "trixie": 14}
"""The compiler that stands for the system's own."""
_DNF: Final = {"bookworm": "4.14.0", "trixie": "4.23.0"}
_DKMS: Final = {"bookworm": "3.0.10", "trixie": "3.2.2"}
_UNREAD: Final = ("doc", "man", "lintian", "locale", "bug", "info")


def older_gcc(suite: str) -> bool:
    """Return whether the system's own compiler is older than the kernel tree's."""
    return _SYSTEM[suite] < _NEWEST[suite]


# --- what a fresh system has ----------------------------------------------------------------------


def identity(system: System) -> Rpm:
    """Describe the package that says which system it is, from which dnf takes $releasever."""
    s = system
    like = "fedora" if s.oracle else "rhel centos fedora"
    text = OS_RELEASE.format(
        title=s.title, version=s.version, ident=s.ident, like=like, major=s.major
    )
    line = f"{s.title} release {s.version}\n"
    red_hat = f"Red Hat Enterprise Linux release {s.version} (Plow)\n" if s.oracle else line
    release_file = "etc/oracle-release" if s.oracle else "etc/rocky-release"
    return Rpm(
        name="oraclelinux-release" if s.oracle else "rocky-release",
        version=s.version,
        release=f"1.el{s.major}",
        summary=f"{s.title} release files",
        relations={
            "provides": (
                f"system-release = {s.version}",
                f"system-release(releasever) = {s.major}",
                f"redhat-release = {s.version}",
            )
        },
        files={
            "usr/lib/os-release": Entry(text=text),
            release_file: Entry(text=line),
            "etc/redhat-release": Entry(text=red_hat),
            "etc/system-release": Entry(link=release_file.rpartition("/")[2]),
            "etc/rpm/macros.dist": Entry(text=f"%dist .el{s.major}\n%rhel {s.major}\n"),
            "etc/dnf/dnf.conf": Entry(text=DNF_CONF),
            "etc/sysconfig/kernel": Entry(
                text=DEFAULT_KERNEL.format(core=f"{s.kernels[0].stem}-core")
            ),
        },
        directories=("etc/yum.repos.d",),
    )


def base(system: System) -> list[Rpm]:
    """Describe packages whose files are Debian's: they answer for names that others need."""
    provided = {
        "bash": ("5.1.8", ("/bin/sh", "/bin/bash", "/usr/bin/sh")),
        "glibc": ("2.34", ()),
        "systemd": ("252", ()),
        "kmod": ("28", ()),
        "dnf": (_DNF[system.suite], ()),
        "dnf-plugins-core": ("4.3.0", ()),
    }
    return [
        Rpm(
            name=name,
            version=version,
            release=f"1.el{system.major}",
            summary=f"{name}; its files are Debian's",
            relations={"provides": names},
        )
        for name, (version, names) in provided.items()
    ]


def boot(system: System) -> Rpm:
    """Describe what keeps boot entries, and the default for the next boot."""
    return Rpm(
        name="grubby",
        version="8.40",
        release=f"1.el{system.major}",
        summary="Command line tool for updating bootloader configs",
        files={
            "usr/sbin/grubby": script((SOURCES / "grubby").read_text()),
            "usr/bin/kernel-install": script((SOURCES / "kernel-install").read_text()),
            "usr/lib/systemd/system/sandbox-kernel.service": Entry(
                text=(SOURCES / "kernel.service").read_text()
            ),
            # Oracle's images keep the id of the machine that made them in their entries' names.
            "etc/sandbox-boot-id": Entry(text="5d2c1a340000400080000000000000ff\n"),
        },
        directories=("boot/loader/entries", "boot/grub2"),
    )


# --- what its repositories have besides -----------------------------------------------------------


def offered(system: System) -> list[Rpm]:
    """Describe small packages that a fresh system lacks."""
    el = f"el{system.major}"
    plugin = "usr/lib/python3/dist-packages/dnf-plugins/versionlock.py"
    return [
        Rpm(
            name="python3-dnf-plugin-versionlock",
            version="4.3.0",
            release=f"1.{el}",
            summary="Version lock plugin for dnf",
            architecture="noarch",
            files={
                plugin: Entry(link=f"{HIDDEN}/lib/versionlock.py"),
                "etc/dnf/plugins/versionlock.conf": Entry(
                    text="[main]\nenabled = 1\nlocklist = /etc/dnf/plugins/versionlock.list\n"
                ),
                "etc/dnf/plugins/versionlock.list": Entry(text=""),
            },
        ),
        *(
            Rpm(name=name, version=version, release=f"1.{el}", summary=name)
            for name, version in (
                *(("libmnl-devel", "1.0.4"), ("kernel-headers", "5.14.0"), ("oci-utils", "0.14.0")),
                *(("selinux-policy-targeted", "38.1.53"), ("linux-firmware", "20250812")),
            )
        ),
    ]


def epel_release(system: System, url: str) -> Rpm:
    """Describe the package that brings the repository with dkms."""
    repo = f"ol{system.major}_developer_EPEL" if system.oracle else "epel"
    name = f"oracle-epel-release-el{system.major}" if system.oracle else "epel-release"
    file = f"oracle-epel-ol{system.major}.repo" if system.oracle else "epel.repo"
    return Rpm(
        name=name,
        version="1.0",
        release=f"1.el{system.major}",
        summary="Extra Packages for Enterprise Linux repository configuration",
        architecture="noarch",
        files={f"etc/yum.repos.d/{file}": Entry(text=repository_file(repo, "EPEL", url))},
    )


def beside_dkms(system: System) -> list[Rpm]:
    """Describe small packages of the repository with dkms."""
    return [Rpm(name="egl-wayland2", version="1.0.1", release=f"1.el{system.major}", summary="EGL")]


def repository_file(ident: str, name: str, url: str, *, enabled: bool = True) -> str:
    """Return the text of a file in yum.repos.d for a repository that this distribution signs."""
    return (
        f"[{ident}]\nname={name}\nbaseurl={url}\nenabled={enabled:d}\ngpgcheck=1\n"
        f"gpgkey=file:///etc/pki/rpm-gpg/{KEY}\n"
    )


def root(system: System, base: str) -> str:
    """Return the URL below which a system's files name its repositories.

    Oracle's cloud has them by region: the files hold variables of dnf, which are files too.
    """
    server = "http://yum$ociregion.$ocidomain" if system.oracle else base
    return f"{server}/el/{system.name}"


def repositories(system: System, base: str) -> dict[str, str]:
    """Return the files that lead a host to its distribution, by path; `base` is the web root."""
    folder, own, title = "/etc/yum.repos.d", f"ol{system.major}", f"{system.title} {system.major}"

    def section(place: str, ident: str, name: str, *, enabled: bool = True) -> str:
        url = f"{root(system, base)}/{place}"
        return repository_file(ident, f"{title} {name}", url, enabled=enabled)

    def builder(ident: str) -> str:
        return section("codeready", ident, "CodeReady Builder", enabled=False)

    if not system.oracle:
        return {
            f"{folder}/rocky.repo": section("baseos", "baseos", "BaseOS"),
            f"{folder}/rocky-devel.repo": builder("crb"),
        }
    uek = "UEKR8" if any(one.split for one in system.kernels) else "UEKR7"
    latest = section("baseos", f"{own}_baseos_latest", "BaseOS Latest")
    return {
        "/etc/dnf/vars/ociregion": f".{systems.REGION}\n",
        # The port is the sandbox's: Oracle's mirrors answer at that of https.
        "/etc/dnf/vars/ocidomain": f"{systems.DOMAIN}:{base.rpartition(':')[2]}\n",
        f"{folder}/oracle-linux-{own}.repo": f"{latest}\n{builder(f'{own}_codeready_builder')}",
        f"{folder}/uek-{own}.repo": section("uek", f"{own}_{uek}", "UEK"),
        f"{folder}/oci-included-{own}.repo": section("oci", f"{own}_oci_included", "OCI Included"),
    }


@dataclass(frozen=True, slots=True)
class Workbench:
    """Makes a system's packages out of the contents of Debian's."""

    system: System
    archive: Archive

    def compilers(self, work: Path) -> list[Rpm]:
        """Describe gcc, its relatives and the toolsets."""
        own, version = _SYSTEM[self.system.suite], self.system.gcc
        gcc = {"usr/bin/gcc": f"gcc-{own}", "usr/bin/cpp": f"cpp-{own}", "usr/bin/cc": "gcc"}
        c = self.package("gcc", version, work, (*_gcc(own), f"gcc-{own}-base", *_LIBRARIES))
        cxx = self.package("gcc-c++", version, work, (*_gxx(own), f"libstdc++-{own}-dev"))
        found = [
            self.package("binutils", "2.35.2", work, (*_BINUTILS, *_SFRAME[self.system.suite])),
            self.package("make", "4.3", work, ("make",)),
            self.package("glibc-devel", "2.34", work, _C_HEADERS),
            _with(c, needs=("binutils", "glibc-devel"), links=gcc),
            _with(cxx, needs=("gcc",), links={"usr/bin/g++": f"g++-{own}", "usr/bin/c++": "g++"}),
        ]
        return [*found, *(part for one in self.system.toolsets for part in self.toolset(work, one))]

    def toolset(self, work: Path, number: int) -> list[Rpm]:
        """Describe a compiler beside the system's, found by who reads its `enable`."""
        name, root = f"gcc-toolset-{number}", f"opt/rh/gcc-toolset-{number}"
        newest = _NEWEST[self.system.suite]
        compiler = _with(
            self.package(f"{name}-gcc", f"{number}.2.1", work, _gcc(newest)),
            needs=("gcc",),
            links={"usr/bin/gcc": f"gcc-{newest}", "usr/bin/cc": "gcc"},
        )
        below = {f"{root}/root/{path}": entry for path, entry in compiler.files.items()}
        path = f"export PATH=/{root}/root/usr/bin${{PATH:+:${{PATH}}}}\n"
        whole = Rpm(
            name=name,
            version=str(number),
            release=f"0.el{self.system.major}",
            summary=f"Package that installs {name}",
            relations={"requires": (f"{name}-gcc",)},
            files={f"{root}/enable": Entry(text=path)},
        )
        return [replace(compiler, files=below), whole]

    def dkms(self, work: Path) -> list[Rpm]:
        """Describe DKMS as EPEL has it: it wants the newest kernel's tree beside any kernel."""
        needs = ("gcc", "make", "kmod", "(kernel-devel-matched if kernel-core)")
        whole = self.package("dkms", _DKMS[self.system.suite], work, ("dkms",))
        files = {
            path: one for path, one in whole.files.items() if not path.startswith("etc/kernel")
        }
        hook = script((SOURCES / "40-dkms.install").read_text())
        found = []
        for version in self.system.dkms:
            program = files["usr/sbin/dkms"]
            if version != whole.version:
                text = dkms_of(version, (program.source or work).read_text(), whole.version)
                program = Entry(text=text, mode=0o755)
            found.append(
                replace(
                    whole,
                    version=version,
                    architecture="noarch",
                    relations={"requires": needs},
                    directories=("etc/dkms/framework.conf.d",),
                    files={
                        **files,
                        "usr/sbin/dkms": program,
                        "usr/lib/kernel/install.d/40-dkms.install": hook,
                    },
                )
            )
        return found

    def package(self, name: str, version: str, work: Path, debs: Iterable[str]) -> Rpm:
        """Describe a package with the files of `debs`, unpacked below `work`."""
        root = work / name
        unpack(self.archive.fetch(debs), root)
        _tidy(root)
        return Rpm(
            name=name,
            version=version,
            release=f"1.el{self.system.major}",
            summary=f"{name}; its files are Debian's",
            files=tree(root),
            large=True,
        )


def _with(package: Rpm, needs: tuple[str, ...], links: Mapping[str, str] | None = None) -> Rpm:
    """Return `package` with relations, and with links besides its files."""
    added = {path: Entry(link=link) for path, link in (links or {}).items()}
    return replace(package, relations={"requires": needs}, files={**package.files, **added})


def dkms_of(version: str, program: str, own: str) -> str:
    """Return Debian's dkms `own` as one of 3.3 or later: what `build_environment` names is read.

    Raises:
        ValueError: the program has changed: there is no such place in it.

    """
    make = re.search(r"^ *(?:local )?the_make_command=.*\n", program, re.MULTILINE)
    known = 'dkms_framework_nonsigning_variables="source_tree'
    if make is None or known not in program:
        raise ValueError(f"dkms {own} builds in another way: it cannot be made into {version}")
    read = "[[ ! -f $build_environment ]] || "
    read += 'the_make_command=". $build_environment; $the_make_command"'
    text = f"{program[: make.end()]}{read}\n{program[make.end() :]}"
    return text.replace(known, f"{known} build_environment").replace(
        f"dkms-{own}", f"dkms-{version}"
    )


def _gcc(number: int) -> tuple[str, ...]:
    names = (f"gcc-{number}", f"cpp-{number}")
    return (*names, *_programs(number, *names), f"libgcc-{number}-dev")


def _gxx(number: int) -> tuple[str, ...]:
    name = f"g++-{number}"
    return (name, *_programs(number, name))


def _programs(number: int, *names: str) -> tuple[str, ...]:
    """Return Debian's packages with the programs themselves, which it keeps apart since gcc 14."""
    return tuple(f"{name}-x86-64-linux-gnu" for name in names) if number >= _SPLIT else ()


def _tidy(root: Path) -> None:
    """Move everything below one /usr, and drop what nobody reads."""
    for folder in ("lib", "bin", "sbin", "lib64"):
        old = root / folder
        if old.is_dir() and not old.is_symlink():
            shutil.copytree(old, root / "usr" / folder, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)
    for folder in _UNREAD:
        shutil.rmtree(root / "usr" / "share" / folder, ignore_errors=True)
