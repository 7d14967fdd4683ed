"""Private: the clients (ssh, podman, ...) that Ansible's plugins start, kept within bounds.

The plugins themselves read all that a host cares to send, and let nobody end a client that hangs.
"""

from __future__ import annotations

import os
import select
import selectors
import subprocess
import sys
import threading
import time
from functools import lru_cache, partial, wraps
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from ansible.errors import AnsibleError
from ansible.utils.display import Display
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.run.connections import LINK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_BYTES = 8 << 20  # a full host with its probe answers some 300 KiB
PIECE_BYTES = 64 << 10

_thread = threading.local()
_lock = threading.Lock()
_running: dict[str, Any] = {}


class AnswerTooLongError(AnsibleError):
    """A host sends without end."""

    def __init__(self) -> None:
        super().__init__(f"the host's answer is longer than {MOST_BYTES >> 20} MiB")


class _Output:
    """Output of a client, read in pieces and up to a limit."""

    def __init__(self, stream: Any, client: subprocess.Popen[bytes]) -> None:
        self._stream, self._client, self._left = stream, client, MOST_BYTES

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self) -> bytes:
        """Return the next piece; nothing at the end."""
        piece = os.read(self.fileno(), PIECE_BYTES)
        self._left -= len(piece)
        if self._left < 0:
            self._client.kill()
            self._client.wait()
            raise AnswerTooLongError
        return piece


class _Client(subprocess.Popen[bytes]):
    """A client process that can be ended by its host's name, and whose output is bounded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if name := getattr(_thread, "host", None):
            _running[name] = self

    def communicate(
        self,
        input: Any = None,  # noqa: A002 - the name that callers know
        timeout: float | None = None,
    ) -> tuple[Any, Any]:
        """Return what the process writes, after it was given its input."""
        streams: tuple[Any, ...] = (self.stdout, self.stderr)
        pieces: dict[Any, list[bytes]] = {stream: [] for stream in streams if stream}
        end = None if timeout is None else time.monotonic() + timeout
        left = memoryview(input or b"")
        with selectors.DefaultSelector() as selector:
            for stream in pieces:
                selector.register(stream, selectors.EVENT_READ)
            if self.stdin:
                selector.register(self.stdin, selectors.EVENT_WRITE)
            size = 0
            while selector.get_map():
                if end is not None and time.monotonic() > end:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                for ready, _event in selector.select(1):
                    stream = ready.fileobj
                    if stream is self.stdin:
                        left = _fed(stream, left)
                        more: Any = left
                    else:
                        more = _piece(stream)
                        pieces[stream].append(more)
                        size += len(more)
                    if not more:
                        selector.unregister(stream)
                        stream.close()
                if size > MOST_BYTES:
                    self.kill()
                    self.wait()
                    raise AnswerTooLongError
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        out, err = (b"".join(pieces[s]) if s in pieces else None for s in streams)
        return out, err


def _fed(stream: Any, left: memoryview) -> memoryview:
    """Return what is left of a process's input, after it has taken some of it."""
    try:
        return left[os.write(stream.fileno(), left[: select.PIPE_BUF]) :]
    except BrokenPipeError:
        return left[:0]


def _piece(stream: Any) -> bytes:
    """Return what a process has written, nothing at the end."""
    return os.read(stream.fileno(), PIECE_BYTES)


class _SshClient(_Client):
    """A client of the ssh plugin, which reads piece by piece."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stdout: Any = _Output(self.stdout, self)
        self.stderr: Any = _Output(self.stderr, self)

    communicate = subprocess.Popen.communicate


_spared: WeakKeyDictionary[Any, list[str]] = (
    WeakKeyDictionary()
)  # connections; why ssh all the same
_shared: WeakSet[Any] = WeakSet()  # those whose master takes commands from this process


def spare_ssh(connection: Any) -> None:
    """Let a connection of the ssh plugin do without ssh as far as that can be."""
    _spared[connection] = []


def share_master(connection: Any) -> None:
    """Let commands go to a connection's open master from this process, without ssh between."""
    _shared.add(connection)


def ask_again(connection: Any) -> None:
    """Let a connection's next command find out whether there is a master."""
    _shared.discard(connection)


def shares_master(connection: Any) -> bool:
    """Return whether its commands go to its master; one that is gone is found out by them."""
    return connection in _shared


def talk_over(connection: Any, *, connected: bool) -> None:
    """Remember what this thread's clients, until further notice, are started for."""
    _thread.connection, _thread.connected = connection, connected


def why_by_ssh(connection: Any) -> str:
    """Return why a connection needed ssh that should have done without, nothing where it did."""
    return next(iter(_spared.get(connection) or ()), "")


