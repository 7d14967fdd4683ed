"""Private: one round trip to a host through Ansible's own connection and become plugins."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shlex
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from weakref import WeakSet

from ansible import constants as C
from ansible import errors
from ansible.errors import (
    AnsibleActionFail,
    AnsibleAuthenticationFailure,
    AnsibleConnectionFailure,
    AnsibleError,
)
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import become_loader, connection_loader, get_shell_plugin
from ansible_collections.gpuprep.core.plugins.plugin_utils import _clients, _masters, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.errors import ConfigError
from gpuprep.fleet.counters import PREFIX
from gpuprep.model.text import clean_line
from gpuprep.on_host.observe.base import UNANSWERED
from gpuprep.run import connections, transports

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from ansible._internal._templating._engine import TemplateEngine
    from ansible.playbook.play_context import PlayContext
    from ansible.plugins.action import ActionBase
    from ansible_collections.gpuprep.core.plugins.plugin_utils._options import Options

T = TypeVar("T")

MISSING_PYTHON = 127
CONNECTION_LOST = 255
MOST_AT_ONCE = 50  # hosts; more gain nothing
KEY_EXCHANGES_PER_CORE = 10
MASTER_SECONDS = 1.0  # for a master, which is on this machine, to be seen at its socket
PATIENCE = 3  # times the connection's own timeout, when it is tried again
PAUSE_SECONDS = (1.0, 5.0)  # before that, so that hosts do not come all at once again
KEPT = "gpuprep-program-"  # directories on hosts whose sudo wants a terminal
KEPT_MINUTES = 60  # after which one of them is of a run that was killed
ONLY_THIS = (
    "import hashlib, sys; text = sys.stdin.buffer.read();"
    " hashlib.sha256(text).hexdigest() == '{digest}' or sys.exit('the program in /tmp was altered');"
    " exec(compile(text, '<gpuprep>', 'exec'))"
)
KEEP = "gpuprep_keep_connections"
OMITTED = getattr(errors, "AnsibleValueOmittedError", ())  # since ansible-core 2.19

NO_PROMPT = re.compile(
    r"waiting for privilege escalation (password )?prompt|Timed out waiting for become success"
)
# The client gave up before anything began on the host: what a crowd of connections does to a small
# controller, a jump host or sshd's MaxStartups. A host that is down says something else.
NOT_BEGUN = re.compile(
    r"banner exchange|exchange_identification"
    r"|Connection to \S+ port \d+:? (Connection )?timed out"
    r"|Connection (closed|reset) by \S+ port"
    r"|Temporary failure in name resolution|Resource temporarily unavailable"
)
DOWN_BEHIND_JUMP_HOST = re.compile(r"open failed: (connect failed|administratively prohibited)")
JUMP_HOST = "UNKNOWN port 65535"  # ssh knows no address of the host where it speaks through another

# What Ansible hands to plugins not as their option but by way of its play context.
OF_CONTEXT = {
    "timeout": "ansible_timeout",
    "shell": "ansible_shell_type",
    "executable": "ansible_shell_executable",
}
# What Ansible's plugins say when it is not the connection that fails.
NOT_ROOT = re.compile(r"^(Incorrect|Missing) .* password$|become|privilege output closed")
REFUSED_BY_SUDO = re.compile(
    r"sudo: .*(password|not allowed)|not in the sudoers|may not run sudo|is not allowed to execute"
    r"|I'm afraid I can't do that|must have a tty|sudo: (command )?not found"
)
NO_INPUT = (
    "the connection plugin {plugin} cannot give a program its standard input (it has no pipelining),"
    " and that is how gpuprep's programs reach a host; set ssh"
)
# What sudo says, the code, and what is told of it.
WANTS_TTY = (
    "sudo on the host wants a terminal, and this connection gives none: {told};"
    " leave ansible_ssh_use_tty on, or add `Defaults:USER !requiretty` for the login user to its sudoers"
)
NO_ROOM = (
    "sudo on the host wants a terminal, and /tmp cannot keep a program for it: {told};"
    " make room, or add `Defaults:USER !requiretty` for the login user to its sudoers"
)
WRONG_PASSWORD = "the password given for becoming root is wrong"  # noqa: S105
NOT_THERE = "the host has no sudo: {told}; install it, set ansible_become_method, or log in as root"
NO_SUDO = (
    (r"must have a tty", "E_SUDO_TTY", WANTS_TTY),
    (r"^(Incorrect|Duplicate become password prompt)", "E_NO_SUDO", WRONG_PASSWORD),
    (r"sudo: (command )?not found", "E_NO_SUDO", NOT_THERE),
)
NO_SUDO_OTHERWISE = (
    "the login user may not become root without a password: {told};"
    " allow it in sudoers or give --ask-become-pass"
)


class HostUnreachableError(Exception):
    """The host did not answer."""


class NotBegunError(HostUnreachableError):
    """The connection failed before anything began on the host, perhaps because of a crowd."""


class NotAskedError(NotBegunError):
    """The host answers over this connection, but its sudo did not begin in time."""


class HostUnusableError(Exception):
    """The host answered, but cannot be worked on; carries a stable code."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Target:
    """A host, ready to be talked to.

    Attributes:
        name: inventory name.
        connection: Ansible connection plugin, options set, not yet connected.
        interpreter: Python of the host.

    """

    name: str
    connection: Any
    interpreter: str


