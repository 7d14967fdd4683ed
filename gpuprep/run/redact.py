"""Keep secrets out of everything that is shown or stored.

A value is taken for a secret when its name says so (``ansible_become_password``, ``API_TOKEN``)
or when it stands as a password in a URL. ``no_log`` on the tasks is the first line of defence;
this is the second.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

MASK: Final = "********"
_LARGEST: Final = 4 * 2**20  # bytes; a larger file is no inventory written by hand
SHORTEST: Final = 4  # characters; masking a shorter value would riddle ordinary text
_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:pass|secrets?|tokens?|credentials?)(?:_|$)|password|passwd|passphrase"
    r"|private_?key$|api_?key$|access_?key",
    re.IGNORECASE,
)
_SWITCHES: Final = frozenset({"true", "false", "none", "null"})  # TOKEN_CHECK=false
_ASSIGNMENT: Final = re.compile(
    r"""(?P<name>\w+)["']?\s*[:=]\s*(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,#]+)"""
)
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)(?=@)")


def is_secret_name(name: str) -> bool:
    """Return whether a variable of this name holds a secret.

    >>> is_secret_name("ansible_become_password"), is_secret_name("conda_prefix")
    (True, False)
    """
    return bool(_SECRET_NAME.search(name)) and not name.endswith(("_file", "_path"))


def secrets_in(data: object, *, secret: bool = False) -> Iterator[str]:
    """Find the secret strings in nested data: values under secret names, passwords in URLs."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from secrets_in(value, secret=secret or is_secret_name(str(key)))
    elif isinstance(data, str):
        if secret:
            yield data
        yield from (match.group(2) for match in _URL_PASSWORD.finditer(data))
    elif isinstance(data, list | tuple):
        for item in data:
            yield from secrets_in(item, secret=secret)


def secrets_in_text(text: str) -> Iterator[str]:
    """Find secrets in an inventory or variables file of any format: INI, YAML, JSON."""
    for match in _ASSIGNMENT.finditer(text):
        name, value = match.group("name"), match.group("value").strip("\"'")
        if is_secret_name(name) and not value.startswith(("!vault", "{{")):
            yield value
    yield from (match.group(2) for match in _URL_PASSWORD.finditer(text))


def secrets_in_file(path: Path) -> list[str]:
    """Find secrets in a file as :func:`secrets_in_text` does; none if it is not a text file."""
    try:
        if path.stat().st_size > _LARGEST:
            return []
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []  # Ansible says what is wrong with it
    return list(secrets_in_text(text))


class Redactor:
    """Replace known secrets, and passwords in URLs, by a mask."""

    def __init__(self, secrets: Iterable[str] = (), spared: Collection[str] = ()) -> None:
        """Take the secrets to mask, and words to spare: data must stay readable by its reader."""
        known = {
            secret
            for secret in secrets
            if len(secret) >= SHORTEST and secret.lower() not in _SWITCHES.union(spared)
        }
        lines = {line for secret in known for line in secret.splitlines() if len(line) >= SHORTEST}
        longest_first = sorted(known | lines, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def text(self, text: str) -> str:
        """Mask the secrets in a text."""
        return _URL_PASSWORD.sub(rf"\1:{MASK}", self._pattern.sub(MASK, text))

    def data(self, data: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        """Mask the secrets in all strings of nested data; keys stay."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            return {key: self.data(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.data(item) for item in data]
        return data
