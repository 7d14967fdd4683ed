"""A client of ssh that is no process: asyncssh makes the connections, all in one thread.

It takes ssh's command line, and says of hosts that do not answer what ssh says.

All hosts share that thread: nothing in it may wait for one of them, or for whoever reads what they
say, and it must know of no descriptor that is closed, since the next one gets the same number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import threading
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from gpuprep.run.ssh.identities import Identities
from gpuprep.run.ssh.known_hosts import Keys, KnownHosts
from gpuprep.run.ssh.library import (
    asyncssh,
    get_certificate_algs,
    get_encryption_algs,
    get_kex_algs,
    get_mac_algs,
    get_public_key_algs,
)
from gpuprep.run.ssh.resolved import OnlySshError, Resolver, else_by_ssh
from gpuprep.run.ssh.settings import Algorithms, Settings, settings, wants_kerberos
from gpuprep.run.ssh.stand_in import LOST, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

_PIECE: Final = 1 << 16
_MOST_WAITING: Final = 1 << 20  # bytes that nobody has read yet
_MOST_BANNERS: Final = 1 << 16  # bytes of what a host tells before a login
_LOOK_SECONDS: Final = 10
_PROXY_SECONDS: Final = 5  # that a program has to end
_CHEAP: Final = frozenset({"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"})
_CERTIFICATE: Final = "-cert-v01@openssh.com"
_FAMILIES: Final = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}


class Clients:
    """Starts clients, and keeps what they have in common: the loop, and files that were read.

    Args:
        environ: this process's environment.

    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # what goes wrong is told by ssh
        self._environ = environ
        self._resolver = Resolver()
        self._known_hosts = KnownHosts()
        self.identities = Identities()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="asyncssh", daemon=True).start()

    def start(
        self, command: Sequence[str], sockets: Collection[str], tell: Callable[[str], None]
    ) -> Client:
        """Start a client.

        Args:
            command: ssh's command line, the host and what it is to run at its end.
            sockets: directories of masters; those in others are the user's own choice.
            tell: called with the reason when the client hands over to ssh.

        Raises:
            OnlySshError: this is only for ssh itself.

        """
        with else_by_ssh():
            return Client(self, command, self._login(command, sockets), tell)

    def _login(self, command: Sequence[str], sockets: Collection[str]) -> _Login:
        words, resolved = self._resolver.of_client(command, sockets)
        found = settings(resolved, self._resolver.defaults(words[0]), self._environ, words)
        if wants_kerberos(resolved) and _has_ticket(self._environ.get("KRB5CCNAME", "")):
            raise OnlySshError("a Kerberos ticket")
        keys = self._known_hosts.keys(found.known_hosts, found.names)
        if not keys.own and not keys.authorities and (keys.revoked or not found.new_keys_pass):
            raise OnlySshError("a host whose key is not known")
        return _Login(found, keys, _offer(found.algorithms, keys))


@lru_cache
def _has_ticket(cache: str) -> bool:
    """Return whether there is a Kerberos ticket in a cache, or in the user's usual one."""
    if shutil.which("klist") is None:
        return bool(cache) or os.path.exists(f"/tmp/krb5cc_{os.getuid()}")  # noqa: PTH110, S108
    done = subprocess.run(
        ["klist", "-s"], stdin=subprocess.DEVNULL, timeout=_LOOK_SECONDS, check=False
    )
    return done.returncode == 0


class _Offer:
    """Names of algorithms that both ssh would offer and asyncssh knows, in ssh's order."""

    def __init__(self, wanted: Algorithms, host_keys: Sequence[str]) -> None:
        self.kex_algs = _common("key exchange", wanted.key_exchange, get_kex_algs())
        ciphers = _common("ciphers", wanted.encryption, get_encryption_algs())
        # Where ssh's order is nobody's choice, those first that cost least in Python.
        cheap = [name for name in ciphers if name in _CHEAP] if wanted.any_cipher else []
        self.encryption_algs = [*cheap, *(name for name in ciphers if name not in cheap)]
        self.mac_algs = _common("macs", wanted.integrity, get_mac_algs())
        self.signature_algs = _common("signatures", wanted.signatures, get_public_key_algs())
        every = [*get_certificate_algs(), *get_public_key_algs()]
        possible = [name for name in wanted.host_keys if name in host_keys]
        self.server_host_key_algs = _common("host keys", possible, every)


def _common(what: str, wanted: Iterable[str], known: Iterable[bytes]) -> list[str]:
    names = {name.decode("ascii") for name in known}
    found = [name for name in wanted if name in names]
    if not found:
        raise OnlySshError(f"algorithms ({what})")
    return found