@dataclass(frozen=True)
class _Variables:
    """The variables of a host.

    Attributes:
        raw: not templated.
        templar: templates them.

    """

    raw: Mapping[str, Any]
    templar: TemplateEngine

    def get(self, name: str) -> Any:
        """Return a value, None where it is not set.

        Raises:
            ConfigError: it cannot be told.

        """
        if name not in self.raw:
            return None
        try:
            value = self.templar.template(self.raw[name])
        except AnsibleError as error:
            if isinstance(error, OMITTED):
                return None
            raise ConfigError(f"{name}: {clean_line(str(error))}") from error
        return None if value == self.raw.get("omit") else value

    @property
    def keeps_connection(self) -> bool:
        """Whether the connection may outlive the run; a value of no sense is told elsewhere."""
        try:
            wanted = self.get(KEEP)
            return True if wanted is None else bool(boolean(wanted))
        except (ConfigError, TypeError):
            return False

    def of_plugin(self, kind: str, name: str) -> dict[str, Any]:
        """Return those that a plugin asks for, as far as they are set."""
        values = {name: self.get(name) for name in C.config.get_plugin_vars(kind, name)}
        return {name: value for name, value in values.items() if value is not None}


def make_target(
    name: str,
    variables: Mapping[str, Any],
    templar: TemplateEngine,
    play_context: PlayContext,
    plugin_options: Options,
) -> Target:
    """Set up the connection and become plugins that Ansible itself would use for a host.

    Args:
        name: inventory name.
        variables: the host's variables, not templated.
        templar: templates them.
        play_context: settings of the command line, none of any host.
        plugin_options: gives the plugins theirs; the keywords of the task are known to it.

    Raises:
        AnsibleError: there is no such plugin.
        ConfigError: a variable cannot be told, or the plugin cannot be used.

    """
    own = _Variables(variables, templar)
    kind = own.get("ansible_connection") or plugin_options.keys.get("connection") or "ssh"
    if not isinstance(kind, str):
        raise AnsibleError(f"host {name}: ansible_connection is no name of a plugin: {kind!r}")
    if kind == "smart":
        kind = "ssh"
    context = play_context.copy()  # plugins write into it
    context.remote_addr = own.get("ansible_host") or name
    for attribute, variable in OF_CONTEXT.items():
        value = own.get(variable)
        if value is not None:
            setattr(context, attribute, value)
    shell = (context.shell, context.executable)
    known = kind == "ssh" and all(isinstance(each, str | None) for each in shell)
    shared = {"shell": _shell(*shell)} if known else {}
    connection = connection_loader.get(kind, context, os.devnull, **shared)
    if connection is None:
        raise AnsibleError(f"host {name}: no connection plugin {kind!r}")
    options = own.of_plugin("connection", connection._load_name)
    options.setdefault("inventory_hostname", name)
    plugin_options.give(connection, options, timeout=context.timeout)
    check_plugin(connection)
    _masters.keep(connection, wanted=own.keeps_connection)
    become = _become_plugin(own, plugin_options, context.timeout)
    if become is not None and not _same_user(connection, become, context):
        connection.set_become_plugin(become)
    if own.get(transports.VARIABLE) == "asyncssh" and connection.transport == "ssh":
        transports.check("asyncssh")
        _clients.spare_ssh(connection)
    return Target(name, connection, interpreter(own.get("ansible_python_interpreter")))


