"""Describe an rpm as a value and write it, signed, without rpm or rpmbuild on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import rpm_rs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sandbox.nvrepo.deb import Entry

Relation = Literal["requires", "provides", "conflicts", "obsoletes", "recommends"]
Scriptlet = Literal["post", "preun", "postun", "posttrans"]
# What glibc's own trigger does at the end of every transaction; hosts here have no such glibc.
LDCONFIG: Final = "/sbin/ldconfig || :\n"
_SCRIPTLETS: Final[dict[Scriptlet, str]] = {
    "post": "post_install_script",
    "preun": "pre_uninstall_script",
    "postun": "post_uninstall_script",
    "posttrans": "post_trans_script",
}
_BOUND: Final = re.compile(r"(\S+) (<=|>=|=|<|>) (\S+)")
_FLAGS: Final = rpm_rs.DependencyFlags
_OWNER: Final = {"user": "root", "group": "root"}
_OPERATORS: Final = {
    "=": _FLAGS.EQUAL,
    "<": _FLAGS.LESS,
    ">": _FLAGS.GREATER,
    "<=": _FLAGS.LESS | _FLAGS.EQUAL,
    ">=": _FLAGS.GREATER | _FLAGS.EQUAL,
}


@dataclass(frozen=True, slots=True)
class Rpm:
    """A binary package: its header, files and directories (no leading slash) and scriptlets.

    Relations are written as in a spec file: ``name``, ``name = 3:1.0-1``, ``(a if b)``.
    """

    name: str
    version: str
    release: str
    summary: str
    epoch: int = 0
    architecture: Literal["x86_64", "noarch"] = "x86_64"
    relations: Mapping[Relation, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, Entry] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    scripts: Mapping[Scriptlet, str] = field(default_factory=dict)
    large: bool = False
    """Compressed by a faster algorithm."""

    @property
    def evr(self) -> str:
        """Epoch, version and release, as relations and locks name them."""
        prefix = f"{self.epoch}:" if self.epoch else ""
        return f"{prefix}{self.version}-{self.release}"

    @property
    def nevra(self) -> str:
        """The full name with its epoch, as module lists and locks carry it."""
        return f"{self.name}-{self.epoch}:{self.version}-{self.release}.{self.architecture}"

    @property
    def filename(self) -> str:
        """The name of the file."""
        return f"{self.name}-{self.version}-{self.release}.{self.architecture}.rpm"

    def build(self, directory: Path, signer: rpm_rs.Signer) -> Path:
        """Write the signed package into `directory` and return its path."""
        target = directory / self.filename
        self._builder().build_and_sign(signer).write_file(str(target))
        return target

    def _builder(self) -> rpm_rs.PackageBuilder:
        builder = rpm_rs.PackageBuilder(self.name, self.version, "substitute", self.architecture)
        kind = rpm_rs.CompressionType
        builder.using_config(
            rpm_rs.BuildConfig(
                format=rpm_rs.RpmFormat.V4,  # the only one that Enterprise Linux 8 and 9 read
                compression=kind.Zstd if self.large else kind.Gzip,
                compression_level=1,
            )
        )
        builder.release(self.release)
        if self.epoch:
            builder.epoch(self.epoch)
        builder.description(f"{self.summary}\n\nSubstitute for tests, made by gpuprep's sandbox.")
        for relation, texts in self.relations.items():
            for text in texts:
                getattr(builder, relation)(*_parsed(text))
        if self.architecture != "noarch":
            # What rpmbuild adds by itself and NVIDIA's packages ask for.
            builder.provides(*_parsed(f"{self.name}(x86-64) = {self.evr}"))
        for path in self.directories:
            builder.with_dir_entry(rpm_rs.FileOptions.dir(f"/{path}", permissions=0o755, **_OWNER))
        for path, entry in self.files.items():
            _add(builder, f"/{path}", entry)
        for when, text in self.scripts.items():
            getattr(builder, _SCRIPTLETS[when])(text)
        return builder


def _parsed(text: str) -> tuple[Any, ...]:
    """Split a relation into rpm-rs's arguments; one in brackets is passed on whole."""
    bound = _BOUND.fullmatch(text)
    if bound is None or text.startswith("("):
        return (text,)
    name, operator, version = bound.groups()
    return name, version, _OPERATORS[operator]


def _add(builder: rpm_rs.PackageBuilder, path: str, entry: Entry) -> None:
    if entry.link is not None:
        builder.with_symlink(rpm_rs.FileOptions.symlink(path, entry.link, **_OWNER))
        return
    configuration = path.startswith("/etc/")
    options = rpm_rs.FileOptions.new(
        path, permissions=entry.mode, config=configuration, noreplace=configuration, **_OWNER
    )
    if entry.source is not None:
        builder.with_file(str(entry.source), options)
    else:
        builder.with_file_contents((entry.text or "").encode(), options)


def read(path: Path) -> Rpm:
    """Return what the header of a package says it is, without relations and files."""
    header = rpm_rs.PackageMetadata.open(str(path))
    name = header.nevra()
    return Rpm(
        name=name.name,
        version=name.version,
        release=name.release,
        epoch=int(name.epoch or 0),
        architecture=name.arch,
        summary=header.description.partition("\n")[0],
    )


def build_all(packages: Iterable[Rpm], directory: Path, signer: rpm_rs.Signer) -> list[Path]:
    """Build every package into `directory`; refuse two of one file name."""
    wanted = list(packages)
    names = [package.filename for package in wanted]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"described twice: {', '.join(sorted(twice))}")
    directory.mkdir(parents=True, exist_ok=True)
    return [package.build(directory, signer) for package in wanted]