def _offer(wanted: Algorithms, keys: Keys) -> _Offer:
    """Return what to offer to a host: of its keys' algorithms, those that can be verified."""
    types = frozenset(key.partition(" ")[0] for key in keys.own)
    if keys.authorities:
        types |= {name for name in wanted.host_keys if name.endswith(_CERTIFICATE)}
    elif not types:  # any key passes, and no certificate would be of any use
        types = frozenset(name for name in wanted.host_keys if not name.endswith(_CERTIFICATE))
    return _offered(wanted, types)


@lru_cache
def _offered(wanted: Algorithms, types: frozenset[str]) -> _Offer:
    rsa = {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in types else set()
    return _Offer(wanted, [*types, *rsa])


class _Login:
    """One connection: how to make it, what to expect of the host."""

    def __init__(self, found: Settings, keys: Keys, offer: _Offer) -> None:
        self.settings = found
        self.offer = offer
        self.passes = not keys.own and not keys.authorities
        self.known = (_imported(keys.own), _imported(keys.authorities), _imported(keys.revoked))


def _imported(keys: Iterable[str]) -> list[asyncssh.SSHKey]:
    return [key for text in keys if (key := _key(text)) is not None]


@lru_cache(maxsize=1 << 12)
def _key(text: str) -> asyncssh.SSHKey | None:
    with contextlib.suppress(ValueError):
        return asyncssh.import_public_key(text)
    return None


class _NotBegunError(Exception):
    """The host did not begin the command; another try does no harm."""


class _SilentError(Exception):
    """The host did not answer; says so in ssh's words."""


class Client(StandIn):
    """A command on a host, over a connection of its own that asyncssh makes."""

    def __init__(
        self, clients: Clients, command: Sequence[str], login: _Login, tell: Callable[[str], None]
    ) -> None:
        super().__init__(command, tell)
        self._clients, self._login = clients, login
        self._task: asyncio.Task[int | None] | None = None
        clients.loop.call_soon_threadsafe(self._start)

    def _cancel(self) -> None:
        self._clients.loop.call_soon_threadsafe(self._cancel_task)

    # --- in the loop ------------------------------------------------------------------------

    def _start(self) -> None:
        self._task = self._clients.loop.create_task(self._work())
        self._task.add_done_callback(self._end_task)

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end_task(self, task: asyncio.Task[int | None]) -> None:
        """Give the exit status; a task that is cancelled in time has not even begun."""
        if task.cancelled():
            code: int | None = -self._ended_by
        else:
            code = LOST if task.exception() else task.result()
        if code is not None:  # else ssh will give it
            self._settle(code)

    async def _work(self) -> int | None:
        """Return the exit status, None where ssh has taken over."""
        talk = _Talk(self._clients, self._login, self.args[-1], self._descriptors)
        try:
            with contextlib.closing(talk):  # before anybody else has its descriptors
                return await talk.run()
        except _SilentError as error:
            self._say(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, ssh is the one to say it
            if not talk.begun:
                over = self._hand_over(f"{error}" or type(error).__name__)
                return None if over else -self._ended_by or LOST
            self._say(f"Connection to {self._login.settings.host} failed: {error}")
        return LOST


class _Talk:
    """One command on one host, over a connection of its own."""

    def __init__(
        self, clients: Clients, login: _Login, command: str, descriptors: Sequence[int]
    ) -> None:
        self._loop, self._identities = clients.loop, clients.identities
        self._login, self._settings, self._command = login, login.settings, command
        self._source, output, self._stderr = descriptors
        self._output, self._errors = _Sink(self._loop, output), _Sink(self._loop, self._stderr)
        self._connection: asyncssh.SSHClientConnection | None = None
        self._proxy: subprocess.Popen[bytes] | None = None
        self._peer = "UNKNOWN port 65535"  # ssh's words where it speaks through another program
        self.begun = False

    async def run(self) -> int:
        """Return the exit status of the command."""
        places = () if self._settings.proxy else await self._addresses()
        seconds = self._settings.seconds
        deadline = None if seconds is None else self._loop.time() + seconds  # names take their time
        sock = self._proxied() if self._settings.proxy else await self._connected(places, deadline)
        connection = await self._logged_in(sock, deadline)
        session = _Session(self._loop, self._output, self._errors)
        channel, _ = await connection.create_session(
            lambda: session,
            self._command,
            encoding=None,
            env=list(self._settings.environment.items()),
        )
        self.begun = True
        with _Source(self._loop, self._source, channel):
            code = await session.ended
        if session.fault:
            self._errors.write(f"{self._lost(session.fault)}\r\n".encode())
        for sink in (self._output, self._errors):
            await sink.empty.wait()
        return code

    def close(self) -> None:
        """Leave nothing behind."""
        self._output.close()
        self._errors.close()
        if self._connection is not None:
            self._connection.close()
        if self._proxy is not None:
            threading.Thread(target=_end, args=(self._proxy,), daemon=True).start()

    def _lost(self, fault: Exception) -> str:
        if "keepalive" in str(fault):
            return f"Timeout, server {self._settings.host} not responding."
        return f"Connection to {self._settings.host} closed by remote host."

    def _proxied(self) -> socket.socket:
        """Return a socket to the program that connects to the host."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._proxy = subprocess.Popen(
                [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {self._settings.proxy}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._stderr,
            )
        return ours

    async def _connected(self, places: Iterable[Any], deadline: float | None) -> socket.socket:
        """Return a socket to the host, at the first of its addresses that answers.

        Raises:
            _SilentError: it cannot be reached.

        """
        host, port = self._settings.host, self._settings.port
        found: OSError | None = None
        for family, kind, number, _name, address in places:
            sock = socket.socket(family, kind, number)
            sock.setblocking(False)  # noqa: FBT003
            left = None if deadline is None else max(0.0, deadline - self._loop.time())
            try:
                await asyncio.wait_for(self._loop.sock_connect(sock, address), left)
            except TimeoutError as error:
                # The system's own limit has an error number, and is the system's to tell.
                found = error if error.errno else TimeoutError(0, "Connection timed out")
                sock.close()
            except OSError as error:
                found = error
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                self._peer = f"{address[0]} port {port}"
                return sock
        why = os.strerror(found.errno) if found and found.errno else "Connection timed out"
        raise _SilentError(f"ssh: connect to host {host} port {port}: {why}")

    async def _addresses(self) -> list[Any]:
        host, port = self._settings.host, self._settings.port
        family = _FAMILIES[self._settings.family]
        with contextlib.suppress(OSError):
            numeric = socket.AI_NUMERICHOST
            return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=numeric)
        look = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        try:
            found: list[Any] = await _in_thread(self._loop, look)
        except OSError as error:
            raise _SilentError(
                f"ssh: Could not resolve hostname {host}: {error.strerror}"
            ) from None
        return found

    async def _logged_in(
        self, sock: socket.socket, deadline: float | None
    ) -> asyncssh.SSHClientConnection:
        """Return the connection, authenticated; where there is none, the socket is closed.

        Raises:
            _SilentError: whoever is there, is no sshd, or a very slow one.
            _NotBegunError: see :meth:`_keys`.

        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                keys = await self._keys(stack)
            except BaseException:
                sock.close()
                raise
            owner = _Owner(self._login, self._errors)
            connecting = self._loop.create_task(self._connect(sock, owner, keys))
            connecting.add_done_callback(partial(_close_unless_connected, sock))
            try:
                await asyncio.wait(
                    {connecting},
                    timeout=None if deadline is None else max(0.0, deadline - self._loop.time()),
                )
                if not connecting.done() and not owner.has_answered:
                    raise _SilentError(
                        "Connection timed out during banner exchange\r\n"
                        f"Connection to {self._peer} timed out"
                    )
                self._connection = await connecting
            finally:
                connecting.cancel()
        return self._connection

    async def _keys(self, stack: contextlib.AsyncExitStack) -> Sequence[asyncssh.SSHKeyPair]:
        """Return the keys to offer.

        Raises:
            _NotBegunError: there is none.

        """
        files, only = self._settings.identities, self._settings.identities_only
        keys = self._identities.offered(files, await self._agents(stack), only=only)
        if not keys:
            raise _NotBegunError("no key that can be used without its passphrase")
        return keys

    async def _agents(self, stack: contextlib.AsyncExitStack) -> Sequence[asyncssh.SSHKeyPair]:
        if self._settings.agent:
            with contextlib.suppress(OSError, asyncssh.Error, ValueError):
                agent = await stack.enter_async_context(
                    asyncssh.SSHAgentClient(self._settings.agent)
                )
                return await agent.get_keys()
        return ()

    async def _connect(
        self, sock: socket.socket, owner: _Owner, keys: Sequence[asyncssh.SSHKeyPair]
    ) -> asyncssh.SSHClientConnection:
        wanted, offer = self._settings, self._login.offer
        return await asyncssh.connect(
            wanted.host,
            wanted.port,
            sock=sock,
            config=None,
            client_factory=lambda: owner,
            username=wanted.user,
            client_keys=list(keys),
            known_hosts=self._login.known,
            host_key_alias=wanted.known_as,
            kex_algs=offer.kex_algs,
            encryption_algs=offer.encryption_algs,
            mac_algs=offer.mac_algs,
            signature_algs=offer.signature_algs,
            server_host_key_algs=offer.server_host_key_algs,
            compression_algs=["zlib@openssh.com", "none"] if wanted.compression else ["none"],
            preferred_auth=["publickey"],
            agent_path=None,
            agent_forwarding=False,
            gss_host=None,
            host_based_auth=False,
            kbdint_auth=False,
            password_auth=False,
            x509_trusted_certs=None,
            login_timeout=0,
            keepalive_interval=wanted.alive_interval,
            keepalive_count_max=wanted.alive_most,
            tcp_keepalive=wanted.tcp_keepalive,
            request_pty=False,
            x11_forwarding=False,
            encoding=None,
        )


def _close_unless_connected(sock: socket.socket, connecting: asyncio.Task[Any]) -> None:
    """Close a socket that whoever tried to connect has let go of, and not before."""
    if connecting.cancelled() or connecting.exception():
        sock.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, also one that will not."""
    process.terminate()
    try:
        process.wait(_PROXY_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> asyncio.Future[Any]:
    """Return what work gives that takes its time, in a thread of its own.

    The loop's own threads are few: names of some hosts that nobody answers for would hold them all.
    """
    future = loop.create_future()

    def do() -> None:
        try:
            settle = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - for whoever waits
            settle = partial(future.set_exception, error)
        # Nobody may wait any more.
        loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    threading.Thread(target=do, daemon=True).start()
    return future


class _Owner(asyncssh.SSHClient):
    """Told of what happens to a connection."""

    def __init__(self, login: _Login, errors: _Sink) -> None:
        self._login, self._errors, self._said = login, errors, 0
        self._connection: asyncssh.SSHClientConnection | None = None

    @property
    def has_answered(self) -> bool:
        """Whether the host has said that it is an sshd."""
        one = self._connection
        return one is not None and bool(one.get_extra_info("server_version"))

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Remember the connection, which is not authenticated yet."""
        self._connection = conn

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Return whether the key of a host that is in no file passes."""
        del host, addr, port, key
        return self._login.passes

    def auth_banner_received(self, msg: str, lang: str) -> None:
        """Show what the host tells everybody before they have logged in.

        Raises:
            asyncssh.ProtocolError: it tells without end; ssh is read up to a limit.

        """
        del lang
        data = msg.encode(errors="replace")
        self._said += len(data)
        if self._said > _MOST_BANNERS:
            raise asyncssh.ProtocolError("login banners without end")
        self._errors.write(data)


class _Session(asyncssh.SSHClientSession[bytes]):
    """Takes what a command prints to the pipes of who started it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, output: _Sink, errors: _Sink) -> None:
        self._sinks = {None: output, asyncssh.EXTENDED_DATA_STDERR: errors}
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._code = LOST
        self.ended: asyncio.Future[int] = loop.create_future()
        self.fault: Exception | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Remember the channel."""
        self._channel = chan
        for sink in self._sinks.values():
            sink.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass data on."""
        self._sinks[datatype].write(data)

    def eof_received(self) -> bool:
        """Return that the command may still be fed."""
        return True

    def exit_status_received(self, status: int) -> None:
        """Remember how the command ended."""
        self._code = status

    def connection_lost(self, exc: Exception | None) -> None:
        """End; without an exit status it is ssh's own."""
        self.fault = exc if self._code == LOST else None
        if not self.ended.done():
            self.ended.set_result(self._code)


class _Sink:
    """The writing end of a pipe, which its owner closes after this."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._loop, self._descriptor = loop, descriptor
        self._waiting = bytearray()
        self._paused = self._closed = False
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.empty = asyncio.Event()
        self.empty.set()

    def write(self, data: bytes) -> None:
        """Write, now or as soon as there is room; nothing any more once this is closed."""
        if self._closed:
            return
        self._waiting += data
        if self.empty.is_set():
            self._flush()
        if self.channel and len(self._waiting) > _MOST_WAITING:  # the other sink may have resumed
            self._paused = True
            self.channel.pause_reading()

    def close(self) -> None:
        """Let go of the descriptor, and of what still waits."""
        self._closed = True
        self._waiting.clear()
        if not self.empty.is_set():
            self._loop.remove_writer(self._descriptor)
            self.empty.set()

    def _flush(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._descriptor, self._waiting[:_PIECE])]
        except BlockingIOError:
            if self.empty.is_set():
                self.empty.clear()
                self._loop.add_writer(self._descriptor, self._flush)
            return
        except OSError:  # nobody reads any more
            self._waiting.clear()
        if not self.empty.is_set():
            self._loop.remove_writer(self._descriptor)
            self.empty.set()
        if self._paused and self.channel:
            self._paused = False
            self.channel.resume_reading()


class _Source:
    """The reading end of a pipe, fed to a command while it runs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        descriptor: int,
        channel: asyncssh.SSHClientChannel[bytes],
    ) -> None:
        self._loop, self._descriptor, self._channel = loop, descriptor, channel
        self._open = True

    def __enter__(self) -> None:
        os.set_blocking(self._descriptor, False)
        self._loop.add_reader(self._descriptor, self._read)

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if self._channel.is_closing():
            self._stop()
        elif data:
            self._channel.write(data)
        else:
            self._channel.write_eof()
            self._stop()

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)