def check_plugin(connection: Any) -> None:
    """Refuse a connection plugin that cannot hand a program its input: all goes to a host that way.

    Raises:
        ConfigError: with what to do.

    """
    if not connection.has_pipelining:
        name = connection._load_name
        raise ConfigError(f"ansible_connection: {NO_INPUT.format(plugin=name)}")


@lru_cache
def _shell(kind: str | None, executable: str) -> Any:
    """Return the plugin that Ansible takes for a shell; it holds nothing of a host's own."""
    return get_shell_plugin(shell_type=kind, executable=executable)


def _become_plugin(own: _Variables, plugin_options: Options, timeout: Any) -> Any:
    """Return the plugin that a host's login user becomes root by, None where it must not."""
    wanted, keys = own.get("ansible_become"), plugin_options.keys
    if not boolean(keys.get("become") or False if wanted is None else wanted):
        return None
    method = own.get("ansible_become_method") or keys.get("become_method") or "sudo"
    plugin = become_loader.get(method)
    if plugin is None:
        raise AnsibleError(f"no become plugin {method!r}")
    options = own.of_plugin("become", plugin._load_name)
    plugin_options.give(plugin, options, become=True, timeout=timeout)
    return plugin


def interpreter(named: Any) -> str:
    """Return the Python of a host; ``auto`` and its kin would cost a round trip of their own."""
    return str(named) if str(named).startswith("/") else "/usr/bin/python3"


def keep(action: ActionBase, variables: Mapping[str, Any]) -> None:
    """Let the connection of a task be the one that the run's other programs use."""
    wanted = _Variables(variables, action._templar).keeps_connection
    _masters.keep(action._connection, wanted=wanted)


def own_target(action: ActionBase, variables: Mapping[str, Any]) -> Target:
    """Return the host of a task, over the task's own connection.

    Raises:
        AnsibleActionFail: its plugin cannot be used.

    """
    python = interpreter(_Variables(variables, action._templar).get("ansible_python_interpreter"))
    connection = action._connection
    try:
        check_plugin(connection)
    except ConfigError as error:
        raise AnsibleActionFail(f"[E_CONFIG] {error}") from error
    keep(action, variables)
    if connection.become and _same_user(connection, connection.become, action._play_context):
        connection.become = None  # who is root needs no sudo, and may have none
    return Target(str(variables["inventory_hostname"]), connection, python)


def _same_user(connection: Any, plugin: Any, play_context: PlayContext) -> bool:
    """Return whether become would change nothing, as Ansible's own actions judge it."""
    wanted = plugin.get_option("become_user") or "root"
    if connection.transport == "local":
        return os.geteuid() == 0 and wanted == "root"
    try:
        user = connection.get_option("remote_user")
    except KeyError:
        user = None
    return bool((user or play_context.remote_user) == wanted)


def run_script(target: Target, script: str, seconds: int, purpose: str = "converge") -> str:
    """Feed a Python program to a host and return its standard output.

    Every program that a run carries out on a host goes through here, and is counted here.

    Args:
        target: the host.
        script: the program.
        seconds: its time on the host.
        purpose: one word, for the count.

    Raises:
        NotBegunError: the connection failed early; it may be worth another try.
        HostUnreachableError: no connection, or no answer.
        HostUnusableError: no Python, no right to become root, or no end of the answer.

    """
    connection = target.connection
    _clients.bound(connection)
    shared = _clients.shares_master(connection)
    _clients.talk_over(connection, connected=shared or is_connected(connection))
    # The host's own clock ends a hanging program; the caller's ends a hanging connection.
    python = f"timeout -k 5 {seconds} {shlex.quote(target.interpreter)} -S -E"
    try:
        if connection not in _want_terminal:
            try:
                return _run(target, f"{python} -", seconds, purpose, script)
            except HostUnusableError as error:
                if error.code != "E_SUDO_TTY" or not _offers_terminal(connection):
                    raise
                _want_terminal.add(connection)
        with _kept_on_host(target, script) as folder:
            # Nothing of it is left when the program begins, and none but this one is run as root.
            digest = hashlib.sha256(to_bytes(script)).hexdigest()
            only = shlex.quote(ONLY_THIS.format(digest=digest))
            kept = f"exec 3<{folder}/program && rm -rf {folder} && {python} -c {only} <&3"
            return _run(target, kept, seconds, purpose).replace("\r\n", "\n")
    finally:
        close(connection)


