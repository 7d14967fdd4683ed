"""Carry out the first task of a playbook in this process: the one that observes and plans.

Run as a script, like ``ansible_playbook.py`` and with the same arguments. Inventory, variables,
templates, passwords, connection and become plugins are Ansible's own, and so are its complaints.
What is left out is what a fleet that needs nothing has no use for: workers, strategies, callbacks
and a task for each host.

The first line of standard input is what ``child.py`` hands over; the end of it means that whoever
started this process is gone, and all that it started ends with it. Events, in ansible-runner's
form, one a line, go through a pipe of their own, which nothing that this process starts gets.
"""

from __future__ import annotations

import getpass
import gettext
import json
import multiprocessing
import os
import re
import sys
import tempfile
import threading
from contextlib import nullcontext
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CUT_OFF: Final = 254
_KINDS: Final = {"[WARNING]": "warning", "[ERROR]": "error"}
_OPTIONS: Final = (  # of ansible-playbook, by the names of Ansible's functions
    "connect",
    "meta",
    "runas",
    "subset",
    "check",
    "inventory",
    "runtask",
    "vault",
    "fork",
    "module",
)
_FAILED: Final = 2  # exit code of ansible-playbook


def main() -> None:
    """Hand the arguments to Ansible's command line; does not return."""
    home = str(Path(__file__).resolve().parents[2])
    if home not in sys.path:
        sys.path.append(home)
    from gpuprep.run import collect_seldom, leave, routes  # noqa: PLC0415 - needs the path
    from gpuprep.run.ansible_playbook import program  # noqa: PLC0415

    collect_seldom()
    handed = json.loads(sys.stdin.buffer.readline())
    _end_with_parent()
    sys.argv[0] = program() or sys.argv[0]
    answers = {re.compile(prompt): answer for prompt, answer in handed["passwords"].items()}
    getpass.getpass = lambda prompt="Password: ", *_, **__: _answer(answers, prompt)
    from ansible.utils.collection_loader import _collection_finder as loader  # noqa: PLC0415

    _use_bytecode(loader)
    # argparse asks for translations of its words, and Ansible makes a parser for each connection.
    gettext.find = lru_cache(gettext.find)  # type: ignore[assignment]
    if run_dir := os.environ.get("GPUPREP_RUN_DIR"):
        routes.keep(Path(run_dir), loader)
    try:
        _command_line(_teller(handed["events"])).cli_executor(["ansible-playbook", *sys.argv[1:]])
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else 1)


def _end_with_parent() -> None:
    """Watch for the end of standard input, and give Ansible an empty one."""
    watched = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    threading.Thread(target=_watch, args=(watched,), daemon=True).start()


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    from gpuprep.run import processes  # noqa: PLC0415 - hardly ever needed

    processes.end_all(Path(os.environ["GPUPREP_RUN_DIR"]))
    os._exit(_CUT_OFF)


def _answer(answers: Mapping[re.Pattern[str], str], prompt: str) -> str:
    for pattern, answer in answers.items():
        if pattern.search(prompt):
            return answer
    raise EOFError(f"nobody answers {prompt!r}")


def _teller(descriptor: int) -> Any:  # noqa: ANN401 - a function
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only
    stream = os.fdopen(descriptor, "wb")
    lock = threading.Lock()

    def tell(name: str, text: str = "", data: Mapping[str, Any] | None = None) -> None:
        event = {"event": name, "stdout": text, "event_data": dict(data or {})}
        line = f"{json.dumps(event, default=str)}\n".encode()
        with lock:
            sys.stdout.flush()
            stream.write(line)
            stream.flush()

    return tell


def _use_bytecode(loader: Any) -> None:  # noqa: ANN401 - a module
    """Let Ansible load a collection's Python as Python loads its own: compiled once.

    Args:
        loader: Ansible's module ``_collection_finder``.

    """
    kind = getattr(loader, "_AnsibleCollectionPkgLoaderBase", None)
    compiling = getattr(kind, "get_code", None)
    if compiling is None:
        return

    def get_code(self: Any, fullname: str) -> Any:  # noqa: ANN401 - a code object
        path = self._source_code_path
        if fullname != self._fullname or not (path and path.endswith(".py")):
            return compiling(self, fullname)
        return SourceFileLoader(fullname, path).get_code(fullname)

    kind.get_code = get_code  # type: ignore[union-attr]


