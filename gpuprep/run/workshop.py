"""The whole road in one call: hosts launched, prepared, and their jobs done."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - typing.get_type_hints asks for it
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ExitCode
from gpuprep.model import FleetResult  # noqa: TC001 - as above
from gpuprep.oci.provision.arrival import known_hosts
from gpuprep.oci.provision.result import ProvisionResult  # noqa: TC001 - as above
from gpuprep.run.jobs import JobsResult  # noqa: TC001 - as above

if TYPE_CHECKING:
    from gpuprep.oci.provision.desired import Desired

COMPONENTS: Final = ("driver", "conda", "faceswap")  # Faceswap's packages bring CUDA and cuDNN


@dataclass(frozen=True, slots=True)
class WorkshopResult:
    """What became of each part of the road; None = it was not come to.

    Attributes:
        provision: the hosts.
        prepare: their preparation.
        jobs: their jobs.
        seconds: wall time by part.

    """

    provision: ProvisionResult | None = None
    prepare: FleetResult | None = None
    jobs: JobsResult | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything was changed, or would be with ``check``."""
        prepared = self.prepare.hosts.values() if self.prepare else ()
        parts = [bool(self.provision and self.provision.changed)]
        parts += [host.changed for host in prepared]
        parts.append(bool(self.jobs and self.jobs.changed))
        return any(parts)

    @property
    def exit_code(self) -> ExitCode:
        """What the command line exits with: the first part that is not right decides."""
        parts = (self.provision, self.prepare, self.jobs)
        codes = [part.exit_code for part in parts if part is not None]
        return next((code for code in codes if code is not ExitCode.OK), ExitCode.OK)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result as JSON types."""
        parts = {"provision": self.provision, "prepare": self.prepare, "jobs": self.jobs}
        return {
            "schema": 1,
            **{name: part and part.to_dict() for name, part in parts.items()},
            "seconds": dict(self.seconds),
            "changed": self.changed,
            "exit_code": int(self.exit_code),
        }


def inventory_of(result: ProvisionResult, desired: Desired) -> dict[str, Any]:
    """Return an inventory of a fleet's members that can be logged in to.

    Their host keys are those that their consoles told; no others are accepted.
    """
    known = known_hosts(desired)
    login: dict[str, Any] = {
        "ansible_ssh_common_args": (
            f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile='{known}'"
            " -o GlobalKnownHostsFile=/dev/null"
        ),
    }
    if desired.key_files:
        login["ansible_ssh_private_key_file"] = str(desired.key_files[0])
    hosts = {
        name: {
            "ansible_host": member.address,
            "ansible_user": member.user,
            "oci_shape": desired.shape,
            **login,
        }
        for name, member in result.members.items()
        if member.ok and member.address and member.user
    }
    return {"all": {"hosts": hosts}}