def close(connection: Any) -> None:
    """Close a connection; a plugin that never came to connect may be unable to, which tells nothing."""
    with suppress(Exception):
        connection.close()


def _run(target: Target, inner: str, seconds: int, purpose: str, script: str | None = None) -> str:
    """Run a shell's command as root, with a program for its input; return what it printed."""
    connection = target.connection
    command = inner
    if connection.become is not None:
        command = connection.become.build_become_command(inner, connection._shell)
    sent = None if script is None else to_bytes(script)
    try:
        command = in_shell(connection, command)
        code, out, err = connection.exec_command(command, in_data=sent, sudoable=True)
    except _clients.AnswerTooLongError as error:
        raise HostUnusableError("E_OBSERVE", str(error)) from error
    except AnsibleError as error:
        raise _fault(target, error) from error
    if len(out) + len(err) > _clients.MOST_BYTES:  # a plugin that cannot be bounded
        raise HostUnusableError("E_OBSERVE", str(_clients.AnswerTooLongError()))
    answer = str(to_text(out))
    if code >= 0 and code != CONNECTION_LOST:
        _state.count_command(target.name, purpose, PREFIX)
    if code != 0:
        _explain(target, code, f"{to_text(err)}\n{answer}", seconds)
    return answer


def in_shell(connection: Any, command: str) -> str:
    """Return a command for whatever shell the login user has: fish and csh are no POSIX shells."""
    if not getattr(connection, "allow_executable", True):
        return command
    executable = connection._play_context.executable or "/bin/sh"
    return f"{executable} -c {shlex.quote(command)}"


_want_terminal: WeakSet[Any] = WeakSet()  # connections whose sudo wants a terminal


def _offers_terminal(connection: Any) -> bool:
    """Return whether a connection gives a command without input a terminal."""
    return connection.transport == "ssh" and bool(connection.get_option("use_tty"))


@contextmanager
def _kept_on_host(target: Target, script: str) -> Iterator[str]:
    """Keep a program in a directory of the login user: a terminal cannot be fed with one.

    Raises:
        HostUnusableError: there is no room for it.

    """
    connection = target.connection
    keep = (
        f"find /tmp -maxdepth 1 -name '{KEPT}*' -user \"$(id -un)\" -mmin +{KEPT_MINUTES}"
        " -exec rm -rf {} +; umask 077;"
        f' folder=$(mktemp -d /tmp/{KEPT}XXXXXXXXXX) && cat >"$folder/program" && echo "$folder"'
    )
    try:
        sent = to_bytes(script)
        command = in_shell(connection, keep)
        _code, out, err = connection.exec_command(command, in_data=sent, sudoable=False)
    except AnsibleError as error:
        raise _fault(target, error) from error
    found = re.findall(rf"^/tmp/{KEPT}\w+$", str(to_text(out)), re.MULTILINE)
    if not found:
        why = _brief(str(to_text(err)))
        raise HostUnusableError("E_SUDO_TTY", NO_ROOM.format(told=why))
    folder = found[-1]
    try:
        yield folder
    except (HostUnreachableError, HostUnusableError):
        with suppress(AnsibleError):
            connection.exec_command(in_shell(connection, f"rm -rf {folder}"), sudoable=False)
        raise


