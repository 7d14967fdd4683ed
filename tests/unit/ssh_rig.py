"""A real sshd's protocol on loopback, and one command line carried out by ssh and by our client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import asyncssh

from gpuprep.run.ssh.resolved import OnlySshError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

OURS = "AsyncSSH"
SECONDS = 60
DATA = b"x" * 70_000
COMMAND = "wc -c; echo wrong >&2; exit 3"


class Starts(Protocol):
    """What starts clients."""

    _environ: Mapping[str, str]

    def start(
        self, command: Sequence[str], sockets: Collection[str], tell: Callable[[str], None]
    ) -> Any:
        """Start one."""


@dataclass
class Seen:
    """What a server saw of one connection."""

    client: str
    offered: list[bytes] = field(default_factory=list)
    logged_in: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    algorithms: dict[str, str] = field(default_factory=dict)
    forwarded: bool = False

    @property
    def is_ours(self) -> bool:
        return OURS in self.client


class Sshd:
    """A server; logins are by the keys in ``accepted``, ``banners`` are told before them."""

    def __init__(self, host_key: asyncssh.SSHKey, certificate: Any = None) -> None:
        self.accepted: set[bytes] = set()
        self.seen: list[Seen] = []
        self.banners: Sequence[str] = ()
        self.port = 0
        self._keys = [(host_key, certificate)] if certificate else [host_key]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Server(self),
            server_host_keys=self._keys,
            process_factory=self._run,
            encoding=None,
            allow_scp=False,
        )
        self.port = self._server.get_port()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        seen: Seen = process.get_extra_info("connection").get_owner().seen
        seen.environment = {str(k): str(v) for k, v in (process.env or {}).items()}
        connection = process.get_extra_info("connection")
        seen.algorithms = {
            name: connection.get_extra_info(name)
            for name in ("send_cipher", "recv_cipher", "send_compression")
        }
        if process.command == "drop":
            connection.abort()
            return
        if process.command == "signal":
            process.exit_with_signal("KILL")
            return
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", process.command or "",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await child.communicate(await process.stdin.read())
            process.stdout.write(out)
            process.stderr.write(err)
            process.exit(await child.wait())
        finally:  # its client may be gone
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    def close(self) -> None:
        """End the server with all that it does; Python complains of what is left in other tests."""

        async def close() -> None:
            self._server.close()
            await self._server.wait_closed()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=SECONDS) if others else None

        self._do(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()


class _Server(asyncssh.SSHServer):
    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn
        self.seen = Seen("")
        self._sshd.seen.append(self.seen)

    def begin_auth(self, username: str) -> bool:
        del username
        self.seen.client = str(self._conn.get_extra_info("client_version"))
        for text in self._sshd.banners:
            self._conn.send_auth_banner(text)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        del username
        if key.public_data not in self.seen.offered:
            self.seen.offered.append(key.public_data)
        return key.public_data in self._sshd.accepted

    def auth_completed(self) -> None:
        self.seen.logged_in = True

    def connection_requested(self, *_: Any) -> bool:
        self.seen.forwarded = True
        return True


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    code: int
    out: bytes
    err: str
    reasons: tuple[str, ...] = ()


def by_ssh(command: Sequence[str], data: bytes, environ: Mapping[str, str]) -> Outcome:
    """Carry a command line out as everybody does."""
    done = subprocess.run(
        command, input=data, capture_output=True, env=dict(environ), timeout=SECONDS, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def by_us(
    clients: Starts,
    command: Sequence[str],
    data: bytes,
    during: Callable[[Any], None] = lambda _client: None,
    sockets: Collection[str] = ("/none",),
) -> Outcome:
    """Carry a command line out by our client, or by ssh where that refuses."""
    reasons: list[str] = []
    try:
        client: Any = clients.start(command, sockets, reasons.append)
    except OnlySshError as error:
        done = by_ssh(command, data, clients._environ)
        return Outcome(done.code, done.out, done.err, (str(error),))
    read: dict[str, bytes] = {}

    def take(name: str) -> None:
        read[name] = getattr(client, name).read()

    threads = [
        threading.Thread(target=take, args=(name,), daemon=True) for name in ("stdout", "stderr")
    ]
    for thread in threads:
        thread.start()
    during(client)
    with contextlib.suppress(BrokenPipeError):
        client.stdin.write(data)
        client.stdin.close()
    code = client.wait(SECONDS)
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    with contextlib.suppress(BrokenPipeError):
        client.stdin.close()
    for stream in (client.stdout, client.stderr):
        stream.close()
    return Outcome(code, read["stdout"], read["stderr"].decode(errors="replace"), tuple(reasons))


class Lab:
    """Keys, files and a server; command lines that lead there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = self.new_key("login")
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.authority = asyncssh.generate_private_key("ssh-ed25519")
        self.sshd = Sshd(self.host_key)
        self.certified = Sshd(
            self.host_key,
            self.authority.generate_host_certificate(self.host_key, "host", principals=["gate"]),
        )
        for sshd in (self.sshd, self.certified):
            sshd.accepted.add(asyncssh.read_public_key(f"{self.key}.pub").public_data)
        self.config = folder / "config"
        self.config.write_text("")
        self.known = folder / "known_hosts"

    def reset(self) -> None:
        """Forget what was written and seen."""
        self.known.write_text(f"{self.name()} {self.public}\n")
        self.config.write_text("")
        for sshd in (self.sshd, self.certified):
            sshd.seen.clear()
            sshd.banners = ()

    def close(self) -> None:
        self.sshd.close()
        self.certified.close()

    def new_key(self, name: str, passphrase: str = "") -> Path:
        path = self.folder / name
        path.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True
        )
        return path

    @property
    def public(self) -> str:
        return self.host_key.export_public_key().decode().strip()

    def name(self, sshd: Sshd | None = None) -> str:
        return f"[127.0.0.1]:{(sshd or self.sshd).port}"

    def command(self, *words: str, sshd: Sshd | None = None, run: str = COMMAND) -> list[str]:
        """Return a command line of ssh; what comes first counts."""
        options = [
            f"UserKnownHostsFile={self.known}", "GlobalKnownHostsFile=/dev/null", "BatchMode=yes",
            f"Port={(sshd or self.sshd).port}", "User=ops", f"IdentityFile={self.key}",
            "IdentitiesOnly=yes", "StrictHostKeyChecking=yes",
        ]  # fmt: skip
        given = [part for option in options for part in ("-o", option)]
        return ["ssh", "-F", str(self.config), *words, *given, "127.0.0.1", run]


@contextlib.contextmanager
def agent(folder: Path, *keys: Path) -> Iterator[str]:
    """Give the socket of an agent that holds keys."""
    path = str(folder / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        environ = {**os.environ, "SSH_AUTH_SOCK": path}
        for _ in range(1000):
            if (
                subprocess.run(
                    ["ssh-add", "-l"], env=environ, capture_output=True, check=False
                ).returncode
                != 2
            ):
                break
        for key in keys:
            subprocess.run(["ssh-add", "-q", str(key)], env=environ, check=True)
        yield path
    finally:
        process.terminate()
        process.wait()
