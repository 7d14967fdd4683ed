"""Host patterns: Ansible takes one that names nothing for all hosts. Pure."""

from __future__ import annotations

import re
from typing import Final

from gpuprep.errors import ConfigError

_NAME: Final = re.compile(r"[^\s*?\[\]!&~@:,]+")
_SIGN_ALONE: Final = re.compile(r"(?:^|[,:])\s*[!&]+\s*(?=$|[,:])")


def is_name(pattern: str) -> bool:
    """Return whether a pattern is the plain name of a host or group."""
    return _NAME.fullmatch(pattern) is not None


def exactly(name: str) -> str:
    """Return the pattern that means the host of a name, whatever that would mean as a pattern."""
    if is_name(name):
        return name
    # None is left that Ansible splits at, or takes for a sign.
    letters = (c if c.isalnum() else f"\\U{ord(c):08x}" for c in name)
    return f"~{''.join(letters)}\\Z"


def check_pattern(what: str, pattern: str) -> None:
    """Check a pattern that is to name hosts; its files are not read.

    Args:
        what: where it stands, as messages say it.
        pattern: one or several, with commas.

    Raises:
        ConfigError: it names nothing, or cannot be read.

    """
    if not pattern.strip("!&:, \t\r\n"):
        raise ConfigError(f"{what} {pattern!r} names no host; leave it out to take all of them")
    if _SIGN_ALONE.search(pattern):
        raise ConfigError(f"{what} {pattern!r}: a ! or & stands alone; a pattern belongs behind it")
    for part in pattern.split(","):
        expression = part.strip().lstrip("!&")
        if expression.startswith("~"):
            try:
                re.compile(expression[1:])
            except re.error as error:
                raise ConfigError(
                    f"{what} {part.strip()!r} is no regular expression: {error}"
                ) from error
