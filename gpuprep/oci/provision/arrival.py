"""Arriving at a host: its keys, the first login, and what it still sets up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.oci.client import CallFailedError
from gpuprep.oci.provision import failures, hostkeys, reach
from gpuprep.oci.provision.failures import Failure, Next
from gpuprep.oci.provision.reach import Reached

if TYPE_CHECKING:
    import threading

    from gpuprep.oci.provision.calls import Cloud
    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.provision.tools import Tools


@dataclass(frozen=True, slots=True)
class Arrival:
    """Arrives at hosts of a fleet.

    Attributes:
        desired: the fleet.
        cloud: where their consoles are read.
        tools: how to log in and to wait.
        deadline: on the tools' clock.
        ended: set when nobody waits for an arrival any more.

    """

    desired: Desired
    cloud: Cloud
    tools: Tools
    deadline: float
    ended: threading.Event

    def at(self, name: str, ocid: str, address: str | None, user: str | None) -> Failure | None:
        """Learn a host's keys, log in, wait for cloud-init; None = done.

        Whatever goes wrong is this host's failure.
        """
        if address is None:
            return Failure("E_OCI_TIMEOUT", f"{ocid} has no address", Next.GIVE_UP)
        if user is None:
            words = "the login user of this image is not known: set wait.ssh_user"
            return Failure("E_OCI_SETTING", words, Next.GIVE_UP)
        path = known_hosts(self.desired)
        login = reach.Login(address, user, path, self.desired.key_files)
        try:
            keys = self._keys(name, ocid, address)
            if not keys:
                words = f"the console of {ocid} has not told its host keys"
                return Failure("E_OCI_UNREACHED", words, Next.GIVE_UP)
            failure = self._log_in(login)
            if failure is None:
                hostkeys.record(path, ocid, address, keys, reached=True)
        except CallFailedError as error:
            failure = failures.of_answer(error)
            statement = error.statement(self.cloud.client.identity.principal)
            hint = f". This policy would allow it: {statement}" if statement else ""
            return replace(failure, text=failure.text + hint)
        except hostkeys.OtherKeyError as error:
            return Failure("E_OCI_HOST_KEY", str(error), Next.GIVE_UP)
        return failure

    def _keys(self, name: str, ocid: str, address: str) -> tuple[str, ...]:
        """Return the host keys, kept under the address; empty when time is over."""
        path = known_hosts(self.desired)
        keys = hostkeys.kept(path, ocid)
        while not keys:
            keys = hostkeys.in_console(self.cloud.console(ocid, self._waited) or "")
            if not keys and not self._waited():
                return ()
        hostkeys.record(path, ocid, address, keys)
        self.tools.tell(f"{name}: host keys of {address} recorded")
        return keys

    def _log_in(self, login: reach.Login) -> Failure | None:
        cloud_init = self.desired.wait.cloud_init
        while True:
            left = self.deadline - self.tools.clock()
            answer = self.tools.reach(login, cloud_init=cloud_init, timeout=left, ended=self.ended)
            if answer.reached is Reached.YES:
                return None
            if answer.reached is Reached.FAILED:
                words = f"cloud-init of {login.address} has failed: {answer.text}"
                return Failure("E_OCI_CLOUD_INIT", words, Next.GIVE_UP)
            if not self._waited():
                who = f"{login.user}@{login.address}"
                words = f"{who} cannot be reached by ssh: {answer.text}"
                return Failure("E_OCI_UNREACHED", words, Next.GIVE_UP)

    def _waited(self) -> bool:
        """Wait a moment; False when there is no time left."""
        if self.ended.is_set() or self.tools.clock() >= self.deadline:
            return False
        self.tools.sleep(self.tools.poll)
        return True


def known_hosts(desired: Desired) -> Path:
    """Return the known_hosts file of a fleet; relative ones are beside the fleet file."""
    path = Path(desired.wait.known_hosts).expanduser()
    return path if path.is_absolute() else Path(desired.source).parent / path
