"""The directory of connection masters, and the names in it."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuprep.kept import is_private
from gpuprep.run import connections
from gpuprep.run import environment as engine
from gpuprep.run.connections import control_directory, is_usable, socket_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def short() -> Iterator[Path]:
    """Give a directory whose path is short."""
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        yield Path(name)


def where(base: Path, **more: str) -> Path | None:
    return control_directory({"XDG_RUNTIME_DIR": str(base), "XDG_CACHE_HOME": "/proc", **more})


def test_it_is_made_once_and_closed_to_others(short: Path) -> None:
    old = os.umask(0)
    try:
        path = where(short)
    finally:
        os.umask(old)
    assert path == short / "gpuprep/ssh"
    assert is_private(path)
    assert where(short) == path
    assert list(path.iterdir()) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda base: (base / "gpuprep").mkdir(mode=0o755),
        lambda base: (base / "gpuprep").symlink_to("/tmp"),
        lambda base: (base / "gpuprep").write_text("a file"),
        lambda base: ((base / "gpuprep").mkdir(mode=0o700), (base / "gpuprep/ssh").mkdir(0o777)),
        lambda base: base.chmod(0o777),
    ],
)
def test_one_that_others_may_reach_is_not_used(
    short: Path, spoil: Callable[[Path], object]
) -> None:
    old = os.umask(0)
    try:
        spoil(short)
    finally:
        os.umask(old)
    assert where(short) is None


@pytest.mark.parametrize("cached", [True, False])
def test_nothing_is_made_in_the_folders_of_another_user(
    short: Path, monkeypatch: pytest.MonkeyPatch, *, cached: bool
) -> None:
    """So it is for root with a user's environment: that user could not use what root makes."""
    home, runtime = short / "home", short / "runtime"
    runtime.mkdir(mode=0o700)
    home.mkdir(mode=0o700)
    if cached:
        (home / ".cache").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
    before = sorted(short.rglob("*"))
    if user := os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    else:
        for path in before:
            os.chown(path, 1234, -1)
    assert control_directory(environ) is None
    assert sorted(short.rglob("*")) == before


def test_a_path_that_ssh_would_read_as_something_else_is_not_used(short: Path) -> None:
    odd = short / "r%h"
    odd.mkdir(mode=0o700)
    connections.offer(odd, {"XDG_RUNTIME_DIR": str(short)})
    assert connections.socket_path(odd, ["x"]) is None


def test_the_longest_socket_can_be_bound_and_a_longer_path_is_not_used(short: Path) -> None:
    """With the suffix under which ssh binds a socket before it renames it."""
    room = connections.LONGEST - len(str(short)) - len("/") - len("/kept/") - 16
    (short / "rt").mkdir(mode=0o700)
    for length, fits in ((room, True), (room + 1, False)):
        run_dir = short / ("y" * length)
        run_dir.mkdir(mode=0o700)
        connections.offer(run_dir, {"XDG_RUNTIME_DIR": str(short / "rt")})
        path = connections.socket_path(run_dir, ["x"])
        assert (path is not None) is fits
        if path:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"{path}.{'z' * 16}")


