"""What the configuration files and the environment say."""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

DEFAULT_ALIAS = "https://conda.anaconda.org"
LISTS = ("channels", "envs_dirs", "pkgs_dirs")


class CondaError(Exception):
    """Something the user must know; the text begins with the name conda gives such errors."""


class Settings(NamedTuple):
    """The settings in force, after all files."""

    root: Path
    files: list[str]
    values: dict[str, Any]

    @property
    def channel_alias(self) -> str:
        """Base URL of channels that are given by name."""
        return str(self.values.get("channel_alias") or DEFAULT_ALIAS).rstrip("/")

    @property
    def channels(self) -> list[str]:
        """Channels as written, best first."""
        return [str(name) for name in self.values.get("channels") or ["conda-forge"]]

    def url(self, channel: str) -> str:
        """Return the URL of a channel given by name or URL."""
        if "://" in channel:
            return channel.rstrip("/")
        if channel == "defaults":
            raise CondaError("ChannelError: Anaconda's defaults are not known to this substitute")
        return f"{self.channel_alias}/{channel}"

    def channel_urls(self, asked: list[str], *, only_asked: bool = False) -> list[str]:
        """Return the URLs to search, those asked for on the command line first."""
        names = [*asked, *([] if only_asked else self.channels)]
        return list(dict.fromkeys(self.url(name) for name in names if name != "nodefaults"))

    @property
    def envs_dirs(self) -> list[Path]:
        """Where environments live by name; the first writable one takes new ones."""
        given = os.environ.get("CONDA_ENVS_PATH") or os.environ.get("CONDA_ENVS_DIRS") or ""
        named = [*filter(None, given.split(os.pathsep)), *self.values.get("envs_dirs", [])]
        standard = [self.root / "envs", Path("~/.conda/envs").expanduser()]
        if not os.access(self.root, os.W_OK):
            standard.reverse()
        return list(dict.fromkeys([*(Path(name).expanduser() for name in named), *standard]))

    @property
    def packages_dir(self) -> Path:
        """The first writable directory for downloaded packages."""
        named = [Path(name).expanduser() for name in self.values.get("pkgs_dirs", [])]
        for directory in [*named, self.root / "pkgs"]:
            if os.access(directory if directory.exists() else directory.parent, os.W_OK):
                return directory
        return Path("~/.conda/pkgs").expanduser()


def root_prefix() -> Path:
    """Return the prefix that this conda is installed in."""
    return Path(sys.prefix)


def load() -> Settings:
    """Read the configuration files, least important first; lists grow, other values replace."""
    root = root_prefix()
    places: list[str | Path] = [
        "/etc/conda/.condarc",
        "/etc/conda/condarc",
        root / ".condarc",
        "~/.condarc",
    ]
    if os.environ.get("CONDARC"):
        places.append(os.environ["CONDARC"])
    files: list[str] = []
    values: dict[str, Any] = {}
    for place in places:
        path = Path(place).expanduser()
        if not path.is_file():
            continue
        files.append(str(path))
        for key, value in read_yaml(path).items():
            if key in LISTS:
                mine = [value] if isinstance(value, str) else list(value or [])
                values[key] = list(dict.fromkeys([*mine, *values.get(key, [])]))
            else:
                values[key] = value
    return Settings(root, files, values)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping; an empty file is an empty one."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text())
    except YAMLError as error:
        raise CondaError(f"ConfigurationLoadError: {path}: {error}") from error
    if not isinstance(content, (dict, type(None))):
        raise CondaError(f"ConfigurationLoadError: {path}: not a mapping")
    return content or {}
