"""What others told the package manager of a host, where it goes against the stack's repository."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuprep.model import Repository

_PORTS = {"http": ":80", "https": ":443"}


class Rival(Value, frozen=True):
    """A file that names the stack's repository, or another one of the same packages.

    Attributes:
        path: the file.
        address: of the repository.
        alone: whether the file names nothing else, so that it can be set aside as a whole.

    """

    path: str
    address: str
    alone: bool


def rivals(
    sources: Mapping[str, Sequence[str]], repository: Repository, own: Collection[str]
) -> tuple[Rival, ...]:
    """Return the files beside ours that name the repository, be it under another key or scheme.

    Args:
        sources: addresses by file, of all that the package manager reads.
        repository: the one that our files name.
        own: paths of our files.

    """
    found = []
    for path, addresses in sources.items():
        same = [address for address in addresses if _is_rival(address, repository)]
        if same and path not in own:
            found.append(Rival(path, same[0], len(same) == len(addresses)))
    return tuple(found)


def _is_rival(address: str, repository: Repository) -> bool:
    place = _place(address)
    patterns = (f"{pattern}*" for pattern in repository.elsewhere)
    return place == _place(repository.url) or any(fnmatchcase(place, p) for p in patterns)


def _place(address: str) -> str:
    """Return where an address leads, whatever its spelling: host and path, with a slash behind."""
    parts = urlsplit(address.replace("[", "%5B").replace("]", "%5D"))
    host = parts.netloc.rpartition("@")[2].lower()
    host = host.removesuffix(_PORTS.get(parts.scheme.lower().rpartition("+")[2], ":-"))
    return re.sub("/+", "/", f"{host}/{unquote(parts.path)}/") if host else f"{parts.path}/"
