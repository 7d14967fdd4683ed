"""Host keys from the console, and logging in with them."""

from __future__ import annotations

import base64
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuprep.errors import ConfigError
from gpuprep.oci.provision import failures, hostkeys, reach
from gpuprep.oci.provision.failures import Next
from gpuprep.oci.provision.reach import Login, Reached


def key(kind: str, fill: bytes) -> str:
    name = kind.encode()
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + fill * 32
    return f"{kind} {base64.b64encode(blob).decode()}"


ED, EC, OTHER = key("ssh-ed25519", b"a"), key("ecdsa-sha2-nistp256", b"b"), key("ssh-ed25519", b"c")
BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"


def test_keys_stand_between_cloud_inits_marks() -> None:
    text = f"boot\r\n{BEGIN}\r\n{ED} root@x\r\n{EC} root@x\r\n{END}\r\nlogin: "
    assert hostkeys.in_console(text) == (ED, EC)


def test_the_last_boot_counts_and_half_a_block_does_not() -> None:
    old, new = f"{BEGIN}\n{OTHER} r\n{END}\n", f"{BEGIN}\n{ED} r\n{END}\n"
    assert hostkeys.in_console(old + new) == (ED,)
    assert hostkeys.in_console(old + f"{BEGIN}\n{ED} r\n") == (OTHER,)
    assert hostkeys.in_console(f"{BEGIN}\n{ED}") == ()


@pytest.mark.parametrize(
    "line",
    ["ssh-ed25519 AAAA", "ssh-ed25519 " + ED.split()[1][:-8], f"ssh-rsa {ED.split()[1]}", "x y"],
)
def test_what_is_no_key_is_left_out(line: str) -> None:
    assert hostkeys.in_console(f"{BEGIN}\n{line} root@x\n{END}") == ()


def test_prefixes_of_a_console_do_no_harm() -> None:
    line = f"{BEGIN}\n[   12.3] cloud-init[900]: {ED} root@x\n{END}"
    assert hostkeys.in_console(line) == (ED,)


@given(st.text(), st.text())
def test_any_console_can_be_read(before: str, inside: str) -> None:
    for found in hostkeys.in_console(f"{before}{BEGIN}{inside}{END}"):
        assert len(found.split()) == 2
        assert "\n" not in found


def test_keys_are_kept_and_replaced_and_others_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    hostkeys.record(path, "ocid1", "10.0.0.2", (OTHER,))
    path.write_text(f"# mine\ngithub.com {ED}\n" + path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    hostkeys.record(path, "ocid2", "10.0.0.2", (ED, EC))  # the address has a new owner
    assert not hostkeys.reached(path, "ocid2")
    assert hostkeys.kept(path, "ocid2") == (ED, EC)
    hostkeys.record(path, "ocid2", "10.0.0.2", (ED, EC), reached=True)
    assert path.read_text().splitlines() == [
        "# mine",
        f"github.com {ED}",
        f"10.0.0.2 {ED} gpuprep:ocid2",
        f"10.0.0.2 {EC} gpuprep:ocid2",
    ]
    assert hostkeys.reached(path, "ocid2")
    assert not hostkeys.reached(path, "ocid1")
    assert hostkeys.kept(tmp_path / "none", "ocid1") == ()
    hostkeys.record(path, "ocid2", "10.0.0.3", (ED,))  # it has another address now
    assert "10.0.0.2" not in path.read_text()


def test_a_line_of_somebody_elses_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"gpu,10.0.0.2 {OTHER}\n")
    with pytest.raises(hostkeys.OtherKeyError, match="line 1, has another key for 10"):
        hostkeys.record(path, "ocid1", "10.0.0.2", (ED,))
    assert path.read_text() == f"gpu,10.0.0.2 {OTHER}\n"
    hostkeys.record(path, "ocid1", "10.0.0.2", (OTHER,))  # the same key is no contradiction
    hostkeys.record(path, "ocid1", "10.0.0.2", (EC,))  # nor is one of another kind
    with pytest.raises(ConfigError, match="known_hosts"):
        hostkeys.record(path / "x", "ocid1", "10.0.0.2", (ED,))
    with pytest.raises(ValueError, match="does not appear to be"):
        hostkeys.record(path, "ocid1", "10.0.0.2 evil", (ED,))


