"""Our client of ssh beside ssh itself: the same command lines, over a real protocol on loopback.

Whatever ssh refuses, the client must never do by itself; what ssh does, it does alike, or leaves to
ssh and says so.
"""

from __future__ import annotations

import base64
import hmac
import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest
import ssh_rig
from ssh_rig import COMMAND, DATA, Outcome, by_ssh, by_us

from gpuprep.run.ssh.client import Clients
from gpuprep.run.ssh.resolved import OnlySshError, Resolver, read
from gpuprep.run.ssh.stand_in import LOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("ssh", "ssh-agent", "ssh-add", "ssh-keygen")

REFUSED = "Host key verification failed."


class Lab(ssh_rig.Lab):
    """Carries command lines out both ways."""

    def both(self, command: list[str], **environ: str) -> tuple[Outcome, Outcome]:
        """Return how a command line ends with ssh and with our client."""
        env = {**os.environ, **environ}
        return by_ssh(command, DATA, env), by_us(Clients(env), command, DATA)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("ssh"))
    yield lab
    lab.close()


@pytest.fixture
def lab(made: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made.reset()
    return made


def hashed(name: str) -> str:
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


# --- the key of the host ------------------------------------------------------------------------

OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL2Dn3Yb2Fd3q1R0pPq7c0V3m1T2Qe8kq0f5o4vV0w7B"
# Lines of the file, arguments of ssh, and whether the host's key is known by them.
KNOWN: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "by name and port": ("{name} {key}", (), True),
    "by name alone": ("127.0.0.1 {key}", (), True),
    "hashed": ("{hashed} {key}", (), True),
    "by pattern": ("[127.0.0.?]:* {key}", (), True),
    "among others": ("other,{name} {other}\n{name} {key}", (), True),
    "by alias": ("Alias {key}", ("-o", "HostKeyAlias=alias"), True),
    "in another file": ("", ("-o", "GlobalKnownHostsFile={extra}"), True),
    "unknown": ("other {key}", (), False),
    "of another port": ("[127.0.0.1]:1 {key}", (), False),
    "changed": ("{name} {other}", (), False),
    "changed for the port": ("{name} {other}\n127.0.0.1 {key}", (), False),
    "revoked": ("{name} {key}\n@revoked {name} {key}", (), False),
    "revoked for all": ("{name} {key}\n@revoked * {key}", (), False),
    "excluded": ("*,!{name},!127.0.0.1 {key}", (), False),
    "with the alias's port": ("[alias]:{port} {key}", ("-o", "HostKeyAlias=alias"), False),
    "only for the name behind the alias": ("{name} {key}", ("-o", "HostKeyAlias=alias"), False),
    "of an authority without certificate": ("@cert-authority * {key}", (), False),
    "not readable": ("{name} ssh-ed25519 AAAA", (), False),
}


@pytest.mark.parametrize("case", KNOWN)
def test_a_host_is_known_as_it_is_for_ssh(lab: Lab, case: str) -> None:
    lines, more, known = KNOWN[case]
    words = {"name": lab.name(), "key": lab.public, "other": OTHER, "hashed": hashed(lab.name()),
             "port": lab.sshd.port, "extra": lab.folder / "extra"}  # fmt: skip
    lab.known.write_text(lines.format(**words) + "\n")
    (lab.folder / "extra").write_text(f"{lab.name()} {lab.public}\n")
    theirs, ours = lab.both(lab.command(*(word.format(**words) for word in more)))
    assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)
    assert theirs.code == (3 if known else LOST)
    assert [seen.logged_in for seen in lab.sshd.seen if seen.is_ours] == ([True] if known else [])
    assert bool(ours.reasons) is not known
    if not known:
        assert REFUSED in ours.err


CERTIFIED: dict[str, tuple[str, str, bool]] = {
    "by an authority": ("@cert-authority *.example,gate {ca}", "gate", True),
    "by an authority for others": ("@cert-authority *.example {ca}", "gate", False),
    "under another name": ("@cert-authority * {ca}", "other", False),
    "by another authority": ("@cert-authority * {other}", "gate", False),
    "by one that is revoked": ("@cert-authority * {ca}\n@revoked * {ca}", "gate", False),
}


