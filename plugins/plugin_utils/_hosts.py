"""Private: one round trip to a host through Ansible's own connection and become plugins."""

from __future__ import annotations

import os
import re
import shlex
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import become_loader, connection_loader
from ansible_collections.gpuprep.core.plugins.plugin_utils import _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.fleet.counters import PREFIX
from gpuprep.model.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible._internal._templating._engine import TemplateEngine
    from ansible.playbook.play_context import PlayContext

MISSING_PYTHON = 127
CONNECTION_LOST = 255


class HostUnreachableError(Exception):
    """The host did not answer."""


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


def _option_variables(
    kind: str, name: str, variables: Mapping[str, Any], templar: TemplateEngine
) -> dict[str, Any]:
    names = C.config.get_plugin_vars(kind, name)
    return {key: templar.template(variables[key]) for key in names if key in variables}


def make_target(
    name: str,
    variables: Mapping[str, Any],
    templar: TemplateEngine,
    play_context: PlayContext,
    task_keys: Mapping[str, Any],
) -> Target:
    """Set up the connection and become plugins that Ansible itself would use for a host.

    Args:
        name: inventory name.
        variables: the host's variables, not templated.
        templar: templates them.
        play_context: settings of the command line, none of any host.
        task_keys: attributes of the task, for plugin options that come from keywords.

    """
    kind = templar.template(
        variables.get("ansible_connection", task_keys.get("connection") or "ssh")
    )
    if not isinstance(kind, str):
        raise AnsibleError(f"host {name}: ansible_connection is no name of a plugin: {kind!r}")
    if kind == "smart":
        kind = "ssh"
    context = play_context.copy()  # plugins write into it
    context.remote_addr = templar.template(variables.get("ansible_host", name))
    connection = connection_loader.get(kind, context, os.devnull)
    if connection is None:
        raise AnsibleError(f"host {name}: no connection plugin {kind!r}")
    options = _option_variables("connection", connection._load_name, variables, templar)
    options.setdefault("inventory_hostname", name)
    connection.set_options(task_keys=task_keys, var_options=options)
    become = boolean(
        templar.template(variables.get("ansible_become", task_keys.get("become") or False))
    )
    if become:
        method = variables.get("ansible_become_method", task_keys.get("become_method")) or "sudo"
        method = templar.template(method)
        plugin = become_loader.get(method)
        if plugin is None:
            raise AnsibleError(f"host {name}: no become plugin {method!r}")
        plugin.set_options(
            task_keys={**task_keys, "become": True},
            var_options=_option_variables("become", plugin._load_name, variables, templar),
        )
        if not _same_user(connection, plugin, context):
            connection.set_become_plugin(plugin)
    named = {
        key: templar.template(variables[key])
        for key in ("ansible_python_interpreter",)
        if key in variables
    }
    return Target(name, connection, interpreter(named))


def interpreter(variables: Mapping[str, Any]) -> str:
    """Return the Python of a host; ``auto`` and its kin would cost a round trip of their own."""
    named = str(variables.get("ansible_python_interpreter", ""))
    return named if named.startswith("/") else "/usr/bin/python3"


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

    Every command that a run carries out on a host goes through here, and is counted here.

    Args:
        target: the host.
        script: the program.
        seconds: its time on the host.
        purpose: one word, for the count.

    Raises:
        HostUnreachableError: no connection, or no answer.
        HostUnusableError: no Python, or no right to become root.

    """
    connection = target.connection
    # The host's own clock ends a hanging observation; the caller's ends a hanging connection.
    inner = f"timeout -k 5 {seconds} {shlex.quote(target.interpreter)} -S -E -"
    command = inner
    if connection.become is not None:
        command = connection.become.build_become_command(inner, connection._shell)
    try:
        code, out, err = connection.exec_command(command, in_data=to_bytes(script), sudoable=True)
    except AnsibleConnectionFailure as error:
        raise HostUnreachableError(_brief(str(error))) from error
    except AnsibleError as error:
        raise _no_sudo(str(error)) from error
    finally:
        connection.close()
    answer = str(to_text(out))
    if code >= 0 and code != CONNECTION_LOST:
        _state.count_command(target.name, purpose, PREFIX)
    if code != 0:
        _explain(target, code, f"{to_text(err)}\n{answer}", seconds)
    return answer


def _no_sudo(text: str) -> HostUnusableError:
    return HostUnusableError(
        "E_NO_SUDO",
        "the login user may not become root without a password: "
        f"{_brief(text)}; allow it in sudoers or give --ask-become-pass",
    )


def _explain(target: Target, code: int, text: str, seconds: int) -> NoReturn:
    """Raise what a failed observation means."""
    if re.search(
        r"sudo: .*(password|not in the sudoers|not allowed)|sudo: command not found", text
    ):
        raise _no_sudo(text)
    # Negative: a signal ended the client on this side.
    if code < 0 or (code == CONNECTION_LOST and target.connection.transport == "ssh"):
        raise HostUnreachableError(_brief(text))
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
    started: dict[str, float] = {}
    lock = threading.Condition()

    def one(name: str) -> None:
        started[name] = time.monotonic()
        try:
            value = work(name)
        except Exception as error:  # noqa: BLE001 - any fault of a host is that host's result
            value = error
        with lock:
            results.setdefault(name, value)
            lock.notify()

    pool = ThreadPoolExecutor(max_workers=max(1, min(parallel, len(names))))
    for name in names:
        pool.submit(one, name)
    with lock:
        while len(results) < len(names):
            lock.wait(timeout=0.5)
            now = time.monotonic()
            for name, begun in list(started.items()):
                if name not in results and now - begun > seconds[name]:
                    results[name] = HostUnreachableError(f"no answer within {seconds[name]:.0f} s")
                    _end_children_of(name)
    pool.shutdown(wait=False, cancel_futures=True)
    return results


CHILDREN: dict[str, str] = {}  # host -> address, to find the processes of a hanging connection


def _end_children_of(name: str) -> None:
    """End the client processes of a connection that hangs."""
    address = CHILDREN.get(name, name)
    own = os.getpid()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == own and any(address == word or word.endswith(f"@{address}") for word in words):
            os.kill(int(entry.name), signal.SIGTERM)
