"""Private: ssh's connection masters, kept for the next run of the program that started this one.

Ansible names a master after host, port and user alone. Here everything counts by which one
connection differs from another, so that none is ever used with another's key, password or way.
"""

from __future__ import annotations

import os
import shlex
import socket
import stat
import subprocess
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible.utils.display import Display
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.model.text import clean_line
from gpuprep.run.connections import (
    LINK,
    LONGEST,
    PERSIST_SECONDS,
    SshSettings,
    socket_path,
    ssh_settings,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

KEEPING = (
    f"-o ControlMaster=auto -o ControlPersist={PERSIST_SECONDS}s"
    " -o ServerAliveInterval=15 -o ServerAliveCountMax=3"
)
LEFT_TO_SSH = "-C"  # the user's own configuration says what becomes of masters
# Options of the ssh plugin by which connections differ.
TELLING = (
    "ssh_executable",
    "host",
    "port",
    "remote_user",
    "ssh_args",
    "ssh_common_args",
    "ssh_extra_args",
    "password",
    "password_mechanism",
    "private_key",
    "pkcs11_provider",
    "host_key_checking",
)
ARGUMENTS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
LOOK_SECONDS = 10
YOUNG_SECONDS = 60  # within which a socket has come to listen


def keep(connection: Any, *, wanted: bool = True) -> None:
    """Let a connection use, or become, one that outlives the run; the user's settings come first.

    Where its master's socket could not be made, it does without one.

    Args:
        connection: not yet connected; others than ssh's are left alone.
        wanted: whether the host's connection may be kept.

    """
    if connection.transport == "ssh" and not (wanted and _is_kept(connection)):
        _do_without_socket(connection)


def _is_kept(connection: Any) -> bool:
    """Return whether a connection got a master that outlives the run."""
    run_dir = os.environ.get("GPUPREP_RUN_DIR")
    if not run_dir or not (Path(run_dir) / LINK).is_dir() or not _is_ours(connection):
        return False
    arguments = option(connection, "ssh_args")
    ours = arguments == default_arguments()
    named = list(_named_files(connection))
    settings = _settings(tuple(named))
    asked = not settings.is_all or (ours and settings.speaks)
    answer = _answer(connection, named) if asked else ""
    if ours and _has_own_path(answer):
        connection.set_option("ssh_args", LEFT_TO_SSH)
        return False
    if not settings.is_all and not answer:
        return False  # nobody knows which machine the name leads to
    if ours:
        connection.set_option("ssh_args", KEEPING)
    parts = [f"{name}={option(connection, name)}" for name in TELLING]
    parts += [settings.digest] if settings.is_all else [settings.digest, answer]
    path = socket_path(Path(run_dir), [*parts, *_identity(connection)])
    if path is not None:
        connection.set_option("control_path", str(path))
    elif ours:
        connection.set_option("ssh_args", arguments)
    return path is not None


def _do_without_socket(connection: Any) -> None:
    """Let a connection have no master where the path of its socket is longer than ssh can take.

    So it is below a home with a long name, of which Ansible takes no notice.
    """
    words = [
        word.lower() for name in ARGUMENTS for word in _words(str(option(connection, name) or ""))
    ]
    if any("controlpath" in word for word in words):
        return
    path = control_path(connection) if any("controlpersist" in word for word in words) else None
    # A variable may hold any character, a lone surrogate too.
    if path is None or len(str(path).encode("utf-8", "surrogatepass")) <= LONGEST:
        return
    arguments = option(connection, "ssh_args") or ""
    connection.set_option("ssh_args", f"{arguments} -o ControlPath=none")
    Display().warning(
        f"{clean_line(str(path.parent))}: too long a path for ssh's sockets, so each connection is"
        " made anew, which takes longer; set ANSIBLE_SSH_CONTROL_PATH_DIR to a shorter one"
    )


def control_path(connection: Any) -> Path | None:
    """Return where a connection's master listens, None where that cannot be told."""
    try:
        path = connection.get_option("control_path") or connection._create_control_path(
            *(connection.get_option(name) for name in ("host", "port", "remote_user"))
        )
        folder = connection.get_option("control_path_dir")
        return Path(path % {"directory": folder}).expanduser()
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError):
        return None  # not ssh, or not in Ansible's names


