"""Action behind the module documentation of gpuprep.core.reboot."""

from __future__ import annotations

import secrets
import shlex
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible_collections.gpuprep.core.plugins.plugin_utils import _clients, _hosts, _state
from ansible_collections.gpuprep.core.plugins.plugin_utils._road import observe_host, read_settings
from ansible_collections.gpuprep.core.plugins.plugin_utils._secrets import redactor_for

from gpuprep.errors import ConfigError
from gpuprep.fleet.counters import PREFIX
from gpuprep.fleet.policy import observe_seconds
from gpuprep.planner.rebooting import reboot_obstacle

TIMEOUT = 900  # seconds
BOOT_ID = "/proc/sys/kernel/random/boot_id"
ENFORCING = "cat /sys/fs/selinux/enforce"
PAUSE_SECONDS = 2
BY_SIGNAL = 128  # shells add the number of the signal to it
REBOOT = (
    "if command -v systemctl >/dev/null && [ -d /run/systemd/system ];"
    " then systemctl reboot; else PATH=$PATH:/sbin:/usr/sbin shutdown -r now {message}; fi"
)


class ActionModule(ActionBase):
    """Reboot a host and wait until it has booted anew."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("timeout", "boot_time_command", "msg"))

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return whether the host was rebooted, and after how many seconds it answered again."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        timeout = int(self._task.args.get("timeout", TIMEOUT))
        question = str(self._task.args.get("boot_time_command") or f"cat {BOOT_ID}")
        message = str(self._task.args.get("msg", "gpuprep reboots this host"))
        if self._connection.transport == "local":
            return {
                **result,
                "changed": False,
                "rebooted": False,
                "msg": "a reboot is needed; the machine that gpuprep runs on is not rebooted",
            }
        if self._play_context.check_mode:
            return {**result, "changed": True, "rebooted": False, "msg": "would reboot the host"}
        self._host = str((task_vars or {})["inventory_hostname"])
        _hosts.keep(self, task_vars or {})  # so that reset means the other tasks' connection too
        return {**result, **self._reboot(timeout, question, message, task_vars or {})}

    def _reboot(
        self, timeout: int, question: str, message: str, variables: dict[str, Any]
    ) -> dict[str, Any]:
        """Reboot the host and wait for another boot."""
        try:
            code, before = self._command(question)
        except AnsibleConnectionFailure:  # it only asks: another try, with more time, does no harm
            _hosts.be_patient(self._connection)
            code, before = self._command(question)
        if code != 0 or not before:
            return self._failed(f"boot_time_command failed (exit {code}): {before}")
        if not self._task.args.get("boot_time_command") and before == _own_boot_id():
            return self._failed("the host shares this machine's kernel")
        if self._command(ENFORCING) == (0, "1"):
            refused = self._refused(variables)
            if refused is not None:
                return refused
        started = time.monotonic()
        try:
            code, said = self._command(REBOOT.format(message=shlex.quote(message)))
        except AnsibleConnectionFailure:
            code = 0  # it goes down already
        if 0 < code < BY_SIGNAL:  # above, it is the connection that goes down
            return self._failed(f"the host cannot be rebooted (exit {code}): {said}")
        while time.monotonic() - started < timeout:
            time.sleep(PAUSE_SECONDS)
            now = self._boot(question)
            if now and now != before:
                seconds = round(time.monotonic() - started)
                text = f"rebooted; it answered again after {seconds} s"
                return {
                    "changed": True, "rebooted": True, "elapsed": seconds, "msg": text
                }  # fmt: skip
        return self._failed(f"the host has not booted anew within {timeout} s", rebooted=True)

    def _refused(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        """Observe the host as the run left it; return why it must not be rebooted, else None."""
        hide = redactor_for(self, variables)
        try:
            settings = read_settings(variables, self._templar, self._loader)
            target = _hosts.own_target(self, variables)
            obstacle = reboot_obstacle(
                observe_host(target, settings, observe_seconds(settings.values))
            )
        except ConfigError as error:
            return self._failed(hide.text(str(error)), code="E_CONFIG")
        except (_hosts.HostUnreachableError, _hosts.HostUnusableError) as error:
            return self._failed(hide.text(f"the host cannot be looked at before it: {error}"))
        if obstacle is None:
            return None
        return self._failed(hide.text(obstacle.message), code=obstacle.code)

    def _command(self, command: str) -> tuple[int, str]:
        """Run a shell command as root on the host: exit code, last words."""
        _clients.bound(self._connection)
        # What the login shell prints, before it or after it, is not the command's word.
        mark = f"gpuprep-{secrets.token_hex(8)}"
        shell = f"sh -c {shlex.quote(f'echo {mark}; {command}; code=$?; echo; echo {mark}; exit $code')}"
        if self._connection.become is not None:
            shell = self._connection.become.build_become_command(shell, self._connection._shell)
        shell = _hosts.in_shell(self._connection, shell)
        try:
            code, out, err = self._connection.exec_command(shell, sudoable=True)
        finally:
            _hosts.close(self._connection)
        if code >= 0 and code != _hosts.CONNECTION_LOST:
            _state.count_command(self._host, "reboot", PREFIX)
        before, marked, rest = str(to_text(out)).partition(mark)
        said = rest.partition(mark)[0] if marked else before
        words = said.strip() or str(to_text(err)).strip()
        return int(code), words.splitlines()[-1] if words else ""

    def _boot(self, question: str) -> str:
        """Return what tells one boot from another, empty while the host does not answer."""
        try:
            if hasattr(self._connection, "reset"):
                self._connection.reset()  # a kept connection is of the boot before
            code, now = self._command(question)
        except AnsibleError:
            return ""
        return now if code == 0 else ""

    @staticmethod
    def _failed(why: str, *, rebooted: bool = False, code: str = "E_REBOOT") -> dict[str, Any]:
        return {"failed": True, "changed": rebooted, "code": code, "msg": f"[{code}] {why}"}


def _own_boot_id() -> str:
    return Path(BOOT_ID).read_text().strip()
