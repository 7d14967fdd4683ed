"""A run: look, plan, and bring a fleet to where it should be."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gpuprep import codes
from gpuprep.oci.client import CallFailedError
from gpuprep.oci.provision import failures, hostkeys, images, placement, plan
from gpuprep.oci.provision.arrival import Arrival, known_hosts
from gpuprep.oci.provision.desired import FleetState
from gpuprep.oci.provision.failures import Failure, Next
from gpuprep.oci.provision.launching import Launcher
from gpuprep.oci.provision.lookup import Lookup, check_shape
from gpuprep.oci.provision.plan import GONE, Action
from gpuprep.oci.provision.result import MemberResult, ProvisionResult
from gpuprep.oci.provision.tools import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gpuprep.catalog import Catalog
    from gpuprep.model import Message
    from gpuprep.oci.provision.calls import Cloud
    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.provision.launching import Attempt
    from gpuprep.oci.provision.plan import MemberPlan, Plan
    from gpuprep.oci.records import Addresses, Compartment, Instance

_AT_ONCE: Final = 8
_ENDING: Final = 2.0  # seconds; what waits for the next try ends by itself a little later
_STALE: Final = timedelta(hours=1)


@dataclass(slots=True)
class Run:
    """One run over one fleet."""

    desired: Desired
    cloud: Cloud
    catalog: Catalog
    root: str | None
    subnet_compartment: Compartment
    tools: Tools = field(default_factory=Tools)
    _results: dict[str, MemberResult] = field(default_factory=dict)
    _lookup: Lookup = field(init=False)

    def __post_init__(self) -> None:
        """Prepare to look things up."""
        self._lookup = Lookup(self.desired, self.cloud, self.catalog, self.subnet_compartment)

    def execute(self, *, check: bool = False, addresses: bool = False) -> ProvisionResult:
        """Carry it out, or only say what would be done.

        Args:
            check: change nothing.
            addresses: look up those of all members that run.

        Raises:
            RefusedError: it cannot be made as it is asked for; nothing was made.
            CallFailedError: the cloud does not answer, or does not allow it.

        """
        started = self.tools.clock()
        putting_away = self.desired.state in {FleetState.ABSENT, FleetState.STOPPED}
        if not putting_away:
            shape = check_shape(self.desired, self.catalog)
            self._lookup.check_named_system(shape)
        there = self.cloud.instances()
        found = plan.plan(self.desired, there)
        launching = found.having(Action.LAUNCH)
        launcher = self._launcher(launching, there, make=not check) if launching else None
        for member in found.members:
            self._results[self._key(member)] = _planned(member)
        warnings = list(found.warnings)
        if check:
            if launcher is not None:
                self._describe(launcher)
        else:
            self._put_away(found)
            warnings += self._bring(found, launcher)
        if addresses:
            self._look_up_addresses()
        return ProvisionResult(
            self.desired.fleet, dict(self._results), check, tuple(warnings),
            dict(self._lookup.details),
            self.cloud.client.requests, round(self.tools.clock() - started, 1),
        )  # fmt: skip

    def _look_up_addresses(self) -> None:
        """Tell where running members are that were not waited for."""
        running = {
            name: one.id
            for name, one in self._results.items()
            if one.id is not None and one.address is None and one.state == "RUNNING"
        }
        found = self.cloud.addresses(running.values()) if running else {}
        for name, ocid in running.items():
            self._addressed(name, found.get(ocid))

    # --- before anything is made ---------------------------------------------------------------

    def _launcher(
        self, launching: Iterable[MemberPlan], there: Iterable[Instance], *, make: bool
    ) -> Launcher:
        shape = self.catalog.shapes[self.desired.shape]
        domains = self._lookup.domains()
        resolved = self._lookup.resolve(make=make)
        living = [one for rows in plan.holders(self.desired, there).values() for one in rows]
        if shape.rdma:  # hosts of one cluster network are together in one domain
            taken = {one.availability_domain for one in living}
            domains = tuple(sorted(domains, key=lambda one: one not in taken))
        self._lookup.details["launch"] = [one.name for one in launching]
        note = codes.text("W_OCI_LIMIT_STALE") if self._failed_lately(there) else ""
        return Launcher(
            self.cloud, self.desired, resolved, domains, self.root, self.tools.tell, note
        )

    def _failed_lately(self, there: Iterable[Instance]) -> bool:
        since = (datetime.now(UTC) - _STALE).isoformat()
        return any(
            one.state in GONE
            and (one.time_created or "") > since
            and one.shape == self.desired.shape
            for one in there
        )

    def _describe(self, launcher: Launcher) -> None:
        """Say where members would be launched, and what those places say of themselves."""
        rows = []
        for domain in launcher.domains:
            survey = launcher.survey(domain)
            row: dict[str, Any] = {"domain": placement.short(domain), "offered": survey is not None}
            if survey is not None:
                row["limits"] = dict(survey.hints.limits)
                row["capacity"] = dict(survey.hints.capacity)
                self._lookup.details["billed_when_stopped"] = survey.billed_when_stopped
            rows.append(row)
        self._lookup.details["domains"] = rows
        for name, one in self._results.items():
            if one.action != Action.LAUNCH:
                continue
            number = int(name.rpartition("-")[2])
            order = placement.order(launcher.domains, launcher.survey, number)
            places = tuple(map(str, order))
            if places:
                self._results[name] = replace(one, place=places[0], tried=())
            else:
                failure = launcher._nowhere()  # noqa: SLF001 - the same words as in a real run
                self._results[name] = replace(one, code=failure.code, error=failure.text)

    # --- putting away --------------------------------------------------------------------------

    def _put_away(self, found: Plan) -> None:
        for member in found.members:
            instance, key = member.instance, self._key(member)
            if instance is None:
                continue
            if member.action is Action.TERMINATE:
                self.tools.tell(f"{member.name}: terminating {instance.id}")
                if self._did(key, self.cloud.terminate, instance):
                    self._results[key] = replace(self._results[key], state="TERMINATING")
            elif member.action is Action.STOP:
                self.tools.tell(f"{member.name}: stopping {instance.id}")
                if self._did(key, self.cloud.act, instance, "SOFTSTOP"):
                    self._results[key] = replace(self._results[key], state="STOPPING")

    def _did(self, key: str, action: Callable[..., None], *arguments: object) -> bool:
        """Do something to one member; what goes wrong is its own failure."""
        try:
            action(*arguments)
        except CallFailedError as error:
            self._failed(key, failures.of_answer(error))
            self._results[key] = replace(self._results[key], changed=False)
            return False
        return True

    # --- bringing up ---------------------------------------------------------------------------

    def _bring(self, found: Plan, launcher: Launcher | None) -> list[Message]:
        deadline = self.tools.clock() + self.desired.wait_seconds
        attempts: dict[str, Attempt] = {}
        for member in found.having(Action.START):
            assert member.instance is not None  # noqa: S101 - only what is there can be started
            self.tools.tell(f"{member.name}: starting {member.instance.id}")
            self._did(member.name, self.cloud.act, member.instance, "START")
        if launcher is not None:
            for member in found.having(Action.LAUNCH):
                attempts[member.name] = launcher.launch(member)
        waiting = {
            one.name: one.instance
            for one in found.members
            if one.instance is not None and self._results[one.name].ok and self._is_awaited(one)
        }
        for name, attempt in attempts.items():
            if attempt.instance is not None:
                waiting[name] = attempt.instance
                changed = not attempt.adopted
                self._results[name] = replace(self._results[name], changed=changed)
        warnings, running = self._until_running(waiting, attempts, launcher, deadline)
        if launcher is not None:
            launcher.give_back()
        for name, attempt in attempts.items():
            self._results[name] = replace(self._results[name], tried=attempt.tried)
            if attempt.failure is not None:
                self._failed(name, attempt.failure)
        self._until_reached(running, deadline, fresh=bool(attempts))
        return warnings

    def _is_awaited(self, member: MemberPlan) -> bool:
        """Return whether a member is on its way, or is not known to have been reached."""
        if member.action is Action.START:
            return True
        if member.action is not Action.KEEP or member.instance is None:
            return False
        if member.instance.state in {"PROVISIONING", "STARTING"}:
            return True
        return (
            member.instance.state == "RUNNING"
            and self.desired.wait.ssh
            and not hostkeys.reached(known_hosts(self.desired), member.instance.id)
        )

    def _until_running(
        self,
        waiting: Mapping[str, Instance],
        attempts: Mapping[str, Attempt],
        launcher: Launcher | None,
        deadline: float,
    ) -> tuple[list[Message], dict[str, Instance]]:
        """Wait until all run; gives those that do. What fails on the way is launched elsewhere."""
        warnings: list[Message] = []
        running = {name: one for name, one in waiting.items() if one.state == "RUNNING"}
        left = {name: one for name, one in waiting.items() if name not in running}
        judged = not attempts
        while left or not judged:
            rows = self.cloud.instances()
            if not judged:
                warnings += self._one_of_each(rows, attempts, left)
                judged = True
            states = {one.id: one for one in rows}
            for name, one in list(left.items()):
                now = left[name] = states.get(one.id, one)
                if now.state == "RUNNING":
                    running[name] = left.pop(name)
                elif now.state in GONE:
                    del left[name]
                    again = self._elsewhere(name, now, attempts.get(name), launcher)
                    if again is not None:
                        left[name], judged = again, False
            if left and judged and self.tools.clock() >= deadline:
                self._too_late(left)
                break
            if left and judged:
                self.tools.sleep(self.tools.poll)
        for name, one in running.items():
            self._set(name, one)
        return warnings, running

    def _too_late(self, left: Mapping[str, Instance]) -> None:
        for name, one in left.items():
            words = f"{one.id} is {one.state} after {self.desired.wait_seconds:.0f} s"
            self._set(name, one)
            self._failed(name, Failure("E_OCI_TIMEOUT", words, Next.GIVE_UP))

    def _one_of_each(
        self,
        rows: Iterable[Instance],
        attempts: Mapping[str, Attempt],
        left: dict[str, Instance],
    ) -> list[Message]:
        """Give way where another controller has launched the same member elsewhere.

        Only what this run has launched itself, seconds ago, is taken back.
        """
        warnings = []
        holders = plan.holders(self.desired, rows)
        for name, attempt in attempts.items():
            there = holders.get(attempt.member.number, [])
            if len(there) < 2 or attempt.instance is None:  # noqa: PLR2004 - several
                continue
            first = plan.winner(there)
            if first.id == attempt.instance.id:
                continue
            if not attempt.adopted:
                self.cloud.terminate(attempt.instance)
            warnings.append(codes.warning("W_OCI_GAVE_WAY", member=name, id=first.id))
            attempt.instance, attempt.adopted = first, True
            self._results[name] = replace(self._results[name], changed=False)
            if name in left:
                left[name] = first
        return warnings

    def _elsewhere(
        self, name: str, gone: Instance, attempt: Attempt | None, launcher: Launcher | None
    ) -> Instance | None:
        """Launch again what failed after it was accepted, in another place; None = no."""
        self._set(name, gone)
        if attempt is None or launcher is None or attempt.adopted:
            words = f"{gone.id} went away while it was waited for"
            self._failed(name, Failure("E_OCI_LAUNCH", words, Next.GIVE_UP))
            return None
        why = self.cloud.why_it_failed(attempt.work_request, gone.id)
        code, message = why or ("", "OCI tells no reason")
        failure = failures.of_work_request(code, message)
        self.tools.tell(f"{name}: {failure.text}")
        launcher.note(placement.Place(gone.availability_domain, gone.fault_domain or ""), failure)
        attempt.failure, attempt.instance = failure, None
        if failure.then is Next.GIVE_UP:
            return None
        member = replace(attempt.member, generation=attempt.member.generation + 1)
        again = launcher.launch(member)
        again.tried = (*attempt.tried, *again.tried)
        attempt.member, attempt.instance = again.member, again.instance
        attempt.work_request, attempt.failure = again.work_request, again.failure
        attempt.tried, attempt.adopted = again.tried, again.adopted
        return again.instance

    # --- until somebody can log in -------------------------------------------------------------

    def _until_reached(
        self, running: Mapping[str, Instance], deadline: float, *, fresh: bool
    ) -> None:
        if not running or not (self.desired.wait.ssh or fresh):
            return
        found = self.cloud.addresses(one.id for one in running.values())
        for name, one in running.items():
            self._addressed(name, found.get(one.id))
        if not self.desired.wait.ssh:
            return
        started = self.tools.clock()
        ended = threading.Event()
        arrival = Arrival(self.desired, self.cloud, self.tools, deadline, ended)
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reach")
        jobs: dict[str, Future[Failure | None]] = {}
        try:
            for name, one in running.items():
                address = self._results[name].address
                jobs[name] = pool.submit(arrival.at, name, one.id, address, self._login_user())
            for name, job in jobs.items():
                failure = job.result()
                if failure is not None:
                    self._failed(name, failure)
                seconds = round(self.tools.clock() - started, 1)
                self._results[name] = replace(self._results[name], seconds=seconds)
        except BaseException:  # stopped, say: what still tries to log in ends before this does
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
            wait([job for job in jobs.values() if not job.cancelled()], _ENDING)
            raise
        pool.shutdown(wait=False)

    def _addressed(self, name: str, found: Addresses | None) -> None:
        if found is None:
            return
        public = found.public_ip if self.desired.network.public_ip else None
        self._results[name] = replace(
            self._results[name], address=public or found.private_ip, public_ip=found.public_ip,
            user=self._login_user(),
        )  # fmt: skip

    def _login_user(self) -> str | None:
        known = self.desired.wait.ssh_user or self._lookup.login
        if known or self.desired.image.os is None:
            return known
        return images.login_of(images.oci_name(self.desired.image.os))

    # --- results -------------------------------------------------------------------------------

    def _key(self, member: MemberPlan) -> str:
        """Return a name for a result; twins that are put away get their OCID's end behind it."""
        taken = self._results.get(member.name)
        if taken is None or member.instance is None or taken.id == member.instance.id:
            return member.name
        return f"{member.name}_{member.instance.id[-6:]}"

    def _set(self, name: str, one: Instance) -> None:
        place = str(placement.Place(one.availability_domain, one.fault_domain or "?"))
        changed = self._results[name].changed
        self._results[name] = replace(
            self._results[name], id=one.id, state=one.state, place=place, changed=changed
        )

    def _failed(self, name: str, failure: Failure) -> None:
        one = self._results[name]
        gone = one.id is None or one.state in GONE
        changed = one.changed and not (one.action == Action.LAUNCH and gone)
        self._results[name] = replace(one, code=failure.code, error=failure.text, changed=changed)


def _planned(member: MemberPlan) -> MemberResult:
    instance, refusal = member.instance, member.refusal
    place = None
    if instance is not None:
        place = str(placement.Place(instance.availability_domain, instance.fault_domain or "?"))
    return MemberResult(
        member.name,
        str(member.action),
        changed=member.action not in {Action.KEEP, Action.REFUSE},
        id=instance.id if instance else None,
        state=instance.state if instance else None,
        place=place,
        differing=member.differing,
        code=refusal.code if refusal else None,
        error=refusal.message if refusal else None,
    )