def start_anew(connection: Any) -> None:
    """Let a connection that is tried again have a master of its own: a kept one may be what hangs.

    The kept one takes no further requests; whoever uses it at the moment goes on.
    """
    run_dir, path = os.environ.get("GPUPREP_RUN_DIR"), option(connection, "control_path")
    if not run_dir or not path or Path(path).parent != Path(run_dir) / LINK:
        return
    program = str(option(connection, "ssh_executable") or "ssh")
    with suppress(OSError):
        try:
            subprocess.run(
                [program, "-o", f"ControlPath={path}", "-O", "stop", "--", "master"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LOOK_SECONDS,
                check=True,
            )
        except subprocess.SubprocessError:
            Path(path).unlink(missing_ok=True)


def remove_dead(listening: Container[str] | None) -> None:
    """Remove the sockets of masters that are gone from the directory that outlives the run.

    A master removes its socket by the path that it was given, which went through the directory of
    the run that made it.

    Args:
        listening: names of the masters that live, None = not known.

    """
    run_dir = os.environ.get("GPUPREP_RUN_DIR")
    if listening is None or not run_dir:
        return
    with suppress(OSError), os.scandir(Path(run_dir) / LINK) as entries:
        for entry in entries:
            if entry.name not in listening:
                _remove_dead(entry)


def _remove_dead(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        if not stat.S_ISSOCK(found.st_mode) or time.time() - found.st_mtime < YOUNG_SECONDS:
            return  # may be about to listen
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)  # noqa: FBT003 - positional only
            try:
                client.connect(entry.path)  # one of another container is in no table of this one
            except ConnectionRefusedError:
                Path(entry.path).unlink()


def option(connection: Any, name: str) -> Any:
    """Return an option of a connection, None where its plugin knows none of that name."""
    try:
        return connection.get_option(name)
    except KeyError:
        return None


@lru_cache
def default_arguments() -> Any:
    """Return what Ansible gives to ssh when nobody says otherwise."""
    definitions = C.config.get_configuration_definitions("connection", "ssh")
    return definitions.get("ssh_args", {}).get("default")


def _is_ours(connection: Any) -> bool:
    """Return whether a connection is ssh's, and where its master is was left to the run."""
    if option(connection, "control_path"):
        return False
    run_dir = os.environ.get("GPUPREP_RUN_DIR", "")
    return bool(run_dir) and option(connection, "control_path_dir") == str(Path(run_dir) / "cp")


def _identity(connection: Any) -> Iterator[Any]:
    """Return by what this machine proves who it is: files that may change under one name."""
    yield os.environ.get("SSH_AUTH_SOCK", "")
    file = option(connection, "private_key_file")
    yield file
    if file:
        with suppress(OSError, RuntimeError):
            found = Path(str(file)).expanduser().stat()
            yield from (found.st_ino, found.st_mtime_ns, found.st_size)


def _named_files(connection: Any) -> Iterator[str]:
    """Return the files that ssh is told to read in place of the user's configuration."""
    words: list[str] = []
    for name in ARGUMENTS:
        words += _words(str(option(connection, name) or ""))
    for number, word in enumerate(words):
        if word == "-F" and number + 1 < len(words):
            yield words[number + 1]
        elif word.startswith("-F") and word != "-F":
            yield word[2:]


@lru_cache  # hosts hardly differ in it, and to split it takes time
def _words(arguments: str) -> tuple[str, ...]:
    with suppress(ValueError):
        return tuple(shlex.split(arguments))
    return ()


@lru_cache
def _settings(named: tuple[str, ...]) -> SshSettings:
    return ssh_settings(named)


def _answer(connection: Any, named: list[str]) -> str:
    """Return what ssh makes of its configuration for a host, nothing where it does not tell."""
    program = str(option(connection, "ssh_executable") or "ssh")
    host = str(option(connection, "host") or connection._play_context.remote_addr)
    files = [word for name in named for word in ("-F", name)]
    user, port = option(connection, "remote_user"), option(connection, "port")
    to = [*(["-l", str(user)] if user else []), *(["-p", str(port)] if port else []), "--", host]
    try:
        done = subprocess.run(
            [program, "-G", *files, *to],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=LOOK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _has_own_path(answer: str) -> bool:
    """Return whether ssh's configuration gives a host's connection a master of its own."""
    lines = dict(line.partition(" ")[::2] for line in answer.splitlines())
    return lines.get("controlpath", "none") != "none"