def _remembering(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what reads Ansible's own table of settings, which takes it as long as all plugins."""
    from gpuprep import kept  # noqa: PLC0415 - needs the path

    return lambda stream: kept.parsed(stream.read(), load)


def _command_line(tell: Any) -> Any:  # noqa: ANN401 - a class of Ansible's
    from ansible.config import manager  # noqa: PLC0415 - needs the path

    manager.yaml_load = _remembering(manager.yaml_load)
    from ansible.cli import CLI  # noqa: PLC0415
    from ansible.cli.arguments import option_helpers  # noqa: PLC0415
    from ansible.utils.display import Display  # noqa: PLC0415

    shown = Display.display

    def display(self: Any, msg: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if kwargs.get("log_only"):
            shown(self, msg, *args, **kwargs)
        else:
            kinds = (kind for word, kind in _KINDS.items() if msg.startswith(word))
            tell(next(kinds, "verbose"), msg)

    Display.display = display

    class CommandLine(CLI):  # type: ignore[misc]
        """ansible-playbook up to where it starts its machinery, whose import takes time."""

        name = "ansible-playbook"
        USES_CONNECTION = True

        def init_parser(self) -> None:
            super().init_parser()
            for group in _OPTIONS:
                getattr(option_helpers, f"add_{group}_options")(self.parser)
            self.parser.add_argument("args", metavar="playbook", nargs=1)

        def post_process_args(self, options: Any) -> Any:  # noqa: ANN401
            options = super().post_process_args(options)
            Display().verbosity = options.verbosity
            self.validate_conflicts(options, runas_opts=True, fork_opts=True)
            return options

        def run(self) -> int:
            """Return the exit code of ansible-playbook."""
            from ansible import context  # noqa: PLC0415

            super().run()
            names = ("conn_pass", "become_pass")
            passwords = dict(zip(names, self.ask_passwords(), strict=True))
            prepared = self._play_prereqs()
            self.get_host_list(prepared[1], context.CLIARGS["subset"])
            return _carry_out(context.CLIARGS["args"][0], passwords, *prepared, tell=tell)

    return CommandLine


def _carry_out(  # noqa: PLR0913 - what Ansible's own executor is given
    playbook: str,
    passwords: Mapping[str, str],
    loader: Any,  # noqa: ANN401
    inventory: Any,  # noqa: ANN401
    manager: Any,  # noqa: ANN401
    *,
    tell: Any,  # noqa: ANN401
) -> int:
    """Do what Ansible does with the first task of the first play; return its exit code."""
    from ansible.errors import AnsibleError  # noqa: PLC0415
    from ansible.playbook import Playbook  # noqa: PLC0415
    from ansible.playbook.play_context import PlayContext  # noqa: PLC0415
    from ansible.utils.collection_loader import AnsibleCollectionConfig  # noqa: PLC0415
    from ansible.utils.collection_loader import _collection_finder as finder  # noqa: PLC0415
    from ansible.vars.hostvars import HostVars  # noqa: PLC0415

    HostVars(inventory, manager, loader)  # makes itself known to the manager
    found = finder._get_collection_playbook_path(playbook)  # noqa: SLF001 - as Ansible's own executor
    if found is None:
        raise AnsibleError(f"the playbook: {playbook} could not be found")
    AnsibleCollectionConfig.default_collection = found[2]
    book = Playbook.load(found[1], variable_manager=manager, loader=loader)
    loader.set_basedir(book._basedir)  # noqa: SLF001
    play = book.get_plays()[0]
    play.post_validate(_engine(loader, manager.get_vars(play=play)))
    tell("playbook_on_play_start", "", {"name": play.get_name()})
    hosts = inventory.get_hosts(play.hosts, order=play.order)
    failures: dict[str, int] = {}
    if hosts:
        task = play.get_tasks()[0][0]
        named = {"task": task.get_name(), "name": task.get_name()}
        tell("playbook_on_task_start", "", named)
        lock = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this process lives
        context = PlayContext(play, passwords, lock.fileno())
        # Where Ansible's workers keep what the command line says, which plugins may look for.
        multiprocessing.current_process()._play_context = context  # type: ignore[attr-defined]  # noqa: SLF001
        names = [host.name for host in hosts]
        variables = manager.get_vars(
            play=play, host=hosts[0], task=task, _hosts=names, _hosts_all=names
        )
        with _task_context(task, variables, hosts[0].name):
            result = _act(task, variables, context, loader)
        result = {key: value for key, value in result.items() if not key.startswith("_ansible")}
        state = "failed" if result.get("failed") else "ok"
        if result.get("unreachable"):
            state = "unreachable"
        failures = {} if state == "ok" else {hosts[0].name: 1}
        tell(f"runner_on_{state}", "", {**named, "host": hosts[0].name, "res": _plain(result)})
    else:
        tell("playbook_on_no_hosts_matched", "skipping: no hosts matched")
    tell("playbook_on_stats", "", {"failures": failures, "dark": {}})
    loader.cleanup_all_tmp_files()
    return _FAILED if failures else 0


def _act(task: Any, variables: Mapping[str, Any], context: Any, loader: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Return the result of a task's action on this machine, as Ansible's task executor does."""
    from ansible.errors import AnsibleError  # noqa: PLC0415
    from ansible.plugins import loader as loaders  # noqa: PLC0415
    from ansible.template import Templar  # noqa: PLC0415

    task.squash()
    task.post_validate(templar=_engine(loader, variables))
    action = loaders.action_loader.get(
        task.action,
        task=task,
        connection=loaders.connection_loader.get("local", context),
        play_context=context,
        loader=loader,
        templar=Templar(loader=loader, variables=variables),
        shared_loader_obj=SimpleNamespace(**vars(loaders)),
    )
    if action is None:
        raise AnsibleError(f"couldn't resolve module/action {task.action!r}")
    try:
        result: Mapping[str, Any] = action.run(task_vars=variables)
    except Exception as error:  # noqa: BLE001 - any fault of an action is its result
        found = getattr(error, "result", None)
        name = "" if isinstance(error, AnsibleError) else f"{type(error).__name__}: "
        result = {"msg": f"{name}{error}", **(found or {}), "failed": True}
    return result


def _engine(loader: Any, variables: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return what resolves the templates of plays and tasks; plugins have one around it."""
    try:
        from ansible._internal._templating._engine import TemplateEngine  # noqa: PLC0415
    except ImportError:  # before ansible-core 2.19
        from ansible.template import Templar as TemplateEngine  # noqa: PLC0415
    return TemplateEngine(loader=loader, variables=variables)


def _task_context(task: Any, variables: Mapping[str, Any], host: str) -> Any:  # noqa: ANN401
    """Return what Ansible's own workers put around a task, which differs by release."""
    try:
        from ansible._internal._task import TaskContext  # noqa: PLC0415
    except ImportError:
        return nullcontext()
    if hasattr(TaskContext, "create"):
        return TaskContext.create(task=task, task_vars=variables, host_name=host)
    return TaskContext(task)


def _plain(result: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return json.loads(json.dumps(result, default=str))


if __name__ == "__main__":
    main()
