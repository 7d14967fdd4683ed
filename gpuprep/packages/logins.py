"""Logins of package repositories, on the machine that gpuprep runs on."""

from __future__ import annotations

import base64
import netrc
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gpuprep.errors import ConfigError


def without_login(address: str) -> str:
    """Return an address without user and password.

    >>> without_login("https://bot:pw@mirror:8443/nv")
    'https://mirror:8443/nv'
    """
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def authorization(address: str) -> dict[str, str]:
    """Return the header for an address: by its own login, else by that of ``~/.netrc``.

    Raises:
        ConfigError: the file cannot be understood.

    """
    parts = urlsplit(address)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user or _is_masked(user) or _is_masked(password):
        user, password = _from_netrc(parts.hostname or "")
    if not user:
        return {}
    words = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {words}"}


def _is_masked(text: str) -> bool:
    """Return whether a word of an address was a secret before a result was made of it."""
    return set(text) == {"*"}


def _from_netrc(host: str) -> tuple[str, str]:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = netrc.netrc(path).authenticators(host)
    except OSError:
        return "", ""
    except netrc.NetrcParseError as error:
        raise ConfigError(f"{path}: {error.msg}") from error
    return (found[0] or "", found[2] or "") if found else ("", "")
