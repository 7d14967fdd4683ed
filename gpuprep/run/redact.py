"""Keep secrets out of everything that is shown or stored.

A value is taken for a secret when its name says so (``ansible_become_password``, ``apiToken``) or
when it stands in a URL where secrets stand. ``no_log`` on the tasks is the first line of defence;
this is the second.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from gpuprep.model.plain import encoded

if TYPE_CHECKING:
    from pathlib import Path

MASK: Final = "********"
_LARGEST: Final = 64 * 2**20  # bytes; a larger file is no text that somebody wrote
_PARSED: Final = 4 * 2**20  # bytes; a larger file is only searched
SHORTEST: Final = 4  # characters; masking a shorter value would riddle ordinary text
_NO_WORD: Final = 8  # characters; a shorter name in a URL may be an ordinary word elsewhere
_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:pass|secrets?|tokens?|credentials?|authorization)(?:_|$)|password|passwd|passphrase"
    r"|(?:^|_)pwd(?:_|$)|private_?key$|api_?key$|access_?key|ssh_?key$",
    re.IGNORECASE,
)
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})  # of a shell
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# A word, and whether it is a key; what a secret in a URL, or a key that is not written letter by
# letter, cannot do without.
_WORD: Final = re.compile(r"""([\w-]+)(["']?[ \t]*[:=])?""")
_DOUBT: Final = re.compile(r"""[@?&;\\]|/[tp]/|\w["']\w""")
_SWITCHES: Final = frozenset({"true", "false", "none", "null"})  # TOKEN_CHECK=false
_ASSIGNMENT: Final = re.compile(
    r"""(?P<name>[\w-]+)["']?\s*[:=]\s*(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,#]+)"""
)
_ATOMS: Final = frozenset({int, float, bool, type(None)})
_REMEMBERED: Final = 400  # characters
_MOST_REMEMBERED: Final = 20_000  # texts
_NOT_ITSELF: Final = ("!vault", "$ANSIBLE_VAULT", "{{")  # encrypted, or only named

_URL_PASSWORD: Final = re.compile(r"(?P<before>://[^/\s:@\"'<>]*:)(?P<password>[^/\s\"'<>]+)(?=@)")
# A token that stands alone; the name of who logs in by ssh is none.
_URL_TOKEN: Final = re.compile(
    r"(?P<before>(?<![a-z0-9+.-])(?!(?:git\+)?ssh:|sftp:|rsync:)[a-z][a-z0-9+.-]*://)"
    r"(?P<token>[^/\s:@\"'<>]+)(?=@)",
    re.IGNORECASE,
)
# Of conda's channels, and of Oracle's pre-authenticated requests.
_URL_PATH: Final = re.compile(
    r"(?P<before>://[^\s\"'<>?#]*?/(?:t/|p/(?=[^/\s]+/n/)))(?P<token>[^/\s\"'<>?#]+)"
)
_URL_QUERY: Final = re.compile(r"(?P<before>[?&;](?P<name>[\w.-]+)=)(?P<token>[^&;\s\"'<>#]+)")
# What all URLs have in which something logs in: a quick look for them.
_URL_LOGIN: Final = re.compile(r"://[^/\s\"'<>]*@")
_QUERY_NAMES: Final = frozenset({"auth", "key", "sig", "signature", "x-amz-signature"})


@lru_cache(maxsize=1 << 12)  # hosts have variables of the same names
def is_secret_name(name: str) -> bool:
    """Return whether a variable of this name holds a secret.

    >>> is_secret_name("ansible_become_password"), is_secret_name("conda_prefix")
    (True, False)
    """
    return (
        _sounds_secret(name)
        and name not in _FOLDERS
        and not _plain(name).endswith(("_file", "_path"))
    )


def _sounds_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(_plain(name)))


def _plain(name: str) -> str:
    return _HUMP.sub("_", name).replace("-", "_")


def secrets_in(data: object) -> Iterator[str]:
    """Find the secret strings in nested data: values under secret names, and those in URLs."""
    seen: set[tuple[int, bool]] = set()  # an anchor may be named a billion times

    def search(data: object, *, secret: bool) -> Iterator[str]:
        if isinstance(data, Mapping | list | tuple):
            if (id(data), secret) in seen:
                return
            seen.add((id(data), secret))
            pairs = data.items() if isinstance(data, Mapping) else (("", item) for item in data)
            for key, value in pairs:
                yield from search(value, secret=secret or is_secret_name(str(key)))
        elif isinstance(data, str):
            if secret and not data.lstrip().startswith(_NOT_ITSELF):
                yield data
            yield from _secrets_in_urls(data)
        elif secret and isinstance(data, int | float) and not isinstance(data, bool):
            yield str(data)

    yield from search(data, secret=False)


def secrets_in_text(text: str) -> Iterator[str]:
    """Find secrets in a text of any format by names that a value follows."""
    for match in _ASSIGNMENT.finditer(text):
        name, value = match.group("name"), match.group("value").strip("\"'")
        if is_secret_name(name) and not value.startswith(_NOT_ITSELF):
            yield value
    yield from _secrets_in_urls(text)