@pytest.mark.parametrize("case", CERTIFIED)
def test_certificates_of_hosts_are_judged_as_ssh_does(lab: Lab, case: str) -> None:
    lines, alias, known = CERTIFIED[case]
    authority = lab.authority.export_public_key().decode().strip()
    lab.known.write_text(lines.format(ca=authority, other=OTHER) + "\n")
    command = lab.command("-o", f"HostKeyAlias={alias}", sshd=lab.certified)
    theirs, ours = lab.both(command)
    assert (ours.code, ours.out) == (theirs.code, theirs.out)
    assert theirs.code == (3 if known else LOST)
    done = [seen.logged_in for seen in lab.certified.seen if seen.is_ours]
    assert done == [True] if known else not any(done)


@pytest.mark.parametrize("checking", ["no", "accept-new", "ask", "yes"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_new_key_passes_only_where_ssh_would_take_it_and_keep_it_nowhere(
    lab: Lab, checking: str, *, kept: bool
) -> None:
    file = lab.folder / "new"
    file.unlink(missing_ok=True)
    where = f"UserKnownHostsFile={file if kept else os.devnull}"
    command = lab.command("-o", f"StrictHostKeyChecking={checking}", "-o", where)
    ours = by_us(Clients(os.environ), command, DATA)
    passes = checking in {"no", "accept-new"}
    assert ours.code == (3 if passes else LOST)
    assert file.exists() is (kept and passes)  # ssh wrote it down
    by_itself = [seen.logged_in for seen in lab.sshd.seen if seen.is_ours]
    assert by_itself == ([True] if passes and not kept else [])


@pytest.mark.parametrize("checking", ["no", "accept-new"])
def test_a_changed_key_never_passes_by_itself(lab: Lab, checking: str) -> None:
    lab.known.write_text(f"{lab.name()} {OTHER}\n")
    more = ("-o", f"StrictHostKeyChecking={checking}", "-o", f"GlobalKnownHostsFile={lab.known}")
    theirs, ours = lab.both(lab.command(*more, "-o", "UserKnownHostsFile=/dev/null"))
    assert (ours.code, ours.out) == (theirs.code, theirs.out)
    assert not any(seen.logged_in for seen in lab.sshd.seen if seen.is_ours)


# --- who logs in ----------------------------------------------------------------------------------


def offered(lab: Lab) -> list[list[bytes]]:
    return [seen.offered for seen in lab.sshd.seen]


@pytest.mark.parametrize("only", ["yes", "no"])
@pytest.mark.parametrize("named", ["held", "not held"])
def test_keys_are_offered_in_sshs_order_and_no_others(
    lab: Lab, only: str, named: str, tmp_path: Path
) -> None:
    """The agent's keys that are named come first, then its others, then files."""
    lab_keys = [lab.new_key(f"k{number}") for number in range(3)]
    first, second, third = lab_keys
    held = [first, second] if named == "held" else [first]
    words = [part for key in (second, third) for part in ("-o", f"IdentityFile={key}")]
    options = ["-o", f"IdentitiesOnly={only}", *words]
    with ssh_rig.agent(tmp_path, *held) as path:
        theirs, ours = lab.both(lab.command(*options), SSH_AUTH_SOCK=path)
    assert (ours.code, theirs.code) == (3, 3)
    assert not ours.reasons
    by_ssh_offered, by_us_offered = offered(lab)
    assert by_us_offered == by_ssh_offered
    assert len(by_us_offered) > 1


def test_a_public_file_chooses_the_agents_key(lab: Lab, tmp_path: Path) -> None:
    public = tmp_path / "chosen.pub"
    public.write_text((lab.folder / "login.pub").read_text())
    command = ["ssh", *(w for w in lab.command()[1:] if w != f"IdentityFile={lab.key}")]
    del command[command.index("IdentitiesOnly=yes") - 1 - 1]
    command[1:1] = ["-i", str(public)]
    with ssh_rig.agent(tmp_path, lab.key) as path:
        theirs, ours = lab.both(command, SSH_AUTH_SOCK=path)
    assert (theirs.code, ours.code, ours.reasons) == (3, 3, ())


@pytest.mark.parametrize("name", ["$OWN_AGENT", "${OWN_AGENT}", "path"])
def test_the_agent_is_found_as_by_ssh(
    lab: Lab, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = lab.new_key("held")
    lab.sshd.accepted.add(asyncssh.read_public_key(f"{key}.pub").public_data)
    with ssh_rig.agent(tmp_path, key) as path:
        monkeypatch.setenv("OWN_AGENT", path)
        key.unlink()
        words = [w.replace(str(lab.key), f"{key}.pub") for w in lab.command()]
        agent = f"IdentityAgent={path if name == 'path' else name}"
        theirs, ours = lab.both([words[0], "-o", agent, *words[1:]])
    assert (theirs.code, ours.code, ours.reasons) == (3, 3, ())


@pytest.mark.parametrize("name", ["a key", "it's a key"])
def test_a_key_whose_name_has_a_blank_is_used(lab: Lab, name: str) -> None:
    key = lab.new_key(name)
    lab.sshd.accepted.add(asyncssh.read_public_key(f"{key}.pub").public_data)
    words = [w.replace(str(lab.key), f'"{key}"') for w in lab.command()]
    theirs, ours = lab.both(words)
    assert (theirs.code, ours.code, ours.reasons) == (3, 3, ())


def test_a_key_that_others_may_read_is_not_used(lab: Lab) -> None:
    key = lab.new_key("open")
    lab.sshd.accepted.add(asyncssh.read_public_key(f"{key}.pub").public_data)
    key.chmod(0o644)
    command = [w.replace(str(lab.key), str(key)) for w in lab.command()]
    theirs, ours = lab.both(command)
    assert (theirs.code, ours.code, ours.err) == (LOST, LOST, theirs.err)
    assert not any(seen.logged_in for seen in lab.sshd.seen)


def test_a_key_with_a_passphrase_is_left_to_ssh(lab: Lab) -> None:
    key = lab.new_key("closed", "secret")
    command = [w.replace(str(lab.key), str(key)) for w in lab.command()]
    theirs, ours = lab.both(command)
    assert (theirs.code, ours.code, ours.err) == (LOST, LOST, theirs.err)
    assert "passphrase" in ours.reasons[0]


def test_who_is_turned_away_is_told_so_by_ssh(lab: Lab) -> None:
    key = lab.new_key("stranger")
    command = [w.replace(str(lab.key), str(key)) for w in lab.command()]
    theirs, ours = lab.both(command)
    assert (ours.code, ours.err) == (theirs.code, theirs.err)
    assert "Permission denied" in ours.err


# --- what runs there ------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [COMMAND, "true", "exit 254", "cat", "signal", "drop"])
def test_a_command_ends_as_with_ssh(lab: Lab, run: str) -> None:
    theirs, ours = lab.both(lab.command(run=run))
    assert (ours.code, ours.out) == (theirs.code, theirs.out)
    assert not ours.reasons
    if run == "drop":
        assert ours.err == theirs.err.replace(
            "client_loop: send disconnect: Broken pipe\r\n", ""
        ) or ("closed by remote host" in ours.err)
    else:
        assert ours.err == theirs.err


def test_much_is_read_at_the_readers_pace(lab: Lab) -> None:
    size = 20_000_000
    ours = by_us(
        Clients(os.environ),
        lab.command(run=f"head -c {size} /dev/zero"),
        b"",
        lambda _: time.sleep(0.5),
    )
    assert (ours.code, len(ours.out)) == (0, size)


def test_variables_are_sent_as_by_ssh(lab: Lab) -> None:
    lab.config.write_text(
        "SendEnv LC_* OWN AR[1]\n"
        'SetEnv FIXED=1 OTHER=2 MSG="it\'s hello world" ESC="a \\"b\\" \\\\" EQ==x= EMPTY=\n'
        'SetEnv ODD="a\x0bb\x1cc ü \u2028"\n'
    )
    more = {"LC_TEST": "a", "OWN": "b c", "NOT": "d", "AR1": "e", "AR[1]": "f"}
    theirs, ours = lab.both(lab.command(), **more)
    assert (theirs.code, ours.code, ours.reasons) == (3, 3, ())
    by_ssh_sent, by_us_sent = (seen.environment for seen in lab.sshd.seen)
    assert by_us_sent == by_ssh_sent
    assert by_us_sent["OWN"] == "b c"
    assert by_us_sent["MSG"] == "it's hello world"
    assert by_us_sent.keys() & {"AR1", "AR[1]"} == {"AR[1]"}


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_no_algorithm_is_used_that_ssh_would_not(lab: Lab, compression: str) -> None:
    more = (
        "-o",
        "Ciphers=aes256-ctr",
        "-o",
        "MACs=hmac-sha2-512",
        "-o",
        f"Compression={compression}",
    )
    theirs, ours = lab.both(lab.command(*more, "-o", "KexAlgorithms=ecdh-sha2-nistp384"))
    assert (theirs.code, ours.code, ours.reasons) == (3, 3, ())
    by_ssh_used, by_us_used = (seen.algorithms for seen in lab.sshd.seen)
    assert by_us_used == by_ssh_used
    assert by_us_used["send_cipher"] == "aes256-ctr"


@pytest.mark.parametrize("through", ["ProxyJump", "ProxyCommand", "quoted ProxyCommand"])
def test_a_host_behind_another_is_reached(lab: Lab, through: str) -> None:
    gate = lab.certified
    lab.known.write_text(f"{lab.name()} {lab.public}\ngate {lab.public}\n")
    inner = lab.command(sshd=gate)[1:-2]
    lab.config.write_text(
        f"Host gate\n HostName 127.0.0.1\n Port {gate.port}\n User ops\n IdentityFile {lab.key}\n"
        f" HostKeyAlias gate\n UserKnownHostsFile {lab.known}\n"
    )
    value = {
        "ProxyJump": "ProxyJump=gate",
        "ProxyCommand": f"ProxyCommand=ssh -F {lab.config} -W %h:%p gate",
        "quoted ProxyCommand": f'ProxyCommand="ssh" -F {lab.config} -W %h:%p "gate"',
    }[through]
    assert inner
    theirs, ours = lab.both(lab.command("-o", value))
    assert (theirs.code, ours.code, ours.out, ours.reasons) == (3, 3, theirs.out, ())
    assert [seen.forwarded for seen in gate.seen] == [True, True]
    assert [seen.is_ours for seen in lab.sshd.seen] == [False, True]


# --- hosts that do not answer ---------------------------------------------------------------------


def test_who_is_not_there_is_told_in_sshs_words(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = f"Port={taken.getsockname()[1]}"  # nobody listens
        theirs, ours = lab.both(lab.command("-o", port))
        lab.known.write_text(f"127.0.0.1 {lab.public}\n")
        theirs, ours = lab.both(lab.command("-o", port))
    assert (ours.code, ours.err, ours.reasons) == (LOST, theirs.err, ())
    assert "Connection refused" in ours.err


def test_a_name_that_nobody_knows_is_told_in_sshs_words(lab: Lab) -> None:
    lab.known.write_text(f"* {lab.public}\n")
    theirs, ours = lab.both(lab.command("-o", "HostName=nobody.invalid"))
    assert (ours.code, ours.err, ours.reasons) == (LOST, theirs.err, ())


def test_a_server_that_says_nothing_is_given_up_as_by_ssh(lab: Lab) -> None:
    lab.known.write_text(f"127.0.0.1 {lab.public}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = f"Port={silent.getsockname()[1]}"
        theirs, ours = lab.both(lab.command("-o", port, "-o", "ConnectTimeout=1"))
    assert (ours.code, ours.err) == (theirs.code, theirs.err)
    assert "banner exchange" in ours.err


def test_who_is_no_server_of_ssh_is_left_to_ssh(lab: Lab) -> None:
    lab.known.write_text(f"127.0.0.1 {lab.public}\n")

    def answer(listening: socket.socket) -> None:
        for _ in range(3):
            one, _ = listening.accept()
            one.close()

    with socket.create_server(("127.0.0.1", 0)) as rude:
        threading.Thread(target=answer, args=(rude,), daemon=True).start()
        port = f"Port={rude.getsockname()[1]}"
        theirs, ours = lab.both(lab.command("-o", port))
    # Whether the end or a reset is seen first is chance, for both.
    for one in (theirs, ours):
        assert (one.code, one.err[:28]) == (LOST, "kex_exchange_identification:")
    assert len(ours.reasons) == 1


# --- as a process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_it_can_be_ended(lab: Lab, end: str) -> None:
    def stop(client: Any) -> None:
        while not lab.sshd.seen or not lab.sshd.seen[-1].logged_in:
            time.sleep(0.01)
        getattr(client, end)()

    ours = by_us(Clients(os.environ), lab.command(run="sleep 60"), b"", stop)
    assert ours.code == -getattr(signal, {"terminate": "SIGTERM", "kill": "SIGKILL"}[end])


def test_it_can_be_ended_before_it_has_begun(lab: Lab) -> None:
    clients = Clients(os.environ)
    for _ in range(5):
        client = clients.start(lab.command(), {"/none"}, lambda _: None)
        client.terminate()
        assert client.wait(60) == -signal.SIGTERM
        for stream in (client.stdin, client.stdout, client.stderr):
            stream.close()


def test_it_can_be_ended_while_it_connects(lab: Lab) -> None:
    lab.known.write_text(f"127.0.0.1 {lab.public}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = lab.command("-o", f"Port={silent.getsockname()[1]}")
        ours = by_us(Clients(os.environ), command, DATA, lambda client: client.terminate())
    assert ours.code == -signal.SIGTERM


def test_what_was_handed_over_can_be_ended(lab: Lab) -> None:
    """As soon as ssh has the pipes, it is ssh that ends."""
    key = lab.new_key("closed2", "secret")
    command = [w.replace(str(lab.key), str(key)) for w in lab.command("-o", "ConnectTimeout=30")]
    with socket.create_server(("127.0.0.1", 0)) as slow:
        command[1:1] = ["-o", f"Port={slow.getsockname()[1]}"]
        lab.known.write_text(f"127.0.0.1 {lab.public}\n")

        def stop(client: Any) -> None:
            while client._process is None:
                time.sleep(0.01)
            client.terminate()

        ours = by_us(Clients(os.environ), command, b"", stop)
    assert ours.code in {-signal.SIGTERM, LOST}


def test_nothing_stays_open(lab: Lab) -> None:
    clients = Clients(os.environ)
    by_us(clients, lab.command(), DATA)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        by_us(clients, lab.command(), DATA)
    key = lab.new_key("stranger2")
    by_us(clients, [w.replace(str(lab.key), str(key)) for w in lab.command()], DATA)
    deadline = time.monotonic() + 30
    while len(os.listdir("/proc/self/fd")) > before:  # noqa: PTH208
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- all hosts in one thread ----------------------------------------------------------------------

MUCH = 300_000  # bytes: more than a pipe takes


def test_what_a_host_tells_before_the_login_is_shown_as_by_ssh(lab: Lab) -> None:
    lab.sshd.banners = ("Only for members.\n", "Really.\n")
    theirs, ours = lab.both(lab.command())
    assert (ours.code, ours.err, ours.reasons) == (3, theirs.err, ())
    assert ours.err == "Only for members.\nReally.\nwrong\n"


def test_a_host_that_tells_without_end_holds_nobody_up(lab: Lab) -> None:
    """Nobody reads what it tells; ssh has it in the end, and waits for its reader alone."""
    lab.known.write_text(f"* {lab.public}\n")
    lab.sshd.banners = ("x" * 8000 + "\n",) * 400
    clients, reasons = Clients(os.environ), list[str]()
    noisy = clients.start(lab.command(), {"/none"}, reasons.append)
    while not lab.sshd.seen or not lab.sshd.seen[0].client:
        time.sleep(0.01)
    time.sleep(0.3)
    other = by_us(clients, lab.command(sshd=lab.certified), DATA)
    assert (other.code, other.out, other.reasons) == (3, b"70000\n", ())
    noisy.kill()
    assert noisy.wait(60) == -signal.SIGKILL
    assert reasons == ["login banners without end"]
    for stream in (noisy.stdin, noisy.stdout, noisy.stderr):
        stream.close()


def killed_while_output_waits(lab: Lab, clients: Clients) -> None:
    client = clients.start(lab.command(run="head -c 3000000 /dev/zero"), {"/none"}, print)
    client.stdin.close()
    assert client.stdout.read(MUCH)
    time.sleep(0.3)  # the rest fills the pipe
    client.kill()
    assert client.wait(60) == -signal.SIGKILL
    for stream in (client.stdout, client.stderr):
        stream.close()


def test_a_host_that_is_ended_while_its_output_waits_spoils_no_other(lab: Lab) -> None:
    clients = Clients(os.environ)
    killed_while_output_waits(lab, clients)
    for _ in range(4):  # descriptors have the numbers of those that were closed
        command = lab.command(run=f"head -c {MUCH} /dev/zero")
        found = by_us(clients, command, b"", lambda _: time.sleep(0.2))
        assert (found.code, len(found.out), found.reasons) == (0, MUCH, ())


def killed_while_it_connects(lab: Lab, clients: Clients) -> None:
    lab.known.write_text(f"127.0.0.1 {lab.public}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = lab.command("-o", f"Port={silent.getsockname()[1]}")
        client = clients.start(command, {"/none"}, print)
        with silent.accept()[0]:
            time.sleep(0.2)
            client.terminate()
            client.kill()
            client.wait(60)
    for stream in (client.stdin, client.stdout, client.stderr):
        stream.close()


def given_up(lab: Lab, clients: Clients) -> None:
    lab.known.write_text(f"127.0.0.1 {lab.public}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = f"Port={silent.getsockname()[1]}"
        by_us(clients, lab.command("-o", port, "-o", "ConnectTimeout=1"), b"")


def turned_away(lab: Lab, clients: Clients) -> None:
    key = lab.new_key("stranger3")
    by_us(clients, [w.replace(str(lab.key), str(key)) for w in lab.command()], b"")


def handed_over_while_banners_wait(lab: Lab, clients: Clients) -> None:
    lab.sshd.banners = ("x" * 8000 + "\n",) * 400
    by_us(clients, lab.command(), b"", lambda _: time.sleep(0.3))


ENDS = (
    killed_while_output_waits, killed_while_it_connects, given_up, turned_away,
    handed_over_while_banners_wait,
)  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_closed_that_the_thread_still_looks_at(
    lab: Lab, end: Callable[[Lab, Clients], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next descriptor has its number: then one host waits for what is another's."""
    clients = Clients(os.environ)
    looked_at: Any = clients.loop._selector.get_map()  # type: ignore[attr-defined]
    wrong: list[int] = []
    close, close_socket = os.close, socket.socket.close

    def note(number: int) -> None:
        if number >= 0 and number in looked_at:
            wrong.append(number)

    def noted_close(descriptor: int) -> None:
        note(descriptor)
        close(descriptor)

    def noted_close_socket(self: socket.socket) -> None:
        note(self.fileno())
        close_socket(self)

    monkeypatch.setattr(os, "close", noted_close)
    monkeypatch.setattr(socket.socket, "close", noted_close_socket)
    end(lab, clients)
    deadline = time.monotonic() + 30
    while len(looked_at) > 1:  # its own
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert wrong == []


def test_a_key_that_nobody_writes_holds_its_own_host_up(lab: Lab) -> None:
    pipe = lab.folder / "pipe"
    os.mkfifo(pipe, 0o600)
    clients = Clients(os.environ)
    words = [w.replace(str(lab.key), str(pipe)) for w in lab.command()]
    waiting = clients.start(words, {"/none"}, lambda _: None)
    assert by_us(clients, lab.command(), DATA).code == 3
    waiting.kill()
    waiting.wait(60)
    for stream in (waiting.stdin, waiting.stdout, waiting.stderr):
        stream.close()


def test_names_that_nobody_answers_for_hold_nobody_up(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.known.write_text(f"* {lab.public}\n")
    answered, look = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> Any:
        if host == "slow.invalid" and not more:
            answered.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "later")
        return look(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    clients = Clients(os.environ)
    slow = lab.command("-o", "HostName=slow.invalid")
    waiting = [clients.start(slow, {"/none"}, print) for _ in range(40)]
    try:
        words = ("-o", "HostName=localhost", "-o", "AddressFamily=inet")
        ours = by_us(clients, lab.command(*words), DATA)
        assert all(client.poll() is None for client in waiting)
    finally:
        answered.set()
    assert (ours.code, ours.reasons) == (3, ())
    for client in waiting:
        assert client.wait(60) == LOST
        assert b"slow.invalid: later" in client.stderr.read()
        for stream in (client.stdin, client.stdout, client.stderr):
            stream.close()


def test_the_time_for_an_answer_begins_when_the_address_is_known(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ssh."""
    lab.known.write_text(f"* {lab.public}\n")
    look = socket.getaddrinfo

    def getaddrinfo(*args: Any, **more: Any) -> Any:
        time.sleep(0 if more else 1.5)
        return look(*args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    words = ("HostName=localhost", "AddressFamily=inet", "ConnectTimeout=1")
    ours = by_us(Clients(os.environ), lab.command(*(w for o in words for w in ("-o", o))), DATA)
    assert (ours.code, ours.reasons) == (3, ())


def test_a_program_on_the_way_that_will_not_end_is_ended(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuprep.run.ssh.client._PROXY_SECONDS", 0.3)
    mark = lab.folder / "pid"
    stubborn = f"trap '' TERM; echo $$ >{mark}; while :; do sleep 0.1; done"
    proxy = lab.folder / "proxy"
    proxy.write_text(f"#!/bin/sh\n{stubborn}\n")
    proxy.chmod(0o755)

    def stop(client: Any) -> None:
        while not mark.exists() or not mark.read_text():
            time.sleep(0.01)
        client.terminate()

    ours = by_us(Clients(os.environ), lab.command("-o", f"ProxyCommand={proxy}"), b"", stop)
    assert ours.code == -signal.SIGTERM
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{mark.read_text().strip()}"):  # noqa: PTH110
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- what only ssh can do -------------------------------------------------------------------------

ONLY_SSH = [
    "ForwardAgent yes", "LocalForward 8000 x:1", "RemoteForward 8000 x:1", "DynamicForward 1080",
    "RemoteCommand true", "CheckHostIP yes", "VerifyHostKeyDNS yes", "HostbasedAuthentication yes",
    "PKCS11Provider /lib/x.so", "CertificateFile /x", "AddKeysToAgent yes", "BindAddress 127.0.0.1",
    "RekeyLimit 1G", "Tunnel yes", "ForwardX11 yes", "RequestTTY force", "ConnectionAttempts 3",
    "PermitLocalCommand yes", "ProxyUseFdpass yes", "NoHostAuthenticationForLocalhost yes",
    "IPQoS none", "PubkeyAuthentication no", "PreferredAuthentications password",
    "ControlPath /x/%C", "IdentityFile /x/%C", "UserKnownHostsFile known", "StdinNull yes",
    "KexAlgorithms sntrup761x25519-sha512@openssh.com", "KnownHostsCommand /x %H",
    "RevokedHostKeys /x", "SecurityKeyProvider /x", "CanonicalizeHostname always",
]  # fmt: skip


@pytest.mark.parametrize("line", ONLY_SSH)
def test_what_only_ssh_can_do_is_left_to_it(lab: Lab, line: str) -> None:
    lab.config.write_text(line + "\n")
    name, _, value = line.partition(" ")
    command = [w for w in lab.command() if not w.startswith(name)]
    words = [w for i, w in enumerate(command) if w != "-o" or command[i + 1] != "-o"]
    with pytest.raises(OnlySshError) as told:
        Clients(os.environ).start(
            [*words[:3], "-o", f"{name}={value}", *words[3:]], {"/none"}, lambda _: None
        )
    assert str(told.value)
    assert lab.sshd.seen == []


def test_masters_of_our_own_choice_are_not_what_is_asked_for(lab: Lab) -> None:
    sockets = lab.folder / "cp"
    words = ("-o", "ControlMaster=auto", "-o", "ControlPersist=60s")
    ours = lab.command(*words, "-o", f'ControlPath="{sockets}/abc"')
    done = Clients(os.environ).start(ours, {str(sockets)}, lambda _: None)
    done.terminate()
    done.wait(60)
    with pytest.raises(OnlySshError, match="controlpath"):
        Clients(os.environ).start(ours, {"/elsewhere"}, lambda _: None)


def test_a_program_around_ssh_is_respected(lab: Lab, tmp_path: Path) -> None:
    own = tmp_path / "ssh"
    own.write_text("#!/bin/sh\nexit 9\n")
    own.chmod(0o755)
    ours = by_us(Clients(os.environ), [str(own), *lab.command()[1:]], b"")
    assert (ours.code, ours.reasons) == (9, (f"{own} is a program of its own",))


def test_a_kerberos_ticket_is_left_to_ssh(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "klist"
    program.write_text('#!/bin/sh\n[ "$1" = -s ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    clients = Clients({**os.environ, "KRB5CCNAME": str(tmp_path)})
    lab.config.write_text("GSSAPIAuthentication yes\n")
    with pytest.raises(OnlySshError, match="Kerberos"):
        clients.start(lab.command(), {"/none"}, lambda _: None)


# --- what ssh is asked for ------------------------------------------------------------------------

CONFIGS = {
    "nothing in particular": ("Compression yes\nHost *\n User all\n", 1),
    "another host": ("Host other *.example\n User else\n", 1),
    "one of them": ("Host h3\n User else\n", 2),
    "some of them": ("Host h?\n User else\nHost H1*\n Port 5\n", 12),
    "all but one": ("Host * !h2\n User else\n", 12),
    "a match": ("Match host h2\n User else\n", 12),
    "a match of all": ("Match all\n User else\n", 1),
    "the host's name in a value": ("HostName %h.example\n", 12),
    "another name for all": ("HostName there\n", 12),
    "canonical names": ("CanonicalizeHostname yes\nCanonicalDomains example\n", 12),
    "one of them in quotes": ("Host 'h3' \"h4\"\n User else\n", 12),
    "one of them, quoted": ('Host "h3"\n User else\n', 2),
    "files that only ssh finds": ("Include ~root/nothing\n", 12),
    "a path by host and port": ("IdentityAgent ~/.ssh/agents/%C\n", 12),
    "a path by port": ("UserKnownHostsFile ~/.ssh/known-%p\n", 12),
    "a path by host, replaced later": ("IdentityFile ~/.ssh/%n-%p\n", 1),
    "a program on the way": ("ProxyCommand nc %h %p\n", 1),
    "a program on the way for others": ("Host other\n ProxyCommand nc %h %p\n", 1),
    "a path by user": ("IdentityAgent ~/.ssh/%r-%i-%d\n", 1),
    "a percent sign": ("IdentityAgent ~/.ssh/%%p-%p\n", 12),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_ssh_is_asked_once_where_its_answers_are_the_same(lab: Lab, case: str) -> None:
    text, most = CONFIGS[case]
    lab.config.write_text(text)
    asked: list[str] = []

    def ask(command: Any) -> str:
        asked.append(command[-1])
        done = subprocess.run(
            [command[0], "-G", *command[1:]], capture_output=True, text=True, check=True
        )
        return done.stdout

    resolver = Resolver(ask)
    names = [f"h{number}" for number in range(12)]
    found = {name: resolver.resolve(["ssh", "-F", str(lab.config), name]) for name in names}
    assert len(asked) == most
    for name in names:
        alone = dict(read(ask(["ssh", "-F", str(lab.config), name])))
        told = {key: list(values) for key, values in found[name].items()}
        assert told == alone | ({"host": [name]} if "host" in told else {})


def test_a_port_makes_no_other_question(lab: Lab) -> None:
    lab.config.write_text("Port 5\n")
    asked: list[str] = []

    def ask(command: Any) -> str:
        asked.append(command[-1])
        done = subprocess.run(
            [command[0], "-G", *command[1:]], capture_output=True, text=True, check=True
        )
        return done.stdout

    resolver = Resolver(ask)
    words = ["ssh", "-F", str(lab.config)]
    named = [
        resolver.resolve([*words, "-o", f"Port={port}", "gate7"])["port"] for port in (1, 2, 3)
    ]
    assert [list(port) for port in named] == [["1"], ["2"], ["3"]]
    assert len(asked) == 1
    assert list(resolver.resolve([*words, "gate8"])["port"]) == ["5"]
    before = resolver.resolve([*words, "-p", "7", "-o", "Port=8", "gate8"])
    assert list(before["port"]) == ["7"]


@pytest.mark.parametrize("place", ["configuration", "-o", "-oX", "-S"])
def test_a_port_makes_another_question_where_a_path_has_it(lab: Lab, place: str) -> None:
    line = "UserKnownHostsFile ~/.ssh/kh-%p"
    words = {"-o": ["-o", line], "-oX": [f"-o{line}"], "-S": ["-S", "/x/%p"]}.get(place, [])
    lab.config.write_text(f"{line}\n" if place == "configuration" else "")
    resolver = Resolver()
    for port in (1, 2):
        command = ["ssh", "-F", str(lab.config), *words, "-o", f"Port={port}", "gate7"]
        found = resolver.resolve(command)
        option = "controlpath" if place == "-S" else "userknownhostsfile"
        assert found[option][0].endswith(f"{port}")


def test_hosts_in_a_file_whose_path_has_a_blank_are_singled_out(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "my dir"
    folder.mkdir()
    (folder / "a.conf").write_text("Host gpu250\n User other\n HostName 10.9.9.9\n")
    lab.config.write_text(f'Include "{folder}/*.conf"\nUser all\n')
    resolver = Resolver()
    found = [resolver.resolve(["ssh", "-F", str(lab.config), host]) for host in ("first", "gpu250")]
    assert [list(each["user"]) for each in found] == [["all"], ["other"]]
    assert list(found[1]["hostname"]) == ["10.9.9.9"]


def test_what_we_stumble_over_is_left_to_ssh(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuprep.run.ssh.client.settings", lambda *_: int("no number"))
    theirs, ours = lab.both(lab.command())
    assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)
    assert ours.reasons[0].startswith("ValueError: invalid literal")


def test_a_configuration_that_ssh_refuses_is_left_to_it(lab: Lab) -> None:
    lab.config.write_text("NoSuchOption 1\n")
    theirs, ours = lab.both(lab.command())
    assert (ours.code, ours.err) == (theirs.code, theirs.err)
    assert len(ours.reasons) == 1