def _ssh_client(command: list[bytes], **options: Any) -> Any:
    """Start ssh, or what takes its place."""
    connection = getattr(_thread, "connection", None)
    reasons: list[str] = []
    if connection is None:
        make = None
    elif _thread.connected:
        make = _shared_connections if connection in _shared else None
    else:
        make = _in_process if connection in _spared else None
        reasons = _spared.get(connection, reasons)
    client = None if make is None else _stand_in(make, connection, command, options, reasons)
    if client is None:
        return _SshClient(command, **options)
    client.stdout, client.stderr = _Output(client.stdout, client), _Output(client.stderr, client)
    if name := getattr(_thread, "host", None):
        _running[name] = client
    return client


def _stand_in(
    make: Callable[[], Any],
    connection: Any,
    command: list[bytes],
    options: Mapping[str, Any],
    reasons: list[str],
) -> Any:
    """Return what does ssh's work within this process, None where only ssh can."""
    from gpuprep.run.ssh.resolved import OnlySshError  # noqa: PLC0415 - not every run needs it

    def tell(reason: str) -> None:
        reasons.append(reason)
        Display().v(f"by ssh: {reason}", host=command[-2].decode(errors="replace"))

    if reason := _only_ssh(command, options):
        tell(reason)
        return None
    words = [os.fsdecode(word) for word in command]
    try:
        client = make().start(words, _own_sockets(connection), tell)
    except OnlySshError as error:
        tell(str(error))
        return None
    Display().vvv("without a process of ssh", host=words[-2])
    return client


def _only_ssh(command: list[bytes], options: Mapping[str, Any]) -> str:
    """Return what about a client only ssh has, beside its arguments; nothing where there is none."""
    if options.get("stdin") != subprocess.PIPE:
        return "a terminal"
    pipes = {"stdin", "stdout", "stderr"}
    return "a password for the login" if options.keys() - pipes or command[0] == b"sshpass" else ""


def _own_sockets(connection: Any) -> set[str]:
    """Return the directories of masters that are Ansible's choice, or ours."""
    found = {*_spellings(str(connection.get_option("control_path_dir")))}
    path, run_dir = connection.get_option("control_path"), os.environ.get("GPUPREP_RUN_DIR")
    if run_dir and path and Path(path).parent == Path(run_dir) / LINK:
        found.add(str(Path(path).parent))
    return found


@lru_cache
def _spellings(path: str) -> tuple[str, str]:
    """Return a directory's path with and without symbolic links."""
    folder = Path(path).expanduser()
    return str(folder), str(folder.resolve())


@lru_cache
def _made(kind: str) -> Any:
    environ = dict(os.environ)  # which decodes each variable each time it is asked
    if kind == "asyncssh":
        from gpuprep.run.ssh.client import Clients  # noqa: PLC0415 - takes time

        return Clients(environ)
    from gpuprep.run.ssh.multiplex import SharedConnections  # noqa: PLC0415 - as above

    return SharedConnections(environ)


def _in_process() -> Any:
    """Return what makes connections that are no processes: one for all threads."""
    with _lock:
        return _made("asyncssh")


def _shared_connections() -> Any:
    """Return what gives commands to open masters: one for all threads."""
    with _lock:
        return _made("masters")


def bound(connection: Any) -> None:
    """Bound what a connection reads from now on; plugins that start no process are left alone."""
    module: Any = sys.modules[type(connection).__module__]
    client = _ssh_client if connection.transport == "ssh" else _Client
    if hasattr(module, "subprocess"):
        module.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": client})
    if getattr(module, "Popen", None) is subprocess.Popen:
        module.Popen = client
    kind = type(connection)
    if hasattr(kind, "_split_ssh_args"):
        connection._split_ssh_args = partial(_split_once, kind._split_ssh_args)
    if hasattr(kind, "_init_shm") and not hasattr(kind._init_shm, "__wrapped__"):
        kind._init_shm = _for_passwords(kind._init_shm)


def _for_passwords(make: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Return what gives a client its password by way of its environment.

    Ansible copies the environment, variable by variable, for those that have none.
    """

    @wraps(make)
    def options(connection: Any) -> dict[str, Any]:
        given = (connection.get_option(name) for name in ("password", "pkcs11_provider"))
        return make(connection) if connection._play_context.password or any(given) else {}

    return options


def _split_once(split: Callable[[str], list[str]], arguments: str) -> list[str]:
    """Return the words of ssh's arguments, in which hosts hardly differ; to split them takes time."""
    return [*_words(split, arguments)]


@lru_cache
def _words(split: Callable[[str], list[str]], arguments: str) -> tuple[str, ...]:
    return tuple(split(arguments))


def work_for(host: str) -> None:
    """Remember that this thread's clients, until further notice, talk to a host."""
    _thread.host = host


def end(host: str) -> None:
    """End the client that talks to a host, if there is one."""
    client = _running.pop(host, None)
    if client is not None and client.poll() is None:
        client.terminate()
