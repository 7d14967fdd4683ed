"""Commands over connections that ssh keeps open, without a process of ssh for each.

A master of ssh takes commands at its socket in a small language of its own, which OpenSSH describes
in PROTOCOL.mux. Three pipes go along; from then on the master alone moves the data.
"""

from __future__ import annotations

import array
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Final

from gpuprep.run.ssh.resolved import OnlySshError, Resolver, else_by_ssh, master
from gpuprep.run.ssh.settings import of_session
from gpuprep.run.ssh.stand_in import LOST, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_HELLO: Final = 0x00000001
_VERSION: Final = 4
_NEW_SESSION: Final = 0x10000002
_OPENED: Final = 0x80000006
_EXIT: Final = 0x80000004
_REQUEST: Final = 1  # the only one on its connection
_NO_ESCAPE: Final = 0xFFFFFFFF
_MOST: Final = 256 << 10  # bytes of a message, as in ssh
_SECONDS: Final = 10.0  # that a master may take for a greeting: it is on this machine


class SharedConnections:
    """Starts commands over open masters, and keeps what they have in common.

    Args:
        environ: this process's environment.

    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._resolver = Resolver()

    def start(
        self, command: Sequence[str], sockets: Collection[str], tell: Callable[[str], None]
    ) -> StandIn:
        """Start a command.

        Args:
            command: ssh's command line, the host and what it is to run at its end.
            sockets: directories of masters; those in others are the user's own choice.
            tell: called with the reason when ssh takes over.

        Raises:
            OnlySshError: this is only for ssh itself.

        """
        path = master(command, sockets)
        if path is None:
            raise OnlySshError("no master of ours")
        with else_by_ssh():
            words, resolved = self._resolver.of_client(command, sockets)
            variables = of_session(resolved, self._resolver.defaults(words[0]), self._environ)
            request = _request(command[-1], variables)
            return _Command(_greeted(path), command, request, tell)


class _Command(StandIn):
    """A command on a host, over its master."""

    def __init__(
        self,
        connection: socket.socket,
        command: Sequence[str],
        request: bytes,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(command, tell)
        self._connection, self._request = connection, request
        threading.Thread(target=self._work, daemon=True).start()

    def _cancel(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _work(self) -> None:
        """See to it that there is an exit status, or ssh to give one."""
        code: int | None = None
        with self._connection:
            try:
                self._ask()
            except (OSError, OnlySshError, struct.error) as error:
                if not self._hand_over(str(error)):
                    self._settle(-self._ended_by or LOST)
                return
            self._leave()  # or whoever reads would wait for our end of the pipes too
            with contextlib.suppress(OSError, OnlySshError, struct.error):
                while True:
                    kind, content = _message(self._connection)
                    if kind == _EXIT:
                        _session, code = struct.unpack(">II", content)
        # The end of the connection says that all output is in the pipes.
        self._settle(-self._ended_by or LOST if code is None else code)

    def _ask(self) -> None:
        """Have the command begun.

        Raises:
            OnlySshError: the master does not; it has not read anything either.

        """
        self._connection.sendall(self._request)
        for descriptor in self._descriptors:
            _pass(self._connection, descriptor)
        kind, _ = _message(self._connection)
        if kind != _OPENED:
            raise OnlySshError("its master takes no command more")


def _greeted(path: str) -> socket.socket:
    """Return a connection to a master.

    Raises:
        OnlySshError: there is none, or it is of another kind.

    """
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(_SECONDS)
        found.connect(path)
        found.sendall(_framed(struct.pack(">II", _HELLO, _VERSION)))
        kind, content = _message(found)
        found.settimeout(None)  # the host takes what it takes
    except (OSError, OnlySshError, struct.error) as error:
        found.close()
        raise OnlySshError(f"its master does not answer: {error}") from None
    if kind != _HELLO or content[:4] != struct.pack(">I", _VERSION):
        found.close()
        raise OnlySshError("its master speaks another language")
    return found


def _request(command: str, variables: Mapping[str, str]) -> bytes:
    """Return the message that asks for a command: no terminal, no X11, no agent, no subsystem."""
    numbers = struct.pack(">IIIII", 0, 0, 0, 0, _NO_ESCAPE)
    texts = ["", command, *(f"{name}={value}" for name, value in variables.items())]
    return _framed(
        struct.pack(">II", _NEW_SESSION, _REQUEST)
        + _text("")
        + numbers
        + b"".join(map(_text, texts))
    )


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(data)) + data


def _framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _message(connection: socket.socket) -> tuple[int, bytes]:
    """Return kind and content of the next message.

    Raises:
        OnlySshError: there is none.
        OSError: as the socket says.

    """
    (length,) = struct.unpack(">I", _exactly(connection, 4))
    if length > _MOST:
        raise OnlySshError("its master speaks another language")
    content = _exactly(connection, length)
    return struct.unpack(">I", content[:4])[0], content[4:]


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise OnlySshError("its master has hung up")
        data += piece
    return data


def _pass(connection: socket.socket, descriptor: int) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
    connection.sendmsg([b"\0"], [rights])
