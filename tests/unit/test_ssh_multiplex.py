"""Commands over an open master beside ssh itself: the same command lines, the same ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from ssh_rig import COMMAND, DATA, Lab, Outcome, by_ssh, by_us

from gpuprep.run.ssh.multiplex import SharedConnections
from gpuprep.run.ssh.resolved import OnlySshError
from gpuprep.run.ssh.stand_in import LOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("ssh", "ssh-keygen")


class Mastered:
    """A server, an open master, and command lines that go over it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.path = folder / "m"

    def command(self, *words: str, run: str = COMMAND) -> list[str]:
        shared = ("-o", "ControlMaster=auto", "-o", f'ControlPath="{self.path}"')
        return self.lab.command(*words, *shared, "-o", "ControlPersist=60s", run=run)

    def open(self) -> None:
        assert by_ssh(self.command(run="true"), b"", os.environ).code == 0
        (self.seen,) = self.lab.sshd.seen
        self.lab.sshd.seen.clear()

    def end(self, how: str = "exit") -> None:
        ask = ["ssh", "-o", f"ControlPath={self.path}", "-O", how, "--", "master"]
        subprocess.run(ask, capture_output=True, check=False)

    def ours(self, command: list[str], **environ: str) -> Outcome:
        shared = SharedConnections({**os.environ, **environ})
        return by_us(shared, command, DATA, sockets={str(self.folder)})

    def start(self, run: str) -> tuple[Any, list[str]]:
        reasons: list[str] = []
        shared = SharedConnections(os.environ)
        command = self.command(run=run)
        return shared.start(command, {str(self.folder)}, reasons.append), reasons


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("ssh"))
    yield lab
    lab.close()


@pytest.fixture
def there(made: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mastered]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made.reset()
    found = Mastered(made, tmp_path)
    yield found
    found.end()


# --- over a master ------------------------------------------------------------------------------

ENDS = {
    "a code and both outputs": COMMAND,
    "well": "cat",
    "a signal": "signal",
    "nothing to say": "exit 7",
    "much to say": "head -c 3000000 /dev/zero | tr '\\0' a; cat >/dev/null",
    "closed outputs": "exec >&- 2>&-; cat >/dev/null; exit 4",
}


@pytest.mark.parametrize("case", ENDS)
def test_a_command_ends_as_with_ssh(there: Mastered, case: str) -> None:
    there.open()
    command = there.command(run=ENDS[case])
    wanted, found = by_ssh(command, DATA, os.environ), there.ours(command)
    assert found == wanted  # and there is no reason why ssh had to do it
    assert there.lab.sshd.seen == []  # no connection of its own


def test_variables_are_sent_as_by_ssh(there: Mastered) -> None:
    # A master passes on what its own settings allow, whatever it is given.
    there.lab.config.write_text('SendEnv LC_* GREETING\nSetEnv SET=1 MSG="it\'s a text"\n')
    there.open()
    more = {"LC_ALL": "C", "GREETING": "grüß", "OTHER": "x"}
    command = there.command()
    by_ssh(command, b"", {**os.environ, **more})
    wanted = dict(there.seen.environment)
    assert {"LC_ALL", "GREETING", "SET", "MSG"} <= wanted.keys()
    there.seen.environment.clear()
    there.ours(command, **more)
    assert there.seen.environment == wanted


def test_many_at_once_go_over_one_master(there: Mastered) -> None:
    there.open()
    shared = SharedConnections(os.environ)
    found: dict[int, Outcome] = {}

    def one(number: int) -> None:
        command = there.command(run=f"wc -c; exit {number}")
        found[number] = by_us(shared, command, DATA, sockets={str(there.folder)})

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: Outcome(number, b"70000\n", "") for number in range(8)}


# --- a master that is none any more -------------------------------------------------------------


def test_without_a_master_ssh_does_it(there: Mastered) -> None:
    there.open()
    there.end()
    found = there.ours(there.command())
    assert (found.code, found.out, found.err) == (3, b"70000\n", "wrong\n")
    assert "does not answer" in found.reasons[0]


def test_a_master_that_takes_no_more_leaves_it_to_ssh(there: Mastered) -> None:
    there.open()
    there.end("stop")
    assert there.ours(there.command()).code == 3


ALIVE = 0x10000004
HELLO = struct.pack(">III", 8, 1, 4)


def said(kind: int, text: bytes = b"no") -> bytes:
    content = struct.pack(">III", kind, 1, len(text)) + text
    return struct.pack(">I", len(content)) + content