def _fault(target: Target, error: AnsibleError) -> Exception:
    """Return what the fault of a plugin means."""
    text = str(error)
    if NO_PROMPT.search(text):
        return _no_prompt(target, text)
    if not isinstance(error, AnsibleConnectionFailure) and NOT_ROOT.search(text):
        return _no_sudo(text)
    told = _brief(text)
    if JUMP_HOST in text:
        told += (
            "; the connection goes through a jump host, which may be what does not answer:"
            f" try ssh -v {_address(target)}"
        )
    final = isinstance(error, AnsibleAuthenticationFailure) or DOWN_BEHIND_JUMP_HOST.search(text)
    if not final and NOT_BEGUN.search(text):
        return NotBegunError(told)
    return HostUnreachableError(told)


def _no_prompt(target: Target, text: str) -> Exception:
    """Return whose fault it is that sudo did not ask: its own, or a connection's that is not there."""
    become = target.connection.become
    program = become.get_option("become_exe") or become.name
    try:
        command = in_shell(target.connection, f"{program} --version")
        code, out, _err = target.connection.exec_command(command, sudoable=False)
    except AnsibleError:
        return NotBegunError(_brief(text))
    if code in {CONNECTION_LOST, *range(-64, 0)}:
        return NotBegunError(_brief(text))
    if b"sudo-rs" in out:
        why = f"{program} is sudo-rs, whose question for the password Ansible does not understand"
        cure = "set ansible_become_exe: sudo.ws, the classic sudo, or"
    elif target.connection in _patient or target.connection.transport == "local":
        why = f"the host answers, but {program} neither asks for the password nor lets the user in"
        cure = "see what it says on the host, or"
    else:
        return NotAskedError(_brief(text))
    return HostUnusableError(
        "E_SUDO_PROMPT", f"{why}; {cure} allow the login user in sudoers with NOPASSWD"
    )


def _address(target: Target) -> str:
    return str(target.connection._play_context.remote_addr)


def _no_sudo(text: str) -> HostUnusableError:
    """Return what it means that the user may not become root."""
    told = _brief(text)
    for pattern, code, words in NO_SUDO:
        if re.search(pattern, text):
            return HostUnusableError(code, words.format(told=told))
    return HostUnusableError("E_NO_SUDO", NO_SUDO_OTHERWISE.format(told=told))


def _explain(target: Target, code: int, text: str, seconds: int) -> NoReturn:
    """Raise what a failed observation means."""
    if REFUSED_BY_SUDO.search(text):
        raise _no_sudo(text)
    # Negative: a signal ended the client on this side.
    if code < 0 or (code == CONNECTION_LOST and target.connection.transport == "ssh"):
        raise HostUnreachableError(_brief(text))
    if code == UNANSWERED:
        raise HostUnusableError("E_UNANSWERED", _brief(text))
    if code == MISSING_PYTHON or "No such file or directory" in text or "not found" in text:
        raise HostUnusableError(
            "E_NO_PYTHON",
            f"{target.interpreter} cannot be run: {_brief(text)}; install python3 or set"
            " ansible_python_interpreter",
        )
    if code in {124, 137}:
        raise HostUnreachableError(f"the observation did not end within {seconds} s on the host")
    raise HostUnusableError("E_OBSERVE", f"the observation failed (exit {code}): {_brief(text)}")


