"""How hosts are reached: each by what is set for it, in any company, and by what was typed."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest

import gpuprep
from gpuprep.errors import ConfigError
from gpuprep.model import HostStatus
from gpuprep.run import bundle, connections
from gpuprep.run.environment import collections_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fleet_rig import Rig

PRETENDED = Path(__file__).parent / "pretended"
TYPED = gpuprep.Access(
    user="typed-user",
    connection_password="typed-ssh",  # noqa: S106
    become_password="typed-sudo",  # noqa: S106
)
UTILS = "ansible_collections.gpuprep.core.plugins.plugin_utils"


# --- whole runs: ssh and sudo are pretended, all else is real ----------------------------------


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setenv("PRETENDED_LOG", str(tmp_path / "pretended"))
    monkeypatch.setenv("ANSIBLE_SSH_EXECUTABLE", str(PRETENDED / "ssh"))
    monkeypatch.setenv("ANSIBLE_BECOME_EXE", str(PRETENDED / "sudo"))
    return fleet_rig.make(tmp_path, monkeypatch, "reach")


def pretended(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "pretended").read_text().splitlines()]


def run(
    rig: Rig, tmp_path: Path, hosts: Mapping[str, Any], verb: str = "status", **more: Any
) -> Any:
    """Run over hosts that have only these variables, in this order."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"hosts": dict(hosts)}}))
    return rig.run(verb, inventory, **more)


@pytest.mark.parametrize("verb", ["plan", "apply", "verify", "status"])
def test_typed_passwords_reach_all_hosts_that_have_none_of_their_own(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Also where the programs of Ansible are not on PATH, as after an installation by pipx."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    own = {"ansible_password": "own-ssh", "ansible_become_password": "own-sudo"}
    result = run(rig, tmp_path, {"first": own, "a": {}, "b": {}}, verb, access=TYPED)
    assert {host.error for host in result.hosts.values()} == {None}
    given = pretended(tmp_path)
    ssh = {told["host"]: told["password"] for told in given if "host" in told}
    sudo = {told["sudo"]: told["password"] for told in given if "sudo" in told}
    assert ssh == {"first": "own-ssh", "a": "typed-ssh", "b": "typed-ssh"}
    assert sudo == {"first": "own-sudo", "a": "typed-sudo", "b": "typed-sudo"}


@pytest.mark.usefixtures("rig")
def test_a_bundle_too_is_taken_with_the_typed_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And kept on this machine, whatever host is called localhost."""
    monkeypatch.setattr(bundle, "diagnosis", lambda: "print('{\"schema\": 1}')")
    inventory = tmp_path / "hosts.yml"
    hosts = {"localhost": {"ansible_connection": "ssh", "ansible_become_password": "own"}, "a": {}}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    found = bundle.collect(inventory, options={"access": TYPED})
    assert {name for name, each in found.items() if not each.error} == set(hosts)
    given = pretended(tmp_path)
    assert [told["host"] for told in given if "host" in told].count("localhost") == 1
    sudo = {told["sudo"]: told["password"] for told in given if "sudo" in told}
    assert sudo == {"localhost": "own", "a": "typed-sudo"}


def loud(connection: str) -> dict[str, Any]:
    """Return every variable that decides how a host is reached, each with a value of its own."""
    from ansible import constants as C  # noqa: N812, PLC0415
    from ansible.plugins.loader import become_loader, connection_loader  # noqa: PLC0415

    connection_loader.get(connection, class_only=True)
    become_loader.get("sudo", class_only=True)
    variables: dict[str, Any] = {}
    for kind, name in (("connection", connection), ("become", "sudo")):
        for option in C.config.get_configuration_definitions(kind, name).values():
            value = {"bool": not option.get("default"), "boolean": not option.get("default")}.get(
                option.get("type"), 77 if str(option.get("type")).startswith("int") else "loud"
            )
            value = [*option["choices"]][-1] if option.get("choices") else value
            variables |= {each["name"]: value for each in option.get("vars") or ()}
    magic = (name for names in C.MAGIC_VARIABLE_MAPPING.values() for name in names)
    variables |= {name: "loud" for name in magic if name not in variables}
    variables.pop("inventory_hostname", None)
    return variables | {
        "ansible_connection": connection,
        "ansible_become": True,
        "ansible_become_method": "sudo",
        "ansible_pipelining": False,
        "ansible_shell_type": "sh",
        "ansible_python_interpreter": "/loud/python",
        "ansible_remote_tmp": "/loud",
    }


def reached(rig: Rig, *names: str) -> dict[str, Any]:
    told = {}
    for name in names:
        document = json.loads((rig.folder / f"reached-{name}").read_text())
        for key in ("control_path_dir", "control_path"):  # of the run, or of the name
            document["options"].pop(key, None)
        told[name] = document
    return told


def test_every_host_is_reached_in_company_as_it_is_alone(rig: Rig, tmp_path: Path) -> None:
    """Each variable on its own host, first and last, and on the host that runs gpuprep."""
    hosts: dict[str, dict[str, Any]] = {"ssh": loud("ssh"), "local": loud("local"), "bare": {}}
    assert len(hosts["ssh"]) > 50
    alone: dict[str, Any] = {}
    for name, variables in hosts.items():
        run(rig, tmp_path, {name: variables}, access=TYPED)
        alone |= reached(rig, name)
    assert "loud" not in json.dumps(alone["bare"])
    assert alone["bare"]["options"]["remote_user"] == "typed-user"
    assert json.dumps(alone["ssh"]).count('"loud"') > 15
    for order in (["ssh", "local", "bare"], ["bare", "local", "ssh"]):
        run(rig, tmp_path, {name: hosts[name] for name in order}, access=TYPED)
        assert reached(rig, *hosts) == alone, order
    localhost = hosts["local"] | hosts["ssh"]
    run(rig, tmp_path, {"localhost": localhost, "bare": {}}, access=TYPED)
    assert reached(rig, "bare")["bare"] == alone["bare"]


UNTOLD = (
    "ansible_become", "ansible_become_password", "ansible_become_user", "ansible_become_exe",
    "ansible_become_flags", "ansible_password", "ansible_user", "ansible_host", "ansible_port",
    "ansible_pipelining", "ansible_private_key_file", "ansible_ssh_common_args",
    "ansible_python_interpreter", "ansible_connection", "ansible_become_method",
)  # fmt: skip


def test_a_variable_that_cannot_be_told_is_its_hosts_own_fault(rig: Rig, tmp_path: Path) -> None:
    """In any position, and when its host has the name of the machine that gpuprep runs on."""
    bad = {f"bad{number}": {name: "{{ nope }}"} for number, name in enumerate(UNTOLD)}
    local = dict.fromkeys((*UNTOLD, "ansible_shell_type", "ansible_remote_tmp"), "{{ nope }}")
    result = run(rig, tmp_path, {**bad, "localhost": local, "well": {}}, access=TYPED)
    assert result.hosts["well"].error is None
    for number, name in enumerate(UNTOLD):
        host = result.hosts[f"bad{number}"]
        assert (host.state, host.code) == (HostStatus.REFUSED, "E_CONFIG")
        assert f"{name}: 'nope' is undefined" in host.error
    assert result.hosts["localhost"].code == "E_CONFIG"


def test_a_variable_that_is_omitted_is_not_set(rig: Rig, tmp_path: Path) -> None:
    omitted = dict.fromkeys(UNTOLD, "{{ nope | default(omit) }}")
    result = run(rig, tmp_path, {"same": omitted, "bare": {}}, access=TYPED)
    assert result.hosts["same"].error is None
    told = json.dumps(reached(rig, "same")["same"])
    assert json.loads(told.replace('"same"', '"bare"')) == reached(rig, "bare")["bare"]


# --- one host, or a few, within this process -------------------------------------------------


class Reach:
    """The part of the collection that talks to hosts, over programs of the test."""

    def __init__(self, folder: Path) -> None:
        from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
        from ansible.playbook.play_context import PlayContext  # noqa: PLC0415
        from ansible.template import Templar  # noqa: PLC0415
        from ansible_collections.gpuprep.core.plugins.plugin_utils import (  # noqa: PLC0415
            _clients,
            _hosts,
            _options,
            _road,
        )

        self.hosts, self.road, self.clients = _hosts, _road, _clients
        self.folder = folder
        self.log = folder / "log"
        self._context, self._templar = PlayContext(), Templar(loader=DataLoader())
        self._options = _options.Options({})

    def program(self, name: str, text: str) -> str:
        """Write a shell script; ``$log`` is a file of the test."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nlog={self.log}\n{text}\n")
        path.chmod(0o755)
        return str(path)

    def target(self, name: str, ssh: str, **variables: Any) -> Any:
        given = {"ansible_ssh_executable": ssh, "ansible_timeout": 0, **variables}
        return self.hosts.make_target(name, given, self._templar, self._context, self._options)

    def ask(self, name: str, ssh: str, **variables: Any) -> str:
        target = self.target(name, ssh, **variables)
        return str(self.hosts.run_script(target, "print('here')", 10))

    def fault(self, name: str, ssh: str, **variables: Any) -> Any:
        """Return the exception that asking a host ends with."""
        with pytest.raises((self.hosts.HostUnreachableError, self.hosts.HostUnusableError)) as told:
            self.ask(name, ssh, **variables)
        return told.value

    def fleet(self, ssh: str, *names: str, **variables: Any) -> dict[str, Any]:
        """Ask hosts as a fleet does; return what was found of each."""
        action = SimpleNamespace()
        fleet = self.road.Fleet(action, {"hostvars": None}, "plan")
        fleet._targets = {name: self.target(name, ssh, **variables) for name in names}
        fleet._plan = lambda name: self.hosts.run_script(fleet._targets[name], "print('here')", 10)
        found: dict[str, Any] = fleet._ask(list(names), dict.fromkeys(names, 30.0))
        return found

    def attempts(self) -> dict[str, int]:
        """Return how often each host was tried, from lines that the test's ssh wrote."""
        lines = self.log.read_text().splitlines()
        return {line: lines.count(line) for line in lines}


