"""The SDK's configuration file, read without the SDK.

A cached inventory then needs no ``import oci``, and each mistake gets a message of its own.
Format: docs.oracle.com/en-us/iaas/Content/API/Concepts/sdkconfig.htm.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.oci.options import Options


@dataclass(frozen=True, slots=True)
class Profile:
    """Who asks, and where.

    Attributes:
        source: file and profile, for messages.
        found: whether the file was there.
        values: its keys, overridden by options; the passphrase among them, so not shown.

    """

    source: str
    found: bool
    values: Mapping[str, str] = field(repr=False)

    def need(self, key: str, option: str) -> str:
        """Return a value that must be there.

        Raises:
            ConfigError: it is not.

        """
        value = self.values.get(key)
        if not value:
            raise ConfigError(f"{self.source}: {key} is missing; add it, or set {option}")
        return value

    def read(self, key: str, option: str) -> tuple[Path, bytes]:
        """Return path and content of a file that must be named and there.

        Raises:
            ConfigError: it is not, or cannot be read.

        """
        path = Path(self.need(key, option)).expanduser()
        try:
            return path, path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"{self.source}: {key} names {path}, which does not exist") from None
        except OSError as error:
            raise ConfigError(f"{self.source}: {key} {path}: {error.strerror}") from None


def load(options: Options) -> Profile:
    """Read the profile that the options name, and let the options override it.

    An absent file is no error here: principals need none; see ``Profile.found``.

    Raises:
        ConfigError: the file cannot be parsed, or has no such profile.

    """
    path = Path(options.config_file).expanduser()
    source = f"{path} [{options.config_profile}]"
    section, found = _section(path, options.config_profile)
    overrides = {
        "tenancy": options.tenancy,
        "region": options.region,
        "user": options.api_user,
        "fingerprint": options.api_user_fingerprint,
        "key_file": options.api_user_key_file,
        "pass_phrase": options.api_user_key_pass_phrase,
        "security_token_file": options.security_token_file,
        "delegation_token_file": options.delegation_token_file,
    }
    given = {key: value for key, value in overrides.items() if value}
    return Profile(source, found, section | given)


def _section(path: Path, name: str) -> tuple[dict[str, str], bool]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, False
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"OCI configuration {path} cannot be read: {error}") from None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # the parser's own text quotes lines, which may hold a passphrase
        where = getattr(error, "lineno", None)
        at = f", line {where}" if where else ""
        raise ConfigError(f"OCI configuration {path}{at}: not in the INI format") from None
    if name not in parser:
        there = ", ".join([*(["DEFAULT"] if parser.defaults() else []), *parser.sections()])
        raise ConfigError(f"OCI configuration {path}: no profile {name}; it has: {there or 'none'}")
    return dict(parser[name]), True
