"""What happened to hosts."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads the annotations
from typing import Any

from gpuprep.model.host import HostFacts  # noqa: TC001 - the codec reads the annotations
from gpuprep.model.jobs import JobProgress  # noqa: TC001 - the codec reads the annotations
from gpuprep.model.plain import plain
from gpuprep.model.plan import Step  # noqa: TC001 - the codec reads the annotations
from gpuprep.model.stack import Message, Stack  # noqa: TC001 - the codec reads the annotations
from gpuprep.model.states import CheckStatus, ExitCode, HostStatus, StepStatus
from gpuprep.model.value import Value

_FINISHED = frozenset({StepStatus.DONE, StepStatus.PLANNED})


class CheckResult(Value, frozen=True):
    """One rung tried on one host.

    Attributes:
        id: stable id of the check.
        status: outcome.
        detail: one sentence: what was found, or why the rung was skipped.
        expected: what had to be seen.
        observed: what was seen.
        evidence: command or file, and what it said.
        remedy: what to do when it failed.
        seconds: time that what it looks at took on the host, by the host's own clock; checks that
            look at the same share it. None where nothing was tried in this run.

    """

    id: str
    status: CheckStatus
    detail: str
    expected: str | None = None
    observed: str | None = None
    evidence: str | None = None
    remedy: str | None = None
    seconds: float | None = None


class FileDiff(Value, frozen=True):
    """What a file became, or would become: texts, secrets not among them."""

    path: str
    before: str
    after: str


class Done(Value, frozen=True):
    """One thing that a host carried out.

    Attributes:
        role: for which role.
        op: what kind of operation.
        detail: what was done, in a sentence.
        changed: whether that changed the host.
        seconds: time it took on the host, by the host's clock.

    """

    role: str
    op: str
    detail: str
    changed: bool
    seconds: float | None = None


class HostResult(Value, frozen=True):
    """What happened to one host."""

    name: str
    state: HostStatus
    changed: bool = False
    steps: tuple[Step, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    error: str | None = None
    code: str | None = None  # E_* of a refusal
    warnings: tuple[Message, ...] = ()
    stack: Stack | None = None
    facts: HostFacts | None = None
    versions: Mapping[str, str] = {}  # driver, cuda, cudnn, conda: as found
    reboot_required: bool = False
    operations: tuple[Done, ...] = ()  # what the host was asked to do, in order
    diffs: tuple[FileDiff, ...] = ()  # only where they were asked for
    jobs: tuple[JobProgress, ...] = ()  # of workloads, where each is

    @property
    def ok(self) -> bool:
        """Whether the host is as far as it can be: proven, or prepared with no GPU to prove on."""
        return self.state in {HostStatus.READY, HostStatus.PREPARED}

    @property
    def partly(self) -> bool:
        """Whether all is done but what was left to another run."""
        statuses = {step.status for step in self.steps}
        return self.state is HostStatus.DRIFTED and StepStatus.PLANNED in statuses <= _FINISHED

    @property
    def unproven(self) -> bool:
        """Whether nothing went wrong on the way and yet the host is not shown to be fit."""
        if self.state is not HostStatus.FAILED:
            return self.state is HostStatus.DRIFTED
        return all(step.status in _FINISHED for step in self.steps) and any(
            check.status is CheckStatus.FAILED for check in self.checks
        )


class RunInfo(Value, frozen=True):
    """What a run was: by which two results can be told apart and compared.

    Attributes:
        id: unlike that of any other run.
        by: who ran it where, ``user@host``.
        gpuprep: version.
        ansible_core: version.
        inventory: the inventories, as absolute paths where they are paths.
        limit: host pattern that narrowed them.
        settings: documented variables that were given to the run itself, secrets masked.
        variable_files: files of variables that were given to it.
        finished: end, ISO 8601 UTC.

    """

    id: str
    by: str
    gpuprep: str
    ansible_core: str
    inventory: tuple[str, ...]
    limit: str | None = None
    settings: Mapping[str, Any] = {}
    variable_files: tuple[str, ...] = ()
    finished: str = ""


class FleetResult(Value, frozen=True):
    """What happened to a fleet.

    Attributes:
        verb: ``plan``, ``apply``, ``verify`` or ``status``.
        hosts: results by host name, in inventory order.
        check: True when nothing was to be changed (``--check``).
        cancelled: stopped by the user or a time limit.
        stopped: more hosts failed than gpuprep_max_fail_percentage allows; some were not begun.
        started: start, ISO 8601 UTC.
        seconds: wall time.
        counts: load-independent costs: ``host_tasks``; ``round_trips``, the commands that ran on
            hosts as root; ``observations``, those of them that only looked.
        run: what was run, by whom and with what.
        warnings: what is to be known of the run as a whole.
        tags: what the run was to carry out; empty = everything.
        skip_tags: what it was to leave out.

    """

    verb: str
    hosts: Mapping[str, HostResult]
    check: bool = False
    cancelled: bool = False
    stopped: bool = False
    started: str = ""
    seconds: float = 0.0
    counts: Mapping[str, int] = {}
    run: RunInfo | None = None
    warnings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()

    @property
    def in_part(self) -> bool:
        """Whether only a part of the plan was to be carried out."""
        return bool(self.tags or self.skip_tags)

    @property
    def changed(self) -> bool:
        """Whether any host was changed (or would be, with ``check``)."""
        return any(host.changed for host in self.hosts.values())

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the command line for this result."""
        if self.cancelled:
            return ExitCode.CANCELLED
        hosts = self.hosts.values()
        good = {HostStatus.READY, HostStatus.PREPARED}
        if self.verb == "plan" or self.check:
            good |= {HostStatus.DRIFTED, HostStatus.UNKNOWN}
        bad = [h for h in hosts if h.state not in good and not (self.in_part and h.partly)]
        if not bad:
            return ExitCode.OK
        if all(host.code == "E_LOCKED" for host in bad):
            return ExitCode.LOCKED
        if self.stopped:
            return ExitCode.ALL_HOSTS_FAILED
        if self.verb in {"apply", "verify", "status"} and all(host.unproven for host in bad):
            return ExitCode.NOT_PROVEN
        return ExitCode.ALL_HOSTS_FAILED if len(bad) == len(hosts) else ExitCode.SOME_HOSTS_FAILED

    def raise_for_status(self) -> FleetResult:
        """Return self when every host is ok, else raise.

        Raises:
            HostsFailedError: carrying this result.

        """
        if self.exit_code is not ExitCode.OK:
            raise HostsFailedError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result as JSON types; the content of ``report.json``."""
        data: dict[str, Any] = plain(self)
        data["schema"] = 1
        data["exit_code"] = int(self.exit_code)
        return data


class GpuprepError(Exception):
    """Base of all errors that gpuprep raises on purpose."""

    exit_code: ExitCode = ExitCode.INTERNAL


class HostsFailedError(GpuprepError):
    """At least one host did not reach its goal.

    Attributes:
        result: the whole result, with the hosts that did.

    """

    def __init__(self, result: FleetResult) -> None:
        self.result = result
        self.exit_code = result.exit_code
        names = ", ".join(h.name for h in result.hosts.values() if not h.ok)
        super().__init__(f"not ready: {names}")