@given(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1), st.data())
def test_another_way_is_another_name(parts: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = data.draw(st.integers(0, len(parts) - 1))
        other = [*parts[:index], parts[index] + "x", *parts[index + 1 :]]
        assert socket_name(folder, parts) == socket_name(folder, list(parts))
        assert socket_name(folder, parts) != socket_name(folder, other)
        assert (folder / "key").stat().st_mode & 0o777 == 0o600


def test_a_name_tells_nothing_without_the_key(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert socket_name(tmp_path / "a", ["password"]) != socket_name(tmp_path / "b", ["password"])


def test_a_damaged_key_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short")
    name = socket_name(tmp_path, ["x"])
    assert name == socket_name(tmp_path, ["x"])
    assert {path.name for path in tmp_path.iterdir()} == {"key"}


def test_only_sockets_of_this_user_are_used(tmp_path: Path) -> None:
    assert is_usable(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    assert not is_usable(tmp_path / "file")
    assert not is_usable(tmp_path / "link")


def test_sshs_own_configuration_counts_with_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"Include {tmp_path}/more/*\nHost *\n  User me\n")
    (tmp_path / "more").mkdir()
    first = connections.ssh_settings([str(tmp_path / "config")])
    assert first[1] is False
    (tmp_path / "more/jump").write_text("Host gpu*\n  ProxyJump bastion\n")
    second = connections.ssh_settings([str(tmp_path / "config")])
    (tmp_path / "more/jump").write_text("Host gpu*\n  ControlPath=none\n")
    third = connections.ssh_settings([str(tmp_path / "config")])
    assert len({first[0], second[0], third[0]}) == 3
    assert third[1] is True


def test_a_file_that_includes_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"Include {tmp_path}/config\n")
    assert connections.ssh_settings([str(tmp_path / "config")])[1] is False


# Lines, below a home in which ~/a.conf, ~/my dir/a.conf and ~/.ssh/a.conf are: whether what they
# include is all known to us.
INCLUDES = {
    "plain": ("Include {home}/a.conf", True),
    "two": ("Include {home}/no.conf {home}/a.conf", True),
    "a pattern": ("Include {home}/[ab].c*f", True),
    "a name with a blank": ('Include "{home}/my dir/*.conf"', True),
    "an equals sign": ('include="{home}/my dir/a.conf"', True),
    "a blank at its end": ("\tInclude\t= {home}/a.conf \r", True),
    "a quoted keyword": ('"Include" {home}/a.conf', True),
    "a comment behind it": ("Include {home}/a.conf # that one", True),
    "in the environment's home": ("Include ~/a.conf", True),
    "in its .ssh": ("Include a.conf", True),
    "two stars": ("Include {home}/**.conf", True),
    "a folder": ("Include {home}\nInclude {home}/a.conf", True),
    "the root": ("Include /\nInclude {home}/a.conf", True),
    "single quotes": ("Include '{home}/my dir/a.conf'", False),
    "a backslash": ("Include {home}/my\\ dir/a.conf", False),
    "quotes within": ('Include {home}/"my dir"/a.conf', False),
    "a class": ("Include {home}/[[:alpha:]].conf", False),
    "a variable": ("Include ${{HOME}}/a.conf", False),
    "a token": ("Include %d/a.conf", False),
    "somebody's home": ("Include ~root/a.conf\nInclude {home}/a.conf", False),
    "no end of a quote": ('Include "{home}/a.conf', False),
}


@pytest.mark.needs("ssh")
@pytest.mark.parametrize("case", INCLUDES)
def test_what_ssh_reads_is_read_or_known_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    text, is_all = INCLUDES[case]
    for folder in (".ssh", "my dir"):
        (tmp_path / folder).mkdir()
    parts = (tmp_path / "a.conf", tmp_path / "my dir/a.conf", tmp_path / ".ssh/a.conf")
    for number, path in enumerate(parts):
        path.write_text(f"User reader{number}\n")
        path.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "config"
    config.write_text(text.format(home=tmp_path) + "\n")
    told = subprocess.run(
        ["ssh", "-G", "-F", str(config), "any"], capture_output=True, text=True, check=False
    ).stdout
    found = connections.configuration([str(config)])
    assert found.is_all is is_all
    assert ("user reader" in told) is any("reader" in part for _path, part in found.files) or (
        not is_all
    )
    assert "user reader" in told or not is_all


def test_more_files_than_are_read_are_known_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (tmp_path / f"{number}.conf").write_text("")
    config = tmp_path / "config"
    config.write_text(f"Include {tmp_path}/*.conf\n")
    found = connections.configuration([str(config)])
    assert (len(found.files), found.is_all) == (301, True)
    monkeypatch.setattr(connections, "_MOST_FILES", 300)
    found = connections.configuration([str(config)])
    assert (len(found.files), found.is_all) == (300, False)


def test_a_pipe_for_a_file_is_left_to_ssh(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config")
    assert not connections.configuration([str(tmp_path / "config")]).is_all
    assert connections.configuration([os.devnull]).is_all
    assert connections.configuration([str(tmp_path / "nothing")]).is_all


@pytest.mark.parametrize(
    ("line", "is_all"),
    [
        ('Match exec "on-vpn"', False),
        ("Match host x !exec=on-vpn", False),
        ("Match localnetwork 10.0.0.0/8", False),
        ("CanonicalizeHostname yes", False),
        ("Match host x user y", True),
        ("# Match exec x", True),
    ],
)
def test_what_depends_on_more_than_files_is_known(
    tmp_path: Path, line: str, *, is_all: bool
) -> None:
    (tmp_path / "config").write_text(f"{line}\n")
    assert connections.ssh_settings([str(tmp_path / "config")]).is_all is is_all


def test_variables_in_sshs_configuration_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("IdentityFile ~/.ssh/${ROLE}\n")
    found = set()
    for role in ("reader", "writer"):
        monkeypatch.setenv("ROLE", role)
        found.add(connections.ssh_settings([str(tmp_path / "config")]).digest)
    assert len(found) == 2


@pytest.mark.parametrize("setting", ["control_path", "control_path_dir"])
def test_the_users_own_place_for_masters_is_respected(tmp_path: Path, setting: str) -> None:
    (tmp_path / "ansible.cfg").write_text(f"[ssh_connection]\n{setting} = /own/%%h\n")
    found = engine.engine_environment({}, tmp_path, tmp_path / "run")
    assert "ANSIBLE_SSH_CONTROL_PATH_DIR" not in found


def test_a_directory_that_was_spoilt_meanwhile_is_not_used(short: Path) -> None:
    run_dir = short / "run"
    run_dir.mkdir(mode=0o700)
    connections.offer(run_dir, {"XDG_RUNTIME_DIR": str(short)})
    path = connections.socket_path(run_dir, ["x"])
    assert path is not None
    path.symlink_to("/tmp/elsewhere")
    assert connections.socket_path(run_dir, ["x"]) is None
    path.unlink()
    (short / "gpuprep/ssh").chmod(0o770)
    assert connections.socket_path(run_dir, ["x"]) is None


def test_a_run_that_was_offered_nothing_keeps_nothing(short: Path) -> None:
    assert connections.socket_path(short, ["x"]) is None


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ("", None),
        ("[defaults]\nstrategy = linear\n", None),
        ("[defaults]\nstrategy = free\n", "the strategy free"),
        ("[defaults]\ncallbacks_enabled = profile_tasks\n", "callback plugins (profile_tasks)"),
        ("[defaults]\ncallback_plugins = ./mine\n", "callback plugins (./mine)"),
    ],
)
def test_what_needs_ansible_playbook_is_told(
    tmp_path: Path, configuration: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "ansible.cfg").write_text(configuration)
    assert engine.needs_playbook({}, tmp_path) == reason
    assert engine.needs_playbook({engine.ENGINE: "playbook"}, tmp_path) is not None


def test_a_callback_plugin_of_the_user_needs_ansible_playbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ansible/plugins/callback"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text("")
    assert engine.needs_playbook({}, tmp_path) == "callback plugins"
