"""Private: files of variables that cannot be read, and the place in a file that an error is about.

Ansible reads the variables of a task's host before the task, and what it cannot read ends the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.group import Group
from ansible.inventory.host import Host
from ansible.module_utils.common.text.converters import to_text
from ansible.vars.plugins import get_vars_from_inventory_sources
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.fleet.patterns import exactly

if TYPE_CHECKING:
    from collections.abc import Mapping

try:
    from ansible._internal._datatag._tags import Origin
except ImportError:  # before ansible-core 2.19
    Origin = None

ENCRYPTED = b"$ANSIBLE_VAULT;"
MOST_CAUSES = 20
PLANNED = "__gpuprep_planned"  # set by the program that started the run: its plan is made already
NOBODY = ["all:!all"]  # an empty pattern would mean everybody


def place_of(error: BaseException) -> str:
    """Return ``path:line:column`` as far as it is known, an empty text when nothing is.

    The nearest cause knows it best; what is raised for it often says its words only.
    """
    place = ""
    cause: BaseException | None = error
    for _number in range(MOST_CAUSES):
        if cause is None:
            break
        place = _place(getattr(cause, "obj", None)) or place
        cause = cause.__cause__ or cause.__context__
    return place


def encrypted_file(host: Host, loader: Any) -> str:
    """Return a file of a host's variables that is encrypted as a whole, an empty text for none.

    For releases of ansible-core that do not tell which they could not open.
    """
    groups = [("group_vars", group.name) for group in host.get_groups()]
    for source in map(Path, context.CLIARGS["inventory"]):
        folder = source if source.is_dir() else source.parent
        for kind, name in [("host_vars", host.name), *groups]:
            if not (folder / kind).is_dir():
                continue
            for path in map(to_text, loader.find_vars_files(str(folder / kind), name)):
                with open(path, "rb") as file:  # noqa: PTH123 - a short look
                    if file.read(len(ENCRYPTED)) == ENCRYPTED:
                        return str(path)
    return ""


def _place(data: Any) -> str:
    """Return where data comes from, an empty text when it does not tell."""
    if Origin is not None:
        origin = data if isinstance(data, Origin) else Origin.get_tag(data)
        return str(origin) if origin is not None and origin.path else ""
    path, *numbers = getattr(data, "ansible_pos", None) or ("",)
    return ":".join(map(str, (path, *numbers))) if path else ""


def lead(pattern: Any, variables: Mapping[str, Any], loader: Any) -> list[Any]:
    """Return a play's pattern, led by a host that Ansible can run a task of.

    The task that plans is one of the first host, for all of them.

    Args:
        pattern: hosts of the play.
        variables: those of a play without a host.
        loader: reads files.

    Raises:
        AnsibleError: there is no host at all.

    """
    if variables.get(PLANNED):
        return NOBODY
    is_run = not context.CLIARGS.get("syntax")  # a check of the playbook needs no inventory
    if is_run and not variables["groups"]["all"] and not variables.get("gpuprep_run_dir"):
        # Ansible only warns of an inventory that it cannot read, and succeeds without a host.
        raise AnsibleError("the inventory lists no hosts; what is above says why it is empty")
    unreadable = _unreadable(variables, loader)
    names = variables["ansible_play_hosts_all"]  # all that the limit allows
    first = next((name for name in names if name not in unreadable), None)
    led = [exactly(first)] if unreadable and first is not None else []
    return [*led, *_patterns(pattern)]


def readable(pattern: Any, variables: Mapping[str, Any], loader: Any) -> list[Any]:
    """Return a play's pattern without the hosts whose variables cannot be read.

    Args:
        pattern: hosts of the play.
        variables: those of a play without a host.
        loader: reads files.

    """
    without = (f"!{exactly(name)}" for name in sorted(_unreadable(variables, loader)))
    return [*_patterns(pattern), *without]


def _patterns(pattern: Any) -> list[Any]:
    return list(pattern) if isinstance(pattern, list) else [pattern]


def _unreadable(variables: Mapping[str, Any], loader: Any) -> set[str]:
    """Return the hosts that have a file of variables, or one of a group, that cannot be read."""
    names = variables["ansible_play_hosts_all"]
    found = {name for name in names if not _is_readable(Host(name), loader)}
    for name, hosts in variables["groups"].items():
        if not _is_readable(Group(name), loader):
            found.update(hosts)
    return found


def _is_readable(owner: Host | Group, loader: Any) -> bool:
    try:
        get_vars_from_inventory_sources(loader, context.CLIARGS["inventory"], [owner], "task")
    except Exception:  # noqa: BLE001 - whatever it is, Ansible would not get further
        return False
    return True
