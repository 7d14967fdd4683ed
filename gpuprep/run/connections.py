"""Where ssh's connection masters are kept between runs, and under which names.

A key exchange costs more than all else that a run does with a host that needs nothing. So the
masters of a run that ends well are left to the next one: in a directory that is this user's alone,
under names that tell apart all by which one connection differs from another.

A run reaches that directory by a link in its own. A master calls itself by the path that it was
given, so the link tells, for as long as the master lives, which run made it: its environment does
not, ssh writes its name over that.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import hmac
import os
import pwd
import re
import secrets
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gpuprep import kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LINK: Final = "kept"  # in the directory of a run that keeps its connections
SETTINGS: Final = ("control_path_dir", "control_path")  # of Ansible's ssh plugin
PERSIST_SECONDS: Final = 300  # from one look at a plan to the next command
_FOLDER: Final = "ssh"
_KEY: Final = "key"
_KEY_BYTES: Final = 32
_NAME: Final = 16  # characters of a socket's name
# Of a socket's path. ssh binds it under a longer name first ("." and 16 random characters), and
# the kernel takes 107 bytes on Linux, 103 elsewhere.
LONGEST: Final = 103 - 17
_PLAIN: Final = re.compile(r"/[\w./@+-]*")  # nothing that ssh, or Ansible, would replace
_WORDS: Final = ("controlmaster", "controlpath")
_SOCKETS: Final = Path("/proc/net/unix")
_COLUMNS: Final = 8  # with a path
_LISTENS: Final = 0x10000  # flag of a socket, in that table
_CONNECTED: Final = "03"  # state of one
_MOST_FILES: Final = 1000  # of ssh's configuration
_BLANKS: Final = " \t\r\f"
_SETTING: Final = re.compile(
    r'[ \t\r]*=?[ \t\r]*"?([^ \t\r="]+)"?[ \t\r]*=?[ \t\r]*(.*)', re.DOTALL
)
_WORD: Final = re.compile(r'"([^"]*)"|([^ \t"]+)')
_PLAIN_WORDS: Final = re.compile(r"""(?:(?:"[^"\\]*"|[^ \t\r"'\\]+)(?:[ \t]+|$))*""")
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


def control_directory(environ: Mapping[str, str]) -> Path | None:
    """Return this user's directory for connection masters, made when it is not there.

    Returns:
        None where there is none that is closed to all others: then each run keeps its masters to
        itself.

    """
    made = (kept.directory(base, _FOLDER) for base in _bases(environ))
    return next((folder for folder in made if folder is not None), None)


def offer(run_dir: Path, environ: Mapping[str, str]) -> None:
    """Let the processes of a run find the connections of earlier ones, and leave theirs."""
    directory = control_directory(environ)
    if directory is not None:
        (run_dir / LINK).symlink_to(directory)


def socket_path(run_dir: Path, parts: Iterable[object]) -> Path | None:
    """Return the path by which a run gives a connection to its master.

    Args:
        run_dir: the run's directory.
        parts: see :func:`socket_name`.

    Returns:
        None where connections are not kept, or such a path cannot be that of a socket.

    """
    link = run_dir / LINK
    try:
        directory = link.readlink()
        path = link / socket_name(directory, parts)
    except OSError:
        return None
    fits = len(os.fsencode(path)) <= LONGEST and _PLAIN.fullmatch(str(path))
    return path if fits and kept.is_private(directory) and is_usable(path) else None


def _bases(environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
    cache = kept.cache(environ)
    if cache is not None:
        yield cache


def listening() -> frozenset[str] | None:
    """Return the names of the sockets on this machine at which masters listen.

    To knock at one would cost its master as much as a tenth of a command.

    Returns:
        None where the kernel does not tell.

    """
    try:
        rows = _sockets()
    except OSError:
        return None
    paths = (path for flags, _state, path in rows if int(flags, 16) & _LISTENS)
    return frozenset(Path(path).name for path in paths)


def connected() -> frozenset[str]:
    """Return the paths of the masters' sockets of this machine that somebody is connected to."""
    try:
        rows = _sockets()
    except OSError:
        return frozenset()
    return frozenset(path for _flags, state, path in rows if state == _CONNECTED)


def _sockets() -> list[tuple[str, str, str]]:
    """Return flags, state and path of each socket that may be a master's.

    The kernel knows it by the name that ssh bound it under, which has an end of its own.

    Raises:
        OSError: the kernel has no such table.

    """
    lines = _SOCKETS.read_text(errors="replace").splitlines()[1:]
    rows = (line.split(maxsplit=_COLUMNS - 1) for line in lines)
    return [
        (row[3], row[5], row[7].rpartition(".")[0])
        for row in rows
        if len(row) == _COLUMNS and "." in row[7]
    ]


def is_usable(path: Path) -> bool:
    """Return whether nothing, or a socket of this user, is at a path."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()


def socket_name(directory: Path, parts: Iterable[object]) -> str:
    """Return the name of the socket of a connection.

    Args:
        directory: where it is.
        parts: all by which connections differ, passwords included. Anyone on this machine can read
            the name in a list of processes; without the key of the directory it tells nothing.

    Raises:
        OSError: the directory has no key, and takes none.

    """
    # A variable may hold any character, a lone surrogate too.
    message = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return hmac.new(_key(directory), message, hashlib.sha256).hexdigest()[:_NAME]


@lru_cache
def _key(directory: Path) -> bytes:
    """Return the directory's key, made by whoever comes first."""
    path = directory / _KEY
    with contextlib.suppress(FileNotFoundError):
        if len(key := path.read_bytes()) == _KEY_BYTES:
            return key
        path.unlink()
    part = directory / f"{_KEY}.{secrets.token_hex(8)}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(part, path)  # whole or not at all, and the first one wins
    finally:
        part.unlink()
    return path.read_bytes()


@dataclass(frozen=True, slots=True)
class Configuration:
    """What ssh's configuration is in.

    Attributes:
        files: path and text of each file, of those that are included too.
        is_all: whether ssh reads no other, and nothing else decides what they come to.

    """

    files: tuple[tuple[Path, str], ...]
    is_all: bool


class SshSettings(NamedTuple):
    """What is in ssh's own configuration.

    Attributes:
        digest: of all that was read.
        speaks: whether it speaks of masters.
        is_all: as of a :class:`Configuration`; else only ssh knows what it means for a host.

    """

    digest: str
    speaks: bool
    is_all: bool


def ssh_settings(named: Iterable[str] = ()) -> SshSettings:
    """Return what is in ssh's own configuration.

    Args:
        named: files that take the place of the user's, as ``-F`` names them.

    """
    digest, speaks = hashlib.sha256(), False
    found = configuration(named)
    for path, text in found.files:
        variables = [f"{name}={os.environ.get(name)}" for name in _VARIABLE.findall(text)]
        parts = (str(path), text, *variables, "")
        digest.update("\0".join(parts).encode("utf-8", "surrogateescape"))
        speaks = speaks or any(word in text.lower() for word in _WORDS)
    return SshSettings(digest.hexdigest(), speaks, found.is_all)


def configuration(named: Iterable[str] = ()) -> Configuration:
    """Return ssh's configuration, read as ssh reads it.

    Args:
        named: as above.

    """
    own = [Path(home(), ".ssh/config"), Path("/etc/ssh/ssh_config")]
    waiting = list(map(Path, named)) or own
    found: dict[Path, str | None] = {}
    is_all = True
    while waiting and len(found) < _MOST_FILES:
        path = waiting.pop(0)
        if path in found:
            continue
        text = found[path] = _text(path)
        is_all = is_all and text is not None
        for keyword, rest in lines(text or ""):
            if keyword == "include":
                places, understood = _included(rest)
                waiting += places
                is_all = is_all and understood
            else:
                is_all = is_all and not _depends(keyword, rest)
    read = tuple((path, text) for path, text in found.items() if text is not None)
    return Configuration(read, is_all and not waiting)


def home() -> str:
    """Return the home directory that ssh's own files are in, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # ssh refuses to work for such a user
        return os.path.expanduser("~")  # noqa: PTH111 - as it is, where there is none


def _text(path: Path) -> str | None:
    """Return what is in a file, None where it cannot be read."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            return ""  # which ssh reads as an empty file
        if not stat.S_ISREG(kind) and str(path) != os.devnull:
            return None  # a pipe would be read once only
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return None


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Return the lines of a configuration, comments excepted: keyword, in lower case, and rest."""
    for line in text.split("\n"):
        keyword, rest = setting(line)
        if keyword and not keyword.startswith("#"):
            yield keyword, rest


def setting(line: str) -> tuple[str, str]:
    """Return a setting's keyword, in lower case, and what it is set to, as it is written.

    >>> setting("  Include = ~/a b"), setting("Port=22"), setting("")
    (('include', '~/a b'), ('port', '22'), ('', ''))
    """
    found = _SETTING.match(line)
    return (found[1].lower(), found[2].rstrip(_BLANKS)) if found else ("", "")


def words(rest: str) -> list[str] | None:
    r"""Return the words of a setting, None where releases of ssh read it differently.

    >>> words('"~/my dir/*.conf" other'), words(r"a\ b")
    (['~/my dir/*.conf', 'other'], None)
    """
    if not _PLAIN_WORDS.fullmatch(rest):
        return None
    return [quoted or plain for quoted, plain in _WORD.findall(rest)]


def _depends(keyword: str, rest: str) -> bool:
    """Return whether more than its text decides what a setting comes to: a program, the network."""
    if keyword == "match":
        return any(criterion in rest.lower() for criterion in ("exec", "localnetwork"))
    return keyword == "canonicalizehostname"


def _included(rest: str) -> tuple[list[Path], bool]:
    """Return the files that an Include means, and whether those are all."""
    patterns = words(rest)
    if patterns is None:
        return [], False
    found: list[Path] = []
    understood = True
    for pattern in patterns:
        # Tokens and variables, which some releases replace; classes of characters; homes of others.
        odd = any(sign in pattern for sign in ("%", "${", "[:"))
        understood = understood and not odd and (pattern[:1] != "~" or pattern[1:2] == "/")
        # In which home, says the environment here.
        place = os.path.expanduser(pattern)  # noqa: PTH111 - nor is this any path yet
        folders = ("",) if os.path.isabs(place) else ("~/.ssh", "/etc/ssh")  # noqa: PTH117
        for folder in folders:
            whole = os.path.join(os.path.expanduser(folder), place)  # noqa: PTH111, PTH118
            try:
                found += map(Path, sorted(glob.glob(whole)))  # noqa: PTH207 - Path's is no glob(3)
            except (OSError, ValueError, re.error):
                understood = False
    return found, understood