# What is at the socket says, before and after it was asked for a command; whether ssh takes over.
STRANGERS: dict[str, tuple[bytes, bytes]] = {
    "hangs up": (b"", b""),
    "speaks another version": (struct.pack(">III", 8, 1, 5), b""),
    "talks nonsense": (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
    "hangs up when asked": (HELLO, b""),
    "denies": (HELLO, said(0x80000002)),
    "fails": (HELLO, said(0x80000003)),
    "sends an empty message": (HELLO, bytes(4)),
    "sends a huge message": (HELLO, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_who_is_no_master_is_left_to_ssh_with_nothing_lost(there: Mastered, case: str) -> None:
    first, then = STRANGERS[case]
    with serving(there.path, lambda connection: answer(connection, first, then)):
        command = there.command("-o", "ControlMaster=no")
        wanted, found = by_ssh(command, DATA, os.environ), there.ours(command)
    assert (found.code, found.out, found.err) == (wanted.code, wanted.out, wanted.err)
    assert len(found.reasons) == 1


def test_a_session_that_is_refused_gets_a_connection_of_its_own(there: Mastered) -> None:
    """As by a server that allows no more sessions (MaxSessions) on one connection."""

    def refuse(connection: socket.socket) -> None:
        connection.sendall(HELLO)
        connection.recv(12, socket.MSG_WAITALL)
        while length := connection.recv(4, socket.MSG_WAITALL):
            content = connection.recv(struct.unpack(">I", length)[0], socket.MSG_WAITALL)
            kind, request = struct.unpack(">II", content[:8])
            if kind == ALIVE:
                connection.sendall(struct.pack(">IIII", 12, 0x80000005, request, os.getpid()))
            else:
                for _ in range(3):
                    os.close(socket.recv_fds(connection, 1, 1)[1][0])
                text = b"Session open refused by peer"
                answer = struct.pack(">III", 0x80000003, request, len(text)) + text
                connection.sendall(struct.pack(">I", len(answer)) + answer)

    with serving(there.path, refuse):
        found = there.ours(there.command("-o", "ControlMaster=no"))
    assert (found.code, found.out) == (3, b"70000\n")
    assert found.err.endswith("wrong\n")
    assert found.reasons == ("its master takes no command more",)


def answer(connection: socket.socket, first: bytes, then: bytes) -> None:
    # Who hangs up on a greeting unread resets the connection: what it said may then be lost.
    connection.recv(12, socket.MSG_WAITALL)
    connection.sendall(first)
    if then or first == HELLO:
        connection.settimeout(0.3)
        with contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                pass
        connection.sendall(then)


@contextlib.contextmanager
def serving(path: Path, talk: Callable[[socket.socket], None]) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o600)
        server.listen(10)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    path.unlink(missing_ok=True)


def begun(there: Mastered) -> tuple[Any, list[str]]:
    """Start a command that lasts, and wait until it runs."""
    mark = there.folder / "begun"
    client, reasons = there.start(f"touch {mark}; sleep 20")
    client.stdin.close()
    deadline = time.monotonic() + 30
    while not mark.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return client, reasons


def test_a_master_that_dies_on_the_way_is_a_lost_connection(there: Mastered) -> None:
    there.open()
    client, reasons = begun(there)
    pid = subprocess.run(
        ["ssh", "-o", f"ControlPath={there.path}", "-O", "check", "--", "master"],
        capture_output=True, text=True, check=True,
    ).stderr.partition("pid=")[2].partition(")")[0]  # fmt: skip
    os.kill(int(pid), signal.SIGKILL)
    assert client.wait(30) == LOST
    assert (client.stdout.read(), reasons) == (b"", [])


# --- an end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_it_can_be_ended(there: Mastered, end: str) -> None:
    there.open()
    client, reasons = begun(there)
    getattr(client, end)()
    assert client.wait(30) == -{"terminate": signal.SIGTERM, "kill": signal.SIGKILL}[end]
    assert client.stdout.read() == b""
    assert reasons == []
    assert there.ours(there.command()).code == 3  # the master is none the worse


def test_a_silent_master_can_be_ended(there: Mastered) -> None:
    def silent(connection: socket.socket) -> None:
        connection.sendall(HELLO)
        while connection.recv(1 << 16):
            pass

    with serving(there.path, silent):
        client, reasons = there.start("true")
        assert client.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.2)
        client.terminate()
        assert (client.wait(30), reasons) == (-signal.SIGTERM, [])


def test_nothing_stays_open(there: Mastered) -> None:
    there.open()
    shared = SharedConnections(os.environ)

    def run() -> None:
        by_us(shared, there.command(), DATA, sockets={str(there.folder)})

    run()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        run()
    there.end()
    run()
    there.end()
    deadline = time.monotonic() + 30
    while len(os.listdir("/proc/self/fd")) > before:  # noqa: PTH208
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- what only ssh can do -------------------------------------------------------------------------

ONLY_SSH = (
    "ForwardAgent=yes", "ForwardX11=yes", "RequestTTY=force", "RemoteCommand=true", "StdinNull=yes",
    "LocalForward=8000 x:1", "RemoteForward=8000 x:1", "PermitLocalCommand=yes", "SessionType=none",
    "ForkAfterAuthentication=yes",
)  # fmt: skip


@pytest.mark.parametrize("option", ONLY_SSH)
def test_what_only_ssh_can_do_is_left_to_it(there: Mastered, option: str) -> None:
    there.open()
    with pytest.raises(OnlySshError):
        SharedConnections(os.environ).start(
            there.command("-o", option), {str(there.folder)}, lambda _: None
        )


def test_a_master_of_somebodys_choice_is_left_to_ssh(there: Mastered) -> None:
    there.open()
    with pytest.raises(OnlySshError, match="no master of ours"):
        SharedConnections(os.environ).start(there.command(), {"/elsewhere"}, lambda _: None)


def test_what_we_stumble_over_is_left_to_ssh(
    there: Mastered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuprep.run.ssh.multiplex.of_session", lambda *_: int("no number"))
    there.open()
    found = there.ours(there.command())
    assert (found.code, found.out) == (3, b"70000\n")
    assert found.reasons[0].startswith("ValueError: invalid literal")
