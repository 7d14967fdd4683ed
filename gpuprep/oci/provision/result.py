"""What became of a fleet's members."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - typing.get_type_hints asks for it
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from gpuprep.errors import ExitCode, GpuprepError
from gpuprep.model import Message  # noqa: TC001 - as above

# What no repetition and no other place cures: the user's settings, or the cloud's permissions.
_OF_SETTINGS: Final = frozenset({"E_OCI_SETTING", "E_OCI_NAME"})
_OF_CLOUD: Final = frozenset({"E_OCI_POLICY", "E_OCI_SIGN_IN", "E_OCI_BUSY"})


@dataclass(frozen=True, slots=True)
class MemberResult:
    """What became of one member of a fleet.

    Attributes:
        name: ``train-001``.
        action: ``keep``, ``launch``, ``start``, ``stop``, ``terminate`` or ``refuse``.
        changed: whether something was done, or would be with ``check``.
        id: OCID of the instance; None = there is none.
        state: OCI's word: ``RUNNING``, ``STOPPED``, ...
        place: availability and fault domain, ``AD-1/FD-2``.
        address: what ssh connects to; None = not looked up.
        public_ip: its public address.
        user: login user; None = not known.
        differing: settings that differ from those it was launched with; nothing is done about it.
        code: ``E_OCI_*`` of what went wrong.
        error: what went wrong.
        tried: places that were asked for a host.
        seconds: from the launch until it was ready.

    """

    name: str
    action: str
    changed: bool = False
    id: str | None = None
    state: str | None = None
    place: str | None = None
    address: str | None = None
    public_ip: str | None = None
    user: str | None = None
    differing: tuple[str, ...] = ()
    code: str | None = None
    error: str | None = None
    tried: tuple[str, ...] = ()
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return self.code is None


@dataclass(frozen=True, slots=True)
class ProvisionResult:
    """What became of a fleet.

    Attributes:
        fleet: its name.
        members: by name.
        check: nothing was to be changed.
        warnings: what is to be known of the fleet as a whole.
        details: image, subnet, places and what they say of themselves, where they were looked up.
        requests: how many were sent.
        seconds: wall time.

    """

    fleet: str
    members: Mapping[str, MemberResult]
    check: bool = False
    warnings: tuple[Message, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether anything was changed, or would be with ``check``."""
        return any(one.changed for one in self.members.values())

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the command line for this result."""
        bad = [one for one in self.members.values() if not one.ok]
        if not bad:
            return ExitCode.OK
        if len(bad) < len(self.members):
            return ExitCode.SOME_HOSTS_FAILED
        kinds = {one.code for one in bad}
        if kinds <= _OF_SETTINGS:
            return ExitCode.USAGE
        return ExitCode.UNAVAILABLE if kinds <= _OF_CLOUD else ExitCode.ALL_HOSTS_FAILED

    def raise_for_status(self) -> ProvisionResult:
        """Return self when every member is as it should be, else raise.

        Raises:
            MembersFailedError: carrying this result.

        """
        if self.exit_code is not ExitCode.OK:
            raise MembersFailedError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result as JSON types."""
        data = asdict(self)
        data.update(schema=1, exit_code=int(self.exit_code), changed=self.changed)
        return data


class MembersFailedError(GpuprepError):
    """At least one member of a fleet is not as it should be.

    Attributes:
        result: the whole result, with the members that are.

    """

    def __init__(self, result: ProvisionResult) -> None:
        self.result = result
        self.exit_code = result.exit_code
        names = ", ".join(one.name for one in result.members.values() if not one.ok)
        super().__init__(f"not there: {names}")
