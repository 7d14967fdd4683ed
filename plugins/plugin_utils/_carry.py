"""Private: files carried to a host and back, over Ansible's own connection, as the login user."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "gpuprep-files-"
KEPT_MINUTES = 24 * 60  # after which a folder is of a run that was killed
# Not in /tmp, which may be memory; videos are large.
MAKE = (
    f"umask 077; find /var/tmp -maxdepth 1 -name '{MARK}*' -user \"$(id -un)\" -mmin +{KEPT_MINUTES}"
    f" -exec rm -rf {{}} +; mktemp -d /var/tmp/{MARK}XXXXXXXXXX"
)


@contextmanager
def folder_on(target: _hosts.Target) -> Iterator[str]:
    """Make a folder on a host that only the login user, and root, can enter; remove it at the end.

    Raises:
        HostUnreachableError: no connection.
        HostUnusableError: there is no room for it.

    """
    connection = target.connection
    try:
        command = _hosts.in_shell(connection, MAKE)
        _code, out, err = connection.exec_command(command, sudoable=False)
    except AnsibleError as error:
        raise _hosts.HostUnreachableError(str(error)) from error
    found = re.findall(rf"^/var/tmp/{MARK}\w+$", str(to_text(out)).replace("\r", ""), re.MULTILINE)
    if not found:
        raise _hosts.HostUnusableError("E_FILE", f"no folder in /var/tmp: {to_text(err)}")
    try:
        yield found[-1]
    finally:
        with suppress(AnsibleError):
            remove = _hosts.in_shell(connection, f"rm -rf {shlex.quote(found[-1])}")
            connection.exec_command(remove, sudoable=False)


def send(target: _hosts.Target, path: Path, remote: str) -> None:
    """Carry a file to a host.

    Raises:
        HostUnreachableError: it did not arrive.

    """
    try:
        target.connection.put_file(str(path), remote)
    except AnsibleError as error:
        raise _hosts.HostUnreachableError(str(error)) from error


def bring(target: _hosts.Target, remote: str, path: Path) -> None:
    """Carry a file from a host.

    Raises:
        HostUnreachableError: it did not arrive.

    """
    try:
        target.connection.fetch_file(remote, str(path))
    except AnsibleError as error:
        raise _hosts.HostUnreachableError(str(error)) from error