@pytest.fixture
def reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reach]:
    monkeypatch.setattr(sys, "path", [str(collections_root()), *sys.path])
    monkeypatch.setenv("GPUPREP_RUN_DIR", str(tmp_path))
    made = Reach(tmp_path)
    monkeypatch.setattr(made.hosts, "PAUSE_SECONDS", (0.0, 0.0))
    yield made
    for name in [one for one in sys.modules if one.startswith("ansible_collections")]:
        del sys.modules[name]


# The last word of ssh's arguments is the command, the one before it the host.
HOST = 'for word; do host=$command command=$word; done; echo "$host" >>"$log"'
HERE = f'{HOST}; exec sh -c "$command"'
CROWD = "kex_exchange_identification: Connection closed by remote host"
BEHIND = (
    "channel 0: open failed: connect failed: Connection timed out\nstdio forwarding failed\n"
    f"{CROWD}\nConnection closed by UNKNOWN port 65535"
)


def test_a_host_that_was_lost_in_the_crowd_is_asked_once_more(reach: Reach) -> None:
    crowded = (
        f'{HOST}; [ "$(grep -cx "$host" "$log")" -gt 1 ] && exec sh -c "$command";'
        f" echo '{CROWD}' >&2; exit 255"
    )
    names = [f"h{number}" for number in range(9)]
    found = reach.fleet(reach.program("ssh", crowded), *names)
    assert found == dict.fromkeys(names, "here\n")
    assert reach.attempts() == dict.fromkeys(names, 2)


