"""The requests the emulator understands: from path and query to JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oci.regions import REGIONS_SHORT_NAMES

from gpuprep.oci.options import STATES
from sandbox.oci.compute import Compute
from sandbox.oci.networks import Networks
from sandbox.oci.places import Places
from sandbox.oci.refusals import RefusedError
from sandbox.oci.retry_tokens import Tokens
from sandbox.oci.routes import CORE, LIMITS, Json, Query, Result, Route, Sent, chosen, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sandbox.oci.tenancy import Tenancy

_REGION_KEYS: Final = {region: key.upper() for key, region in REGIONS_SHORT_NAMES.items()}


class Api:
    """Answers for one tenancy, as seen by one user."""

    def __init__(self, tenancy: Tenancy) -> None:
        self.tenancy = tenancy
        self.denied: set[str] = set()  # compartments the user has no policy for
        tokens = Tokens(tenancy.retry_tokens)
        places = Places(tenancy, self._check)
        self.compute = Compute(tenancy, tokens, places, self._check)
        reads = {("GET", name): entry for name, entry in self._table().items()}
        networks = Networks(tenancy, tokens, self._check)
        core = {**reads, **networks.table(), **places.table(), **self.compute.table()}
        self._routes = [
            Route(method, name, function, frozenset(parameters.split()), version)
            for version, table in ((CORE, core), (LIMITS, places.limits_table()))
            for (method, name), (function, parameters) in table.items()
        ]

    def _table(self) -> Mapping[str, tuple[Callable[..., Result], str]]:
        t = self.tenancy
        paged = "limit page"
        listed = f"{paged} compartmentId sortBy sortOrder"
        named = f"{listed} displayName"
        return {
            "/compartments": (
                self._compartments,
                f"{listed} compartmentIdInSubtree accessLevel name lifecycleState",
            ),
            "/compartments/{id}": (self._compartment, ""),
            "/tenancies/{id}": (self._tenancy, ""),
            "/tenancies/{id}/regionSubscriptions": (self._regions, ""),
            "/regions": (self._all_regions, ""),
            "/vnicAttachments/{id}": (
                self._item(lambda: {one["id"]: one for one in t.attachments}), "",
            ),
            "/privateIps/{id}": (
                self._item(lambda: {one["id"]: one for one in t.private_ips}), "",
            ),
            "/instances": (
                self._instances,
                f"{named} availabilityDomain capacityReservationId computeClusterId lifecycleState",
            ),
            "/instances/{id}": (self._item(lambda: t.instances), ""),
            "/vnicAttachments": (
                self._in_compartment(lambda: t.attachments),
                f"{paged} compartmentId availabilityDomain instanceId vnicId",
            ),
            "/vnics/{id}": (self._item(lambda: t.vnics), ""),
            "/images/{id}": (self._image, ""),
            "/privateIps": (
                self._addresses(lambda: t.private_ips), f"{paged} subnetId vnicId ipAddress",
            ),
            "/ipv6": (self._addresses(lambda: t.ipv6s), f"{paged} subnetId vnicId ipAddress"),
            "/publicIps": (
                self._public_ips, f"{paged} compartmentId scope lifetime availabilityDomain",
            ),
            "/instancePools": (
                self._in_compartment(lambda: t.pools), f"{named} lifecycleState",
            ),
            "/clusterNetworks": (
                self._in_compartment(lambda: t.cluster_networks), f"{named} lifecycleState",
            ),
            "/computeClusters": (
                self._in_compartment(lambda: t.compute_clusters, wrapped=True), named,
            ),
            "/computeGpuMemoryClusters": (
                self._in_compartment(lambda: t.memory_clusters, wrapped=True), named,
            ),
            "/computeClusters/{id}": (
                self._item(lambda: {one["id"]: one for one in t.compute_clusters}), "",
            ),
            "/computeCapacityReservations/{id}": (self._reservation, ""),
            "/instancePools/{id}/instances": (self._members(wrapped=False), named),
            "/clusterNetworks/{id}/instances": (self._members(wrapped=False), named),
            "/computeGpuMemoryClusters/{id}/instances": (
                self._members(wrapped=True), f"{paged} sortBy sortOrder",
            ),
        }  # fmt: skip

    def route(self, method: str, path: str, version: str = CORE) -> Route | None:
        """Find what answers a method and path."""
        fitting = (
            one for one in self._routes
            if one.version == version and one.method == method and one.pattern.match(path)
        )  # fmt: skip
        return next(fitting, None)

    def answer(self, route: Route, path: str, sent: Sent) -> tuple[Result, object, str | None]:
        """Answer a request: the result, its page, the token of the next page.

        One at a time, and what is due happens before.
        """
        with self.compute.lock:
            self.compute.settle()
            result = route.answer(path, sent)
            body, following = (None, None) if result.empty else result.page(sent.query)
        return result, body, following

    # --- routes --------------------------------------------------------------------------------

    def _compartments(self, _: str, query: Query) -> Result:
        parent = needed(query, "compartmentId")
        self._check(parent)
        rows: Iterable[Json] = self.tenancy.compartments
        if query.get("compartmentIdInSubtree") != "true":
            rows = [one for one in rows if one["compartmentId"] == parent]
        elif parent != self.tenancy.ocid:
            raise RefusedError(400, "compartmentIdInSubtree needs the tenancy's OCID")
        wanted = {"lifecycleState": "ACTIVE", **query}
        return Result(rows=chosen(rows, wanted, "name lifecycleState"))

    def _compartment(self, _: str, __: Query, ocid: str) -> Result:
        if ocid == self.tenancy.ocid:
            return Result({"id": ocid, "name": "sandbox", "lifecycleState": "ACTIVE"})
        for one in self.tenancy.compartments:
            if one["id"] == ocid:
                return Result(one)
        raise RefusedError(404)

    def _regions(self, _: str, __: Query, ocid: str) -> Result:
        if ocid != self.tenancy.ocid:
            raise RefusedError(404)
        home = self.tenancy.regions[0]
        rows = (
            {
                "regionName": one,
                "regionKey": _REGION_KEYS[one],
                "status": "READY",
                "isHomeRegion": one == home,
            }
            for one in self.tenancy.regions
        )
        return Result(rows=tuple(rows), paged=False)

    def _tenancy(self, _: str, __: Query, ocid: str) -> Result:
        if ocid != self.tenancy.ocid:
            raise RefusedError(404)
        home = _REGION_KEYS[self.tenancy.regions[0]]
        return Result({"id": ocid, "name": "sandbox", "homeRegionKey": home})

    def _all_regions(self, _: str, __: Query) -> Result:
        rows = ({"key": key, "name": name} for name, key in _REGION_KEYS.items())
        return Result(rows=tuple(rows), paged=False)

    def _instances(self, region: str, query: Query) -> Result:
        state = query.get("lifecycleState", STATES[0])
        if state not in STATES:
            raise RefusedError(400, f"lifecycleState: {state!r} is not one of {', '.join(STATES)}")
        rows = self._in_compartment(self.tenancy.instances.values)(region, query).rows
        if "computeClusterId" in query:
            inside = set(self.tenancy.members.get(query["computeClusterId"], ()))
            rows = tuple(one for one in rows if one["id"] in inside)
        return Result(rows=rows)

    def _image(self, _: str, __: Query, ocid: str) -> Result:
        if ocid not in self.tenancy.images:
            raise RefusedError(404)
        return Result(self.tenancy.images[ocid])

    def _reservation(self, _: str, __: Query, ocid: str) -> Result:
        if ocid not in self.tenancy.reservations:
            raise RefusedError(404)
        domain = self.tenancy.reservations[ocid]
        return Result({"id": ocid, "availabilityDomain": domain, "lifecycleState": "ACTIVE"})

    def _public_ips(self, region: str, query: Query) -> Result:
        rows = self._in_compartment(lambda: self.tenancy.public_ips)(region, query).rows
        needed(query, "scope")
        return Result(rows=chosen(rows, query, "scope lifetime"))

    # --- kinds of routes -----------------------------------------------------------------------

    def _item(self, table: Callable[[], Mapping[str, Json]]) -> Callable[..., Result]:
        def get(region: str, _: Query, ocid: str) -> Result:
            one = table().get(ocid)
            if one is None or one["compartmentId"] in self.denied or not self._here(one, region):
                raise RefusedError(404)
            return Result(one)

        return get

    def _in_compartment(
        self, table: Callable[[], Iterable[Json]], *, wrapped: bool = False
    ) -> Callable[[str, Query], Result]:
        def get(region: str, query: Query) -> Result:
            compartment = needed(query, "compartmentId")
            self._check(compartment)
            rows = [one for one in table() if self._here(one, region)]
            names = (
                "compartmentId displayName lifecycleState availabilityDomain instanceId vnicId "
                "capacityReservationId"
            )
            return Result(rows=chosen(rows, query, names), wrapped=wrapped)

        return get

    def _addresses(self, table: Callable[[], Iterable[Json]]) -> Callable[[str, Query], Result]:
        def get(region: str, query: Query) -> Result:
            if not {"subnetId", "vnicId"} & query.keys():
                raise RefusedError(400, "subnetId or vnicId is required")
            if "subnetId" in query:
                self._item(lambda: self.tenancy.subnets)(region, query, query["subnetId"])
            if "vnicId" in query:
                self._item(lambda: self.tenancy.vnics)(region, query, query["vnicId"])
            return Result(rows=chosen(table(), query, "subnetId vnicId ipAddress"))

        return get

    def _members(self, *, wrapped: bool) -> Callable[..., Result]:
        def get(_: str, query: Query, ocid: str) -> Result:
            if not wrapped:  # the newer lists want no compartment
                self._check(needed(query, "compartmentId"))
            inside = self.tenancy.members.get(ocid)
            if inside is None:
                raise RefusedError(404)
            rows = [self.tenancy.instances[one] for one in inside]
            keys = ("id", "displayName", "compartmentId", "availabilityDomain", "region",
                    "timeCreated")  # fmt: skip
            found = chosen(rows, query, "displayName")
            return Result(
                rows=tuple({key: one[key] for key in keys} for one in found), wrapped=wrapped
            )

        return get

    def _check(self, compartment: str) -> None:
        known = {self.tenancy.ocid, *(one["id"] for one in self.tenancy.compartments)}
        if compartment not in known or compartment in self.denied:
            raise RefusedError(404)

    def _here(self, one: Json, region: str) -> bool:
        return self.tenancy.is_in(one, region)