def secrets_in_file(path: Path) -> list[str]:
    """Find secrets in an inventory or variables file, as Ansible reads it: YAML, JSON, INI.

    None if it is not a text file.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= _LARGEST else ""
    except (OSError, UnicodeDecodeError):
        return []  # Ansible says what is wrong with it
    if not _may_hold_secrets(text):
        return []
    documents = _parsed(text) if size <= _PARSED else None
    return list(secrets_in_text(text) if documents is None else secrets_in(documents))


def _may_hold_secrets(text: str) -> bool:
    """Return whether to read a text is worth it: False where it cannot name a secret.

    Most inventories name a file with a key, and no password: they are not parsed for that.
    """
    if _DOUBT.search(text):
        return True
    words = set(_WORD.findall(text))
    return any(is_secret_name(word) if key else _sounds_secret(word) for word, key in words)


def _parsed(text: str) -> list[Any] | None:
    """Return the data in a text with every value as it is written; None when it has no form."""
    import yaml  # noqa: PLC0415 - slow, and only needed when something is run

    # Knows no types and no tags: !unsafe is read, !vault stays what it is.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        documents = list(yaml.load_all(text, loader))
    except (yaml.YAMLError, RecursionError, ValueError):
        documents = []
    if any(isinstance(document, dict | list) for document in documents):
        return documents
    try:
        return [json.loads(text)]  # YAML has no tabs
    except (ValueError, RecursionError):
        return _parsed_ini(text)


def _parsed_ini(text: str) -> list[Any] | None:
    """Return what Ansible reads from an INI inventory, by line; None when it is none."""
    found: list[Any] = []
    in_variables = False
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("[") and "]" in line:
            in_variables = line.partition("]")[0].endswith(":vars")
        elif in_variables and "=" in line and not line.startswith(("#", ";")):
            found.append(dict([_pair(line)]))
        elif line:
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                words = []
            pairs = [_pair(word) for word in words[1:] if word.find("=") > 0]
            # Of any other line, what looks like a secret.
            found.append(dict(pairs) if pairs else {"password": list(secrets_in_text(line))})
    return found


def _pair(text: str) -> tuple[str, Any]:
    name, _, value = (part.strip() for part in text.partition("="))
    try:
        return name, [value, ast.literal_eval(value)]  # as Ansible does; and as it is written
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return name, value


def _secrets_in_urls(text: str) -> Iterator[str]:
    if "://" not in text and "=" not in text:
        return
    for match in _URL_PASSWORD.finditer(text):
        yield match.group("password")
        yield unquote(match.group("password"))
    for match in _URL_TOKEN.finditer(text):
        if len(match.group("token")) >= _NO_WORD:
            yield match.group("token")
    yield from (match.group("token") for match in _URL_PATH.finditer(text))
    for match in _URL_QUERY.finditer(text):
        if _is_secret_query(match.group("name")):
            yield match.group("token")
            yield unquote(match.group("token"))


def _is_secret_query(name: str) -> bool:
    return is_secret_name(name) or name.lower() in _QUERY_NAMES


def mask_urls(text: str) -> str:
    """Mask passwords and tokens in URLs.

    >>> mask_urls("http://bot:Sesame@host/t/tk-1/main?token=x")
    'http://bot:********@host/t/********/main?token=********'
    """
    if "://" not in text and "=" not in text:
        return text

    def masked(match: re.Match[str]) -> str:
        return match.group("before") + MASK

    def query(match: re.Match[str]) -> str:
        secret = _is_secret_query(match.group("name"))
        return match.group("before") + MASK if secret else match.group(0)

    for pattern in (_URL_PASSWORD, _URL_TOKEN, _URL_PATH):
        text = pattern.sub(masked, text)
    return _URL_QUERY.sub(query, text)


def _spellings(secret: str) -> Iterator[str]:
    """Return a secret as JSON, Python, a shell and a URL write it."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield shlex.quote(secret).strip("'")
    yield quote(secret, safe="")
    yield quote(secret)


class Redactor:
    """Replace known secrets, and those in URLs, by a mask."""

    def __init__(self, secrets: Iterable[str] = (), spared: Collection[str] = ()) -> None:
        """Take the secrets to mask, and words to spare: data must stay readable by its reader."""
        parts = {part for secret in secrets for part in (secret, *secret.splitlines())}
        known = {
            part
            for part in parts
            if len(part) >= SHORTEST and part.strip().lower() not in _SWITCHES.union(spared)
        }
        spelt = {spelling for part in known for spelling in _spellings(part)}
        longest_first = self._spelt = sorted(spelt - {""}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._masked: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Mask the secrets in a text."""
        return mask_urls(self._pattern.sub(MASK, text))

    def is_clean(self, document: str) -> bool:
        """Return whether a text of JSON surely holds nothing to mask; False where it may."""
        if any(spelling in document for spelling in self._spelt):
            return False
        if "://" in document and (_URL_LOGIN.search(document) or _URL_PATH.search(document)):
            return False
        queries = _URL_QUERY.finditer(document) if "=" in document else ()
        return not any(_is_secret_query(found["name"]) for found in queries)

    def document(self, data: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        """Mask the secrets as ``data`` does; of data that surely holds none, nothing is copied."""
        return data if self.is_clean(encoded(data).decode()) else self.data(data)

    def parsed(self, document: str) -> Any:  # noqa: ANN401 - JSON
        """Return the data of a text of JSON, the secrets in it masked.

        Raises:
            ValueError: it is no JSON.

        """
        data = json.loads(document)
        return data if self.is_clean(document) else self.data(data)

    def _word(self, text: str) -> str:
        """Mask the secrets in a text of data: what hosts say is alike, and looked at once."""
        if len(text) > _REMEMBERED:
            return self.text(text)
        masked = self._masked.get(text)
        if masked is None:
            if len(self._masked) > _MOST_REMEMBERED:
                self._masked.clear()
            masked = self._masked[text] = self.text(text)
        return masked

    def data(self, data: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        """Mask the secrets in all strings of nested data; keys stay."""
        kind = type(data)
        if kind in _ATOMS:  # first what there is most of
            return data
        if kind is str or isinstance(data, str):
            return self._word(data)
        if kind is dict or isinstance(data, Mapping):
            return {key: self.data(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.data(item) for item in data]
        return data