LOGIN = Login("10.0.0.2", "opc", Path("/k"))


class Ssh:
    """A program that is called ssh."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def does(self, script: str) -> None:
        path = self._folder / "ssh"
        told = self._folder / "told"
        path.write_text(f"#!/bin/sh\n(printf '%s\\037' \"$@\"; echo) >> {told}\n{script}\n")
        path.chmod(0o755)

    def told(self) -> list[list[str]]:
        """Return the words of each call; scripts of several lines are not met here."""
        lines = (self._folder / "told").read_text().splitlines()
        return [line.split("\037")[:-1] for line in lines]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Ssh(tmp_path)


@pytest.mark.parametrize(
    ("code", "reached"),
    [
        (0, Reached.YES), (127, Reached.YES), (2, Reached.YES), (1, Reached.FAILED),
        (255, Reached.NO),
    ],
)  # fmt: skip
def test_what_ssh_and_cloud_init_answer(ssh: Ssh, code: int, reached: Reached) -> None:
    ssh.does(f"echo status: x; echo Connection refused >&2; exit {code}")
    answer = reach.by_ssh(LOGIN, cloud_init=True, timeout=30, ended=threading.Event())
    assert answer.reached is reached
    assert answer.text == ("Connection refused" if code == 255 else "status: x")
    (words,) = ssh.told()
    assert "StrictHostKeyChecking=yes" in words
    assert words[words.index("--") + 1] == "10.0.0.2"
    reach.by_ssh(LOGIN, cloud_init=False, timeout=30, ended=threading.Event())
    assert ssh.told()[1][-1] == "true"


def test_no_answer_in_time_and_no_ssh(ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh.does("exec sleep 100")
    found = reach.by_ssh(LOGIN, cloud_init=True, timeout=0, ended=threading.Event())
    assert found.reached is Reached.NO
    monkeypatch.setenv("PATH", "/nowhere")
    found = reach.by_ssh(LOGIN, cloud_init=True, timeout=0, ended=threading.Event())
    assert found.reached is Reached.FAILED


def test_a_login_that_nobody_waits_for_any_more_ends(ssh: Ssh) -> None:
    ssh.does("exec sleep 100")
    ended = threading.Event()
    timer = threading.Timer(0.2, ended.set)
    timer.start()
    began = time.monotonic()
    assert reach.by_ssh(LOGIN, cloud_init=True, timeout=60, ended=ended).reached is Reached.NO
    assert time.monotonic() - began < 10
    timer.join()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InternalError", "Out of host capacity."),
        ("OutOfHostCapacity", ""),
        ("InternalError", "Out of capacity for shape VM.GPU.A10.1"),
    ],
)
def test_no_capacity_has_several_spellings(code: str, words: str) -> None:
    found = failures.of_words(500, code, words, words)
    assert (found.code, found.then) == ("E_OCI_CAPACITY", Next.OTHER_FAULT_DOMAIN)
    assert failures.of_words(500, "InternalError", "oops", "").code == "E_OCI_BUSY"


def test_limits_are_named() -> None:
    words = ("The following service limits were exceeded: gpu-a10-count, gpu-a10-regional-count. "
             "Request a service limit increase.")  # fmt: skip
    found = failures.of_words(400, "LimitExceeded", words, words)
    assert found.names == ("gpu-a10-count", "gpu-a10-regional-count")


@given(st.one_of(st.none(), st.integers(100, 599)), st.text(), st.text())
def test_every_answer_means_something(status: int | None, code: str, words: str) -> None:
    assert failures.of_words(status, code, words, words).code.startswith("E_OCI_")