def test_the_second_time_there_are_fewer_at_once_and_more_patience(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    real = reach.hosts.for_all

    def spy(names: list[str], work: Callable[[str], Any], parallel: int, seconds: Any) -> Any:
        seen.append((parallel, min(seconds.values())))
        return real(names, work, parallel, seconds)

    monkeypatch.setattr(reach.hosts, "for_all", spy)
    monkeypatch.setattr(reach.hosts, "cores", lambda: 0.8)
    monkeypatch.setattr(reach.road.C, "DEFAULT_FORKS", 50)
    ssh = reach.program("ssh", f"{HOST}; echo \"$*\" | grep -o 'ConnectTimeout=[0-9]*' >>\"$log\"; "
                        f"echo '{CROWD}' >&2; exit 255")  # fmt: skip
    names = [f"h{number}" for number in range(20)]
    found = reach.fleet(ssh, *names, ansible_timeout=2)
    assert seen == [(8, 30.0), (2, 75.0)]  # ten for a core, then fewer
    assert {type(value) for value in found.values()} == {reach.hosts.NotBegunError}
    assert reach.attempts() == {
        **dict.fromkeys(names, 2), "ConnectTimeout=2": 20, "ConnectTimeout=6": 20
    }  # fmt: skip


FINAL = [
    "ssh: connect to host x port 22: Connection timed out",
    "ssh: connect to host x port 22: Connection refused",
    "ssh: connect to host x port 22: No route to host",
    "ssh: Could not resolve hostname x: Name or service not known",
    "ops@x: Permission denied (publickey,password).",
    "Host key verification failed.",
    "Connection to x closed by remote host.",
    BEHIND,
]


@pytest.mark.parametrize("said", FINAL)
def test_a_host_that_is_down_or_turns_us_away_is_tried_once(reach: Reach, said: str) -> None:
    """Another login with a password that is wrong could lock the account."""
    found = reach.fleet(
        reach.program("ssh", f"{HOST}\ncat >&2 <<'EOF'\n{said}\nEOF\nexit 255"), "a"
    )
    assert isinstance(found["a"], reach.hosts.HostUnreachableError)
    assert reach.attempts() == {"a": 1}


WORTH_IT = [
    CROWD,
    "kex_exchange_identification: read: Connection reset by peer\nConnection reset by x port 22",
    "Connection timed out during banner exchange\nConnection to x port 22 timed out",
    "Connection closed by x port 22",
    "ssh: Could not resolve hostname x: Temporary failure in name resolution",
    "ssh_dispatch_run_fatal: Connection to x port 22: Connection timed out",
]


@pytest.mark.parametrize("said", WORTH_IT)
def test_what_a_crowd_does_to_a_connection_is_known(reach: Reach, said: str) -> None:
    found = reach.fleet(
        reach.program("ssh", f"{HOST}\ncat >&2 <<'EOF'\n{said}\nEOF\nexit 255"), "a"
    )
    assert isinstance(found["a"], reach.hosts.HostUnreachableError)
    assert said.splitlines()[-1].split()[-1] in str(found["a"])
    assert reach.attempts() == {"a": 2}


def test_a_role_too_asks_once_more(reach: Reach) -> None:
    again = '[ -e "$log.2" ] && exec sh -c "$command"; >"$log.2"'
    ssh = reach.program("ssh", f"{HOST}; {again}; echo '{CROWD}' >&2; exit 255")
    target = reach.target("a", ssh)
    said = reach.hosts.twice(target, lambda: reach.hosts.run_script(target, "print('here')", 10))
    assert (said, reach.attempts()) == ("here\n", {"a": 2})


def test_key_exchanges_are_as_many_as_there_are_cores_for(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores, few in ((2.0, 20), (0.5, 5), (0.01, 1), (64.0, 50)):
        monkeypatch.setattr(reach.hosts, "cores", lambda cores=cores: cores)
        assert reach.hosts.at_once(100, 50) == few
        assert reach.hosts.at_once(100, 3) == min(3, few)
        assert reach.hosts.at_once(few, 50) == 50


def test_open_connections_are_not_held_back(reach: Reach) -> None:
    import socket  # noqa: PLC0415

    shown = reach.program("ssh", 'printf \'%s\\n\' "$@" >"$log"')
    folder = {"ansible_control_path_dir": str(reach.folder)}
    more = {"ansible_port": 2222, "ansible_user": "ops"}
    reach.ask("a", shown, **folder, **more)
    path = next(line for line in reach.log.read_text().splitlines() if "ControlPath=" in line)
    with socket.socket(socket.AF_UNIX) as master:
        master.bind(path.split("=", 1)[1].strip('"'))
        master.listen(100)
        target = reach.target("a", shown, **folder, **more)
        assert reach.hosts.connected([target]) == {"a"}
    # One that was killed has left its socket there.
    assert reach.hosts.connected([target]) == set()
    assert reach.hosts.connected([reach.target("a", shown, **folder)]) == set()


@pytest.mark.parametrize("told", [True, False])
def test_a_kept_master_is_found_without_a_knock(
    reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    """Each knock is work for it; a kernel that does not tell who listens leaves no other way."""
    import socket  # noqa: PLC0415

    from gpuprep.run import connections  # noqa: PLC0415

    if not told:
        monkeypatch.setattr(connections, "_SOCKETS", tmp_path / "missing")
    folder = tmp_path / connections.LINK
    folder.mkdir()
    targets = [
        reach.target(name, "ssh", ansible_control_path=str(folder / name)) for name in "abcd"
    ]
    with socket.socket(socket.AF_UNIX) as master, socket.socket(socket.AF_UNIX) as killed:
        for one, name in ((master, "a"), (killed, "b")):
            one.bind(f"{folder / name}.x1Y2")  # as ssh does, which then gives it its name
            one.listen(1)
            Path(f"{folder / name}.x1Y2").rename(folder / name)
        killed.close()
        (folder / "c").touch()
        assert reach.hosts.connected(targets) == {"a"}
        master.settimeout(0.1)
        with pytest.raises(TimeoutError) if told else contextlib.nullcontext():
            master.accept()[0].close()


def test_sockets_of_masters_that_are_gone_are_removed(
    reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those just being made, living ones and those that no table tells of stay."""
    import socket  # noqa: PLC0415

    from gpuprep.run import connections  # noqa: PLC0415

    directory = tmp_path / "all"
    directory.mkdir()
    (tmp_path / connections.LINK).symlink_to(directory)
    (directory / "key").touch()
    with contextlib.ExitStack() as open_sockets:
        for name in ("dead", "dead.x1Y2", "living", "elsewhere", "young"):
            one = open_sockets.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(str(directory / name))
            if name not in {"dead", "dead.x1Y2", "young"}:
                one.listen(1)
            if name != "young":
                os.utime(directory / name, (0, 0))
            if name.startswith("dead"):
                one.close()
        monkeypatch.setattr(connections, "listening", lambda: None)
        reach.hosts.connected([])
        assert len(list(directory.iterdir())) == 6
        monkeypatch.setattr(connections, "listening", lambda: frozenset({"living"}))
        reach.hosts.connected([])
    assert {path.name for path in directory.iterdir()} == {"key", "living", "elsewhere", "young"}


def test_a_master_that_takes_commands_is_not_asked_first_whether_it_is_there(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is gone is found out by the command; a second try asks."""
    asked: list[Any] = []
    monkeypatch.setattr(reach.hosts, "is_connected", asked.append)
    target = reach.target("a", reach.program("ssh", f'{HOST}; exec sh -c "$command"'))
    reach.clients.share_master(target.connection)
    assert reach.hosts.run_script(target, "print('here')", 10) == "here\n"
    assert asked == []
    reach.hosts.be_patient(target.connection)
    assert reach.hosts.run_script(target, "print('here')", 10) == "here\n"
    assert asked == [target.connection]


WIRE = """
DOCUMENTATION = "name: wire\\nshort_description: has no pipelining\\noptions: {}"
from ansible.plugins.connection import ConnectionBase
class Connection(ConnectionBase):
    transport = "wire"
    def _connect(self):
        return self
    def exec_command(self, cmd, in_data=None, sudoable=True):
        raise AssertionError("the host is reached")
    put_file = fetch_file = exec_command
    def close(self):
        raise AttributeError("client")
"""


def test_a_plugin_that_gives_programs_no_input_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/wire.py").write_text(WIRE)
    monkeypatch.setenv("ANSIBLE_CONNECTION_PLUGINS", str(tmp_path / "plugins"))
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs")
    result = rig.run("apply", {"a": {"ansible_connection": "wire"}, "b": {}})
    host = result.hosts["a"]
    assert (host.state, host.code) == (HostStatus.REFUSED, "E_CONFIG")
    assert "ansible_connection: the connection plugin wire cannot give" in (host.error or "")
    assert "set ssh" in (host.error or "")
    assert result.hosts["b"].state is HostStatus.PREPARED


def test_a_role_alone_refuses_such_a_plugin_too(reach: Reach) -> None:
    connection = reach.target("a", "ssh").connection
    connection.has_pipelining = False
    action = SimpleNamespace(_connection=connection, _templar=reach._templar)
    with pytest.raises(reach.hosts.AnsibleActionFail, match=r"\[E_CONFIG\] ansible_connection: "):
        reach.hosts.own_target(action, {"inventory_hostname": "a"})


def test_a_connection_that_cannot_be_closed_hides_no_error(reach: Reach) -> None:
    def close() -> None:
        raise AttributeError("client")

    for text, end in ((f"cat >&2; echo '{FINAL[0]}' >&2; exit 255", None), (HERE, "here\n")):
        target = reach.target("a", reach.program("ssh", text))
        target.connection.close = close
        if end is None:
            with pytest.raises(reach.hosts.HostUnreachableError, match="timed out"):
                reach.hosts.run_script(target, "print('here')", 10)
        else:
            assert reach.hosts.run_script(target, "print('here')", 10) == end


SHARES: list[tuple[str, dict[str, str], float | None]] = [
    ("0::/", {"cpu.max": "50000 100000\n"}, 0.5),
    ("0::/", {"cpu.max": "max 100000\n"}, None),
    ("0::/", {"cpu.max": ""}, None),
    ("0::/", {}, None),
    ("0::/a.slice/b.service", {"a.slice/b.service/cpu.max": "25000 100000"}, 0.25),
    ("0::/a.slice/b.service", {"a.slice/cpu.max": "25000 100000"}, 0.25),
    ("0::/a", {"a/cpu.max": "max 100000", "cpu.max": "70000 100000"}, 0.7),
    ("0::/known/outside/by/this", {"cpu.max": "50000 100000"}, 0.5),
    ("0::/../beside", {"cpu.max": "50000 100000"}, 0.5),
    ("2:cpuset:/\n1:cpu,cpuacct:/a\n0::/", {
        "cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000"
    }, 0.5),
    ("1:cpu:/a", {
        "cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000",
    }, None),
]  # fmt: skip


@pytest.mark.parametrize(("membership", "files", "count"), SHARES)
def test_the_share_of_the_processors_that_a_group_has_counts(
    reach: Reach, tmp_path: Path, membership: str, files: dict[str, str], count: float | None
) -> None:
    (tmp_path / "membership").write_text(membership + "\n")
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = reach.hosts.cores(tmp_path / "groups", tmp_path / "membership")
    assert found == (count or len(os.sched_getaffinity(0)))
    assert reach.hosts.cores(tmp_path, tmp_path / "nosuch") == len(os.sched_getaffinity(0))


# --- sudo ----------------------------------------------------------------------------------

ASKING = {"ansible_become": True, "ansible_become_password": "right"}
VERSION = '[ "$1" = --version ] && echo "Sudo version 1.9.13p3" && exit'
WRONG = (
    'while [ "$1" != -p ]; do shift; done; printf %s "$2" >&2; read given;'
    " echo 'Sorry, try again.' >&2; sleep 5"
)
RUST = (
    '[ "$1" = --version ] && echo "sudo-rs 0.2.5" && exit;'
    ' printf "[sudo: x] Password: " >&2; sleep 20'
)
SUDOS = {
    "wrong": (
        "E_NO_SUDO",
        "password given for becoming root is wrong",
        WRONG,
    ),
    "tty": (
        "E_SUDO_TTY",
        "!requiretty",
        "echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1",
    ),
    "rs": (
        "E_SUDO_PROMPT",
        "ansible_become_exe: sudo.ws",
        RUST,
    ),
    "nobody": ("E_NO_SUDO", "sudoers", "echo 'ops is not in the sudoers file.' >&2; exit 1"),
    "missing": ("E_NO_SUDO", "install it", "echo 'sh: 1: sudo: not found' >&2; exit 127"),
}


@pytest.mark.parametrize("kind", SUDOS)
def test_what_sudo_has_against_it_is_told(reach: Reach, kind: str) -> None:
    code, words, text = SUDOS[kind]
    sudo = reach.program("sudo", text)
    fault = reach.fault("a", reach.program("ssh", HERE), ansible_become_exe=sudo, **ASKING)
    assert (fault.code, words in str(fault)) == (code, True), fault


@pytest.mark.parametrize("kind", SUDOS)
def test_the_same_on_the_machine_that_gpuprep_runs_on(
    reach: Reach, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, words, text = SUDOS[kind]
    text = text.replace("; sleep 5", '; printf %s "$2" >&2; sleep 5')
    more = {"ansible_become_exe": reach.program("sudo", text), "ansible_connection": "local"}
    fault = reach.fault("a", "", ansible_local_become_success_timeout=1, **more, **ASKING)
    assert (fault.code, words in str(fault)) == (code, True), fault


# Gives a terminal for -tt alone, as ssh does; its sudo refuses without one.
TERMINAL = f'case " $* " in *" -tt "*) export TERMINAL=1; esac; {HERE}'
STRICT = (
    "[ $TERMINAL ] || {{ echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1; }};"
    ' while [ "$1" != -u ]; do shift; done; shift 2; {then}exec "$@"'
)


@pytest.mark.parametrize("times", [1, 2])
def test_a_sudo_that_wants_a_terminal_gets_one(reach: Reach, times: int) -> None:
    """The program comes by a file, which is gone when it begins."""
    sudo = reach.program("sudo", STRICT.format(then=""))
    more = {"ansible_become": True, "ansible_become_exe": sudo}
    target = reach.target("a", reach.program("ssh", TERMINAL), **more)
    before = set(Path("/tmp").glob("gpuprep-program-*"))
    look = "import glob; print(glob.glob('/tmp/gpuprep-program-*')); raise SystemExit(0)"
    for _ in range(times):
        said = reach.hosts.run_script(target, look, 10)
        assert said == f"{[str(path) for path in before]}\n"
    assert reach.attempts() == {"a": 1 + 2 * times}  # asked once in vain


def test_what_fails_in_the_terminal_leaves_no_program_behind(reach: Reach) -> None:
    before = set(Path("/tmp").glob("gpuprep-program-*"))
    no = "echo 'ops is not in the sudoers file.' >&2; exit 1;"
    sudo = reach.program("sudo", STRICT.format(then=no))
    more = {"ansible_become": True, "ansible_become_exe": sudo}
    fault = reach.fault("a", reach.program("ssh", TERMINAL), **more)
    assert (fault.code, set(Path("/tmp").glob("gpuprep-program-*"))) == ("E_NO_SUDO", before)


def test_root_runs_no_other_program_than_the_one_that_was_sent(reach: Reach) -> None:
    """It waits in a directory of the login user, whose other processes can write there."""
    other = 'for kept in /tmp/gpuprep-program-*/program; do echo "print(6)" >"$kept"; done; '
    sudo = reach.program("sudo", STRICT.format(then=other))
    more = {"ansible_become": True, "ansible_become_exe": sudo}
    target = reach.target("a", reach.program("ssh", TERMINAL), **more)
    with pytest.raises(reach.hosts.HostUnusableError, match="the program in /tmp was altered"):
        reach.hosts.run_script(target, "print(7)", 10)


def test_a_sudo_that_never_asks_is_given_time_before_it_is_blamed(reach: Reach) -> None:
    """It may be the connection, until the host is seen to answer."""
    sudo = reach.program("sudo", f"{VERSION}; sleep 20")
    ssh = reach.program("ssh", HERE)
    target = reach.target("a", ssh, ansible_become_exe=sudo, **ASKING)
    with pytest.raises(reach.hosts.HostUnusableError, match="the host answers, but") as told:
        reach.hosts.twice(target, lambda: reach.hosts.run_script(target, "print('here')", 10))
    assert told.value.code == "E_SUDO_PROMPT"


def test_a_host_that_never_answers_is_not_blamed_for_its_sudo(reach: Reach) -> None:
    ssh = reach.program("ssh", f'{HOST}; case "$command" in *version*) exit 255; esac; sleep 20')
    target = reach.target("a", ssh, **ASKING)
    with pytest.raises(reach.hosts.HostUnreachableError):
        reach.hosts.twice(target, lambda: reach.hosts.run_script(target, "print('here')", 10))


NO_CONNECTION = {
    "an unknown host key": ("known_hosts", "echo 'Host key verification failed.' >&2; exit 255"),
    "no program": ("Unable to execute ssh", None),
}


@pytest.mark.parametrize("kind", NO_CONNECTION)
def test_what_keeps_a_typed_password_from_ssh_is_not_blamed_on_sudo(
    reach: Reach, kind: str
) -> None:
    words, text = NO_CONNECTION[kind]
    ssh = reach.program("ssh", text) if text else "/nowhere/ssh"
    fault = reach.fault("a", ssh, ansible_password="typed", **ASKING)  # noqa: S106
    assert isinstance(fault, reach.hosts.HostUnreachableError)
    assert words in str(fault)


# --- hosts that send too much, or nothing -----------------------------------------------------


@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize("more", [{}, ASKING | {"ansible_become_exe": "sudo"}])
def test_a_host_that_sends_without_end_is_cut_off(
    reach: Reach, monkeypatch: pytest.MonkeyPatch, stream: int, more: dict[str, Any]
) -> None:
    monkeypatch.setattr(reach.clients, "MOST_BYTES", 1 << 20)
    ssh = reach.program("ssh", f'{HOST}; echo $$ >"$log"; exec cat /dev/zero >&{stream}')
    fault = reach.fault("a", ssh, **more)
    assert (fault.code, "longer than 1 MiB" in str(fault)) == ("E_OBSERVE", True), fault
    assert not Path(f"/proc/{reach.log.read_text().strip()}").exists()


# As the plugins for podman, docker and kubectl do it.
PLUGIN = """
import subprocess
from ansible.plugins.connection import ConnectionBase

class Connection(ConnectionBase):
    transport = "box"

    def _connect(self):
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):
        argv = ["/bin/sh", "-c", cmd]
        client = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = client.communicate(input=in_data)
        return client.returncode, out, err

    def put_file(self, in_path, out_path): ...
    def fetch_file(self, in_path, out_path): ...
    def close(self): ...
"""
OTHERS = ["box", "local"]


def by(reach: Reach, connection: str, python: str = sys.executable) -> Any:
    """Return a host that is reached by another plugin than ssh."""
    if connection == "local":
        more = {"ansible_connection": "local", "ansible_python_interpreter": python}
        return reach.target("a", "", **more)
    (reach.folder / "box.py").write_text(PLUGIN)
    spec = importlib.util.spec_from_file_location("box", reach.folder / "box.py")
    assert spec is not None
    assert spec.loader is not None
    box = sys.modules["box"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(box)
    return reach.hosts.Target("a", box.Connection(reach._context, os.devnull), python)


@pytest.mark.parametrize("connection", OTHERS)
@pytest.mark.parametrize("stream", [1, 2])
def test_the_same_by_other_connections_than_ssh(
    reach: Reach, monkeypatch: pytest.MonkeyPatch, connection: str, stream: int
) -> None:
    monkeypatch.setattr(reach.clients, "MOST_BYTES", 1 << 20)
    python = reach.program("python", f'echo $$ >"$log"; exec cat /dev/zero >&{stream}')
    with pytest.raises(reach.hosts.HostUnusableError, match="longer than 1 MiB") as told:
        reach.hosts.run_script(by(reach, connection, python), "", 10)
    assert told.value.code == "E_OBSERVE"


def test_a_program_of_the_host_that_does_not_answer_is_named(reach: Reach) -> None:
    """Not taken for a Python that is missing, whatever the program said itself."""
    hangs = (
        "from gpuprep.on_host.observe import base;"
        "base.no_answer(['systemctl', 'show', 'x'], 'failed: bus: No such file or directory')"
    )
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); {hangs}"
    with pytest.raises(reach.hosts.HostUnusableError) as told:
        reach.hosts.run_script(by(reach, "local"), script, 10)
    assert told.value.code == "E_UNANSWERED"
    assert "systemctl show failed: bus" in str(told.value)


LONG = "import sys; sys.stdout.write('x' * 3000000); sys.stderr.write('y' * 100000)"


def test_a_long_answer_comes_whole(reach: Reach) -> None:
    target = reach.target("a", reach.program("ssh", HERE))
    assert reach.hosts.run_script(target, LONG, 10) == "x" * 3000000


@pytest.mark.parametrize("connection", OTHERS)
def test_a_long_program_and_its_long_answer_pass_other_connections(
    reach: Reach, connection: str
) -> None:
    text = f"{LONG}\n#{'z' * 3000000}\nprint('end')"
    said = reach.hosts.run_script(by(reach, connection), text, 30)
    assert said == "x" * 3000000 + "end\n"


@pytest.mark.parametrize("connection", OTHERS)
def test_what_reads_no_input_is_not_waited_for(reach: Reach, connection: str) -> None:
    python = reach.program("python", "exec <&-; echo early")
    target = by(reach, connection, python)
    assert reach.hosts.run_script(target, "#" * 3000000, 10) == "early\n"


def test_a_connection_that_is_bounded_can_be_reset(reach: Reach) -> None:
    """As a reboot does: the plugin then uses its clients in another way."""
    show = 'echo "$*" >>"$log"; case "$*" in *check*) echo Master running >&2; esac'
    target = reach.target("a", reach.program("ssh", f"{HOST}; {show}"))
    reach.clients.bound(target.connection)
    target.connection.reset()
    assert "-O stop" in reach.log.read_text()


def test_a_host_that_hangs_takes_no_other_of_its_address_with_it(reach: Reach) -> None:
    """Hosts behind one address differ by port alone."""
    hang = 'case "$*" in *Port=1*) echo $$ >"$log.1"; exec sleep 60; esac; sleep 1'
    ssh = reach.program("ssh", f'{HOST}; {hang}; exec sh -c "$command"')
    targets = {
        f"h{port}": reach.target(f"h{port}", ssh, ansible_host="127.0.0.1", ansible_port=port)
        for port in (1, 2)
    }
    found = reach.hosts.for_all(
        ["h1", "h2"],
        lambda name: reach.hosts.run_script(targets[name], "print('here')", 10),
        2,
        {"h1": 0.5, "h2": 30.0},
    )
    assert found["h2"] == "here\n"
    assert "no answer within" in str(found["h1"])
    hanging = Path("/proc", (reach.folder / "log.1").read_text().strip(), "cmdline")
    assert not hanging.exists() or hanging.read_bytes() == b""  # ended, perhaps not yet waited for


def test_a_jump_host_is_named_as_what_may_not_answer(reach: Reach) -> None:
    said = f"{CROWD}\nConnection closed by UNKNOWN port 65535"
    ssh = reach.program("ssh", f"cat >&2 <<'EOF'\n{said}\nEOF\nexit 255")
    fault = reach.fault("a", ssh, ansible_host="192.0.2.7")
    assert "through a jump host" in str(fault)
    assert "ssh -v 192.0.2.7" in str(fault)


@pytest.mark.parametrize("address", ["fe80::1%eth0", "fd77::2", "192.0.2.7", "a.example"])
def test_an_address_reaches_ssh_as_it_is(reach: Reach, address: str) -> None:
    reach.ask("a", reach.program("ssh", HERE), ansible_host=address)
    assert reach.attempts() == {address: 1}


def test_a_variable_that_cannot_be_told_is_named(reach: Reach) -> None:
    from ansible._internal._datatag._tags import TrustedAsTemplate  # noqa: PLC0415

    with pytest.raises(ConfigError, match=r"^ansible_user: 'nope' is undefined"):
        reach.target("a", "ssh", ansible_user=TrustedAsTemplate().tag("{{ nope }}"))


# --- connections that are kept -------------------------------------------------------------------


@pytest.fixture
def kept(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reach]:
    """Offer a run, in a place with a short path, a directory of connections."""
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        run_dir = Path(name) / "run"
        run_dir.mkdir(mode=0o700)
        connections.offer(run_dir, {"XDG_RUNTIME_DIR": name})
        monkeypatch.setenv("GPUPREP_RUN_DIR", str(run_dir))
        monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", str(run_dir / "cp"))
        monkeypatch.delenv("ANSIBLE_SSH_ARGS", raising=False)
        yield reach


def master(reach: Reach, name: str = "a", **variables: Any) -> str | None:
    connection = reach.target(name, "ssh", **variables).connection
    path: str | None = connection.get_option("control_path")
    return path


OTHERWISE: list[dict[str, Any]] = [
    {"ansible_host": "10.0.0.9"},
    {"ansible_user": "somebody"},
    {"ansible_port": 2222},
    {"ansible_password": "first"},
    {"ansible_password": "second"},
    {"ansible_ssh_private_key_file": "/etc/hostname"},
    {"ansible_ssh_common_args": "-o ProxyJump=bastion"},
    {"ansible_ssh_extra_args": "-o Ciphers=aes128-ctr"},
    {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s"},
    {"ansible_ssh_executable": "/usr/local/bin/ssh"},
    {"ansible_host_key_checking": False},
]


def test_connections_share_a_master_only_where_nothing_differs(
    kept: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"ansible_ssh_executable": "ssh"}
    paths = [master(kept, **plain), *(master(kept, **{**plain, **more}) for more in OTHERWISE)]
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/another-agent")
    paths.append(master(kept, **plain))
    assert None not in paths
    assert len(set(paths)) == len(OTHERWISE) + 2
    monkeypatch.delenv("SSH_AUTH_SOCK")
    # Who one becomes on the host is settled for each command.
    assert master(kept, ansible_become=True, ansible_become_password="x") == paths[0]  # noqa: S106
    assert "first" not in str(paths)


def test_a_key_that_was_replaced_under_its_name_is_another(kept: Reach, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("one")
    before = master(kept, ansible_ssh_private_key_file=str(key))
    key.unlink()
    key.write_text("three")
    assert master(kept, ansible_ssh_private_key_file=str(key)) != before


@pytest.mark.parametrize(
    "own",
    [
        {"ansible_control_path": "/own/%%h"},
        {"ansible_control_path_dir": "/own"},
        {"gpuprep_keep_connections": False},
        {"gpuprep_keep_connections": "{{ nope }}"},
    ],
)
def test_what_is_set_for_a_host_goes_first(kept: Reach, own: dict[str, Any]) -> None:
    assert master(kept, **own) == own.get("ansible_control_path")


def test_a_host_whose_own_ssh_configuration_has_masters_is_left_to_it(
    kept: Reach, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("Host mine\n  ControlPath /own/%h\n  ControlMaster auto\n")
    default = "-C -o ControlMaster=auto -o ControlPersist=60s"  # Ansible's, as if nothing were set
    common = {"ansible_ssh_common_args": f"-F {config}", "ansible_ssh_args": default}
    real = "/usr/bin/ssh"
    mine = kept.target("mine", real, ansible_host="mine", **common).connection
    other = kept.target("other", real, ansible_host="other", **common).connection
    assert (mine.get_option("control_path"), mine.get_option("ssh_args")) == (None, "-C")
    assert other.get_option("control_path")
    assert "ControlPersist=300s" in other.get_option("ssh_args")
    assert "-C" not in other.get_option("ssh_args").split()  # what is sent is packed already


def test_a_host_that_sshs_configuration_leads_elsewhere_gets_another_connection(
    kept: Reach, tmp_path: Path
) -> None:
    """Also where only ssh knows what it includes; then each host is asked for."""
    folder = tmp_path / "my dir"
    folder.mkdir()
    config, part, log = tmp_path / "config", folder / "gpu.conf", tmp_path / "asked"
    ssh = kept.program("ssh", f'echo asked >>{log}; exec ssh "$@"')
    common = {"ansible_ssh_common_args": f"-F {config}"}
    for quote, asked in (('"', 0), ("'", 4)):
        config.write_text(f"Include {quote}{folder}/*.conf{quote}\n")
        log.write_text("")
        paths = []
        for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
            part.write_text(f"Host gpu250\n  HostName {address}\n")
            kept.hosts._masters._settings.cache_clear()
            paths.append(master(kept, "gpu250", ansible_ssh_executable=ssh, **common))
        assert paths[0] == paths[2] != paths[1]
        assert master(kept, "other", ansible_ssh_executable=ssh, **common) not in {None, *paths}
        assert log.read_text().count("asked") == asked
    silent = kept.program("silent", "exit 1")
    assert master(kept, "gpu250", ansible_ssh_executable=silent, **common) is None


PERSIST = "-o ControlMaster=auto -o ControlPersist=60s"
TOO_LONG = {"ansible_control_path_dir": f"/home/{'x' * 80}"}


@pytest.mark.parametrize(
    ("own", "arguments"),
    [
        ({"ansible_ssh_args": f"-C {PERSIST}"}, f"-C {PERSIST} -o ControlPath=none"),
        ({"ansible_ssh_args": "-C"}, "-C"),
        (
            {"ansible_ssh_args": PERSIST, "ansible_control_path_dir": f"/\ud800\x1b{'x' * 90}"},
            f"{PERSIST} -o ControlPath=none",
        ),
        (
            {"ansible_ssh_args": "-C", "ansible_ssh_common_args": PERSIST},
            "-C -o ControlPath=none",
        ),
        (
            {"ansible_ssh_args": PERSIST, "ansible_ssh_common_args": "-o ControlPath=/own/%h"},
            PERSIST,
        ),
        ({"ansible_ssh_args": PERSIST, "ansible_control_path": "/own/%%h"}, PERSIST),
        ({"ansible_ssh_args": PERSIST, "ansible_control_path_dir": f"/{'x' * 60}"}, PERSIST),
    ],
)
def test_a_master_whose_socket_ssh_could_not_make_is_done_without(
    reach: Reach, own: dict[str, Any], arguments: str
) -> None:
    connection = reach.target("a", "ssh", **{**TOO_LONG, **own}).connection
    assert connection.get_option("ssh_args") == arguments


def test_a_run_in_a_directory_with_a_long_name_shares_no_connections(
    reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / ("x" * 80)
    run_dir.mkdir(mode=0o700)
    connections.offer(run_dir, {"XDG_RUNTIME_DIR": str(tmp_path)})
    monkeypatch.setenv("GPUPREP_RUN_DIR", str(run_dir))
    monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", str(run_dir / "cp"))
    connection = reach.target("a", "ssh", ansible_ssh_args=f"-C {PERSIST}").connection
    assert connection.get_option("control_path") is None
    assert connection.get_option("ssh_args") == f"-C {PERSIST} -o ControlPath=none"


# --- what hosts share -------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "a": {"ansible_host": "10.0.0.1", "ansible_port": 2222, "ansible_user": "ops"},
    "b": {"ansible_host": "10.0.0.2", "ansible_user": "ops"},
    "c": {"ansible_host": "10.0.0.1", "ansible_ssh_port": 22, "ansible_ssh_user": "other"},
    "d": {"ansible_password": "Sesame", "ansible_ssh_retries": 3, "ansible_timeout": 7},
    "e": {"ansible_ssh_retries": "3", "ansible_timeout": "7", "ansible_become_user": "admin"},
    "f": {"ansible_ssh_args": "-o BatchMode=yes", "ansible_become_flags": "-H"},
    "g": {"ansible_ssh_common_args": "-o Tunnel=no", "ansible_ssh_use_tty": "no"},
    "h": {"ansible_become_password": "Sesame", "ansible_become_method": "su"},
    "i": {"ansible_connection": "local", "ansible_become": False},
}


def set_to(target: Any) -> list[dict[str, Any]]:
    """Return the options of a host's plugins, each with where it comes from."""
    plugins = [target.connection, target.connection.become]
    return [{**one.get_options(), "from": one._origins} for one in plugins if one]


@pytest.mark.parametrize("order", [list(OPTIONS), list(reversed(OPTIONS))])
def test_a_host_in_company_has_the_options_of_a_host_alone(
    reach: Reach, monkeypatch: pytest.MonkeyPatch, order: list[str]
) -> None:
    from ansible import constants  # noqa: PLC0415
    from ansible.errors import AnsibleError  # noqa: PLC0415

    known = type(reach._options)

    def target(name: str) -> Any:
        return reach.target(name, "ssh", **{"ansible_become": True, **OPTIONS[name]})

    alone = {}
    for name in order:
        reach._options = known({})
        alone[name] = set_to(target(name))
    reach._options = known({})
    assert {name: set_to(target(name)) for name in order} == alone
    with pytest.raises(AnsibleError, match="common_args"):
        reach.target("odd", "ssh", ansible_ssh_common_args=["-o", "Tunnel=no"])
    # What was set for one stays its own.
    first = target("a")
    first.connection.set_option("ssh_args", "-v")
    assert set_to(target("a")) == alone["a"]

    looked_up, get = [], constants.config.get_config_value_and_origin

    def counted(option: str, **more: Any) -> Any:
        looked_up.append(option)
        return get(option, **more)

    monkeypatch.setattr(constants.config, "get_config_value_and_origin", counted)
    for number in range(100):
        reach.target(
            f"h{number}",
            "ssh",
            ansible_become=True,
            ansible_host=f"10.1.0.{number}",
            ansible_user="ops",
        )
    assert len(looked_up) <= 700  # 31 of ssh, 6 of sudo; for each host that would be 3,700


def test_only_who_has_a_password_gets_an_environment_with_one(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ansible copies all of its variables for everyone."""
    for given in ({}, {"ansible_password": "Sesame"}):
        target = reach.target("a", "ssh", **given)
        connection = target.connection
        reach.clients.bound(connection)
        reach.clients.bound(connection)
        monkeypatch.setattr(os, "environ", Copied(os.environ))
        options = connection._init_shm()
        assert ("env" in options) == bool(given) == bool(Copied.copies)
        if given:
            connection.shm.unlink()
        monkeypatch.undo()


class Copied(dict[str, str]):
    """An environment that counts its copies."""

    copies = 0

    def copy(self) -> dict[str, str]:
        type(self).copies += 1
        return dict(self)