def _brief(text: str) -> str:
    """Last lines of a message, clean, without the noise of ssh and sudo."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Warning: Permanently", "BECOME-"))]
    return clean_line(" ".join(lines[-3:])) or "no answer"


def twice(target: Target, work: Callable[[], T]) -> T:
    """Return what ``work`` returns; it gets another chance when the connection failed early."""
    try:
        return work()
    except NotBegunError as error:
        be_patient(target.connection, error)
        time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - only to spread hosts
        return work()


_patient: WeakSet[Any] = WeakSet()  # connections that have been given more time


def be_patient(connection: Any, fault: Exception | None = None) -> None:
    """Give a connection that is tried again more time, and a master of its own if it may hang.

    Args:
        connection: the connection.
        fault: what was wrong with the first try.

    """
    if connection in _patient:
        return
    _patient.add(connection)
    _clients.ask_again(connection)
    if not isinstance(fault, NotAskedError):
        _masters.start_anew(connection)
    with suppress(KeyError):  # a plugin without this option
        connection.set_option("timeout", PATIENCE * connection.get_option("timeout"))


def at_once(cold: int, forks: int) -> int:
    """Return for how many hosts at a time this machine has the power.

    Key exchanges are work for its processors: with too many at once all of them are late. Hosts
    whose connection is still open cost next to nothing.

    Args:
        cold: how many hosts have none.
        forks: the most that is wanted.

    """
    widest = max(1, min(forks, MOST_AT_ONCE))
    few = max(1, int(KEY_EXCHANGES_PER_CORE * cores()))
    return widest if cold <= few else min(widest, few)


def cores(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float:
    """Return how many processors this process may use; containers and services often have less.

    A control group may use no more than any of those that it is in. Both versions of the kernel's
    interface are known.

    Args:
        root: where control groups are mounted.
        membership: which of them this process is in.

    """
    found = [float(len(os.sched_getaffinity(0)))]
    with suppress(OSError, ValueError):
        for line in membership.read_text().splitlines():
            _number, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            top = root / "cpu" if controllers else root
            group = Path(os.path.normpath(f"{top}/{path}"))
            # A container often sees its own group at the top, by whatever name it is known outside.
            groups = {top, *(each for each in (group, *group.parents) if each.is_relative_to(top))}
            found += [limit for each in groups for limit in _limits(each)]
    return min(found)


def _limits(group: Path) -> Iterator[float]:
    """Return the processors that a control group may use, nothing where it has no limit."""
    with suppress(OSError, ValueError):
        if (group / "cpu.max").exists():
            most, period = (group / "cpu.max").read_text().split()
        else:
            most = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        if int(most) > 0:  # the old interface writes -1 for no limit
            yield int(most) / int(period)


def connected(targets: Iterable[Target]) -> set[str]:
    """Return the names of those hosts whose connection needs no key exchange."""
    listening = connections.listening()
    _masters.remove_dead(listening)
    return {target.name for target in targets if is_connected(target.connection, listening)}


def is_connected(connection: Any, listening: Container[str] | None = None) -> bool:
    """Return whether a connection needs no key exchange.

    Args:
        connection: of any plugin.
        listening: names of our own masters that live; None = each is asked.

    """
    if connection.transport == "local":
        return True
    path = _masters.control_path(connection)
    if path is None:
        return False
    try:
        if listening is not None and path.parent.name == connections.LINK:
            return path.name in listening and path.is_socket()
        return _is_listening(path)
    except (OSError, ValueError):  # not to be looked at, or no name of a file
        return False


def _is_listening(path: Path) -> bool:
    """Return whether somebody is behind a socket: a master that was killed leaves it there."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as found:
        found.settimeout(MASTER_SECONDS)
        found.connect(str(path))
    return True


def for_all(
    names: list[str], work: Callable[[str], Any], parallel: int, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Call ``work`` for all hosts in threads; an exception is that host's value.

    A host that has not answered after its ``seconds`` counts as unreachable and is
    not waited for: its connection's processes are ended.

    Args:
        names: hosts.
        work: called with each name.
        parallel: hosts at a time.
        seconds: limit by host.

    """
    results: dict[str, Any] = {}
    started: dict[str, float] = {}  # of those that are at work
    lock = threading.Condition()

    def one(name: str) -> None:
        started[name] = time.monotonic()
        _clients.work_for(name)
        try:
            value = work(name)
        except Exception as error:  # noqa: BLE001 - any fault of a host is that host's result
            value = error
        with lock:
            started.pop(name, None)
            results.setdefault(name, value)
            if len(results) == len(names):
                lock.notify()

    pool = ThreadPoolExecutor(max_workers=max(1, min(parallel, len(names))))
    for name in names:
        pool.submit(one, name)
    with lock:
        while len(results) < len(names):
            lock.wait(
                timeout=0.5
            )  # woken by the last one: there are never more than these to look at
            now = time.monotonic()
            late = [name for name, begun in list(started.items()) if now - begun > seconds[name]]
            for name in late:
                started.pop(name, None)
                results[name] = HostUnreachableError(f"no answer within {seconds[name]:.0f} s")
                _clients.end(name)
    pool.shutdown(wait=False, cancel_futures=True)
    return results
