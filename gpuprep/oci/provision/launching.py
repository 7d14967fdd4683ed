"""Getting hosts: place by place, each asked once, nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from gpuprep import codes
from gpuprep.oci.client import CallFailedError
from gpuprep.oci.provision import bodies, failures, placement, plan
from gpuprep.oci.provision.failures import Failure, Next
from gpuprep.oci.provision.identity import FLEET_TAG, launch_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuprep.oci.provision.bodies import Resolved
    from gpuprep.oci.provision.calls import Cloud
    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.provision.placement import Place, Survey
    from gpuprep.oci.provision.plan import MemberPlan
    from gpuprep.oci.records import Instance

_GENERATION_JUMP: Final = 1
# Refusals by which somebody else's launch of the same member shows itself.
_PERHAPS_THERE: Final = frozenset({"E_OCI_TOKEN", "E_OCI_NAME"})
_NEEDED_POLICIES: Final = ("manage instance-family", "use virtual-network-family")


@dataclass(slots=True)
class Attempt:
    """What came of trying to launch a member.

    Attributes:
        member: what was to be done.
        instance: the one that it got; None = none.
        work_request: of the launch.
        failure: why it got none.
        tried: places that were asked.
        adopted: somebody else had launched it.

    """

    member: MemberPlan
    instance: Instance | None = None
    work_request: str | None = None
    failure: Failure | None = None
    tried: tuple[str, ...] = ()
    adopted: bool = False


@dataclass(slots=True)
class Launcher:
    """Launches members of a fleet, one after the other.

    Attributes:
        cloud: where.
        desired: the fleet.
        resolved: what was looked up.
        domains: the availability domains that are allowed, in order.
        root: OCID of the tenancy, if it is known.
        tell: told what happens, in words.
        limit_note: said beside a limit that may not really be reached.

    """

    cloud: Cloud
    desired: Desired
    resolved: Resolved
    domains: tuple[str, ...]
    root: str | None
    tell: Callable[[str], None]
    limit_note: str = ""
    _full: dict[Place, Failure] = field(default_factory=dict)
    _closed: dict[str, Failure] = field(default_factory=dict)
    _surveys: dict[str, Survey | None] = field(default_factory=dict)
    _clusters: dict[str, str] = field(default_factory=dict)
    _made_clusters: set[str] = field(default_factory=set)
    _hopeless: Failure | None = None

    def survey(self, domain: str) -> Survey | None:
        """Return what is known of a domain; looked at once."""
        if domain not in self._surveys:
            found = self.cloud.survey(domain, self.desired.shape, self.root)
            self._surveys[domain] = found
            if found is None:
                words = f"shape {self.desired.shape} is not offered in {placement.short(domain)}"
                self._closed[domain] = Failure("E_OCI_SHAPE", words, Next.OTHER_DOMAIN)
        return self._surveys[domain]

    def launch(self, member: MemberPlan) -> Attempt:
        """Launch a member where there is room for it."""
        tried: list[str] = []
        if self._hopeless is not None:
            return Attempt(member, failure=self._hopeless)
        for place in self._places(member.number):
            tried.append(str(place))
            self.tell(f"{member.name}: asking for {self.desired.shape} in {place}")
            attempt = self._at(member, place)
            attempt.tried = tuple(tried)
            if attempt.failure is None:
                return attempt
            self.note(place, attempt.failure)
            if attempt.failure.then is Next.GIVE_UP:
                # What another place does not cure, another member does not either.
                self._hopeless = attempt.failure
                return attempt
        return Attempt(member, failure=self._nowhere(), tried=tuple(tried))

    def note(self, place: Place, failure: Failure) -> None:
        """Remember that a place need not be asked again."""
        if failure.code == "E_OCI_CAPACITY":
            self.limit_note = codes.text("W_OCI_LIMIT_STALE")
        if failure.then is Next.OTHER_DOMAIN:
            self._closed[place.domain] = failure
        else:
            self._full[place] = failure

    def give_back(self) -> None:
        """Remove the compute clusters that were made for nothing."""
        for domain in sorted(self._made_clusters):
            self.cloud.remove_cluster(self._clusters.pop(domain))
        self._made_clusters.clear()

    def _places(self, number: int) -> Iterator[Place]:
        for place in placement.order(self.domains, self.survey, number):
            if place not in self._full and place.domain not in self._closed:
                yield place

    def _at(self, member: MemberPlan, place: Place) -> Attempt:
        """Ask one place for a host, with a new token once if the old one is spent."""
        generation, renewed = member.generation, False
        cluster = self._cluster(place.domain)
        while True:
            body = bodies.launch_body(
                self.desired, member.number, generation, place, self.resolved, cluster
            )
            token = launch_token(self.desired.fleet, member.number, generation, place, body)
            try:
                instance, work = self.cloud.launch(member.name, body, token)
            except CallFailedError as error:
                failure = self._worded(error)
                if failure.code not in _PERHAPS_THERE:
                    return Attempt(member, failure=failure)
                found = self._again(member)
                if isinstance(found, Attempt):
                    return found
                if failure.then is not Next.OTHER_TOKEN or renewed:
                    return Attempt(member, failure=replace(failure, then=Next.GIVE_UP))
                member, renewed = found, True
                generation = max(generation, found.generation) + _GENERATION_JUMP
                continue
            self._made_clusters.discard(place.domain)
            return Attempt(replace(member, generation=generation), instance, work)

    def _worded(self, error: CallFailedError) -> Failure:
        """Return what an answer means, with what helps beside OCI's words."""
        failure = failures.of_answer(error)
        if failure.code == "E_OCI_LIMIT" and self.limit_note:
            return replace(failure, text=f"{failure.text}. {self.limit_note}")
        if failure.code == "E_OCI_POLICY":
            who, where = self.cloud.client.identity.principal, self.cloud.compartment.where
            told = "; ".join(f"Allow {who} to {what} {where}" for what in _NEEDED_POLICIES)
            return replace(failure, text=f"{failure.text}. A launch needs: {told}")
        return failure

    def _again(self, member: MemberPlan) -> MemberPlan | Attempt:
        """Look whether somebody has launched the member meanwhile."""
        rows = self.cloud.instances()
        there = plan.holders(self.desired, rows).get(member.number)
        if there:
            return Attempt(member, plan.winner(there), adopted=True)
        gone = plan.generations(self.desired, rows)[member.number]
        return replace(member, generation=gone)

    def _cluster(self, domain: str) -> str | None:
        wanted = self.desired.placement.compute_cluster
        survey = self.survey(domain)
        if wanted == "none" or survey is None or not (survey.rdma or wanted != "auto"):
            return None
        if wanted != "auto":
            return wanted
        if domain not in self._clusters:
            name = f"{self.desired.fleet}-{placement.short(domain)}"
            tags = {FLEET_TAG: self.desired.fleet}
            found = self.cloud.find("/computeClusters", {"displayName": name}, tags)
            if found is None or found.get("availabilityDomain", domain) != domain:
                body = {
                    "compartmentId": self.cloud.compartment.id, "availabilityDomain": domain,
                    "displayName": name, "freeformTags": tags,
                }  # fmt: skip
                found = self.cloud.make(self.desired.fleet, "/computeClusters", body)
                self._made_clusters.add(domain)
            self._clusters[domain] = found["id"]
        return self._clusters[domain]

    def _nowhere(self) -> Failure:
        """Return one failure for all places: the one that a user can do something about first."""
        all_ = [*self._closed.values(), *self._full.values()]
        if not all_:
            words = f"no availability domain is left to ask: {self.desired.placement}"
            return Failure("E_OCI_SHAPE", words, Next.GIVE_UP)
        order = ("E_OCI_CAPACITY", "E_OCI_LIMIT", "E_OCI_SHAPE")
        code = next((one for one in order if any(f.code == one for f in all_)), all_[0].code)
        where = [f"{placement.short(domain)}: {one.code}" for domain, one in self._closed.items()]
        where += [f"{place}: {one.code}" for place, one in self._full.items()]
        last = next(one for one in reversed(all_) if one.code == code)
        words = f"{self.desired.shape} is to be had nowhere ({', '.join(where)}); {last.text}"
        if code == "E_OCI_CAPACITY" and any(one.code == "E_OCI_LIMIT" for one in all_):
            limits = ", ".join(sorted({name for one in all_ for name in one.names}))
            words += f"; limits: {limits}. {self.limit_note}"
        return Failure(code, words, Next.GIVE_UP, last.names)
