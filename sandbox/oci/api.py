"""The requests the emulator understands: from path and query to JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from oci.regions import REGIONS_SHORT_NAMES

from gpuprep.oci.options import STATES
from sandbox.oci.faults import CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sandbox.oci.tenancy import Tenancy

Json = dict[str, Any]
Query = dict[str, str]

DEFAULT_PAGE: Final = 100
_REGION_KEYS: Final = {region: key.upper() for key, region in REGIONS_SHORT_NAMES.items()}
_SORTED_BY: Final = {
    "DISPLAYNAME": "displayName", "NAME": "name", "TIMECREATED": "timeCreated",
}  # fmt: skip
LONGEST_PAGE: Final = 1000  # the emulator's choice: OCI documents none


class RefusedError(Exception):
    """An answer that is an error: HTTP status, OCI's code and message."""

    def __init__(self, status: int, message: str | None = None) -> None:
        self.status = status
        self.code, usual = CODES[status]
        self.message = message or usual
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Result:
    """What a route gives: an object, or rows to be paged."""

    one: Json | None = None
    rows: tuple[Json, ...] = ()
    paged: bool = True
    wrapped: bool = False  # {"items": [...]}, as newer lists are

    def page(self, query: Query) -> tuple[Any, str | None]:
        """Return the body and the token of the next page."""
        if self.one is not None:
            return self.one, None
        if not self.paged:
            return list(self.rows), None
        start = _number(query, "page", 0)
        size = min(_number(query, "limit", DEFAULT_PAGE, least=1), LONGEST_PAGE)
        rows = list(self.rows[start : start + size])
        following = str(start + size) if start + size < len(self.rows) else None
        return ({"items": rows} if self.wrapped else rows), following


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a path.

    Attributes:
        name: the path's pattern: ``/instances/{id}``.
        function: takes region and query, gives the result.
        parameters: the query parameters that it heeds; others are refused.

    """

    name: str
    function: Callable[..., Result]
    parameters: frozenset[str]

    def answer(self, path: str, region: str, query: Query) -> Result:
        """Answer a request.

        Raises:
            RefusedError: a parameter is unknown or wrong, or there is nothing to be seen.

        """
        unknown = ", ".join(sorted(query.keys() - self.parameters))
        if unknown:
            raise RefusedError(400, f"the emulator knows no parameter {unknown} of GET {self.name}")
        match = self.pattern.match(path)
        return self.function(region, query, *(match.groups() if match else ()))

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the path looks like."""
        return re.compile(re.sub(r"\{\w+\}", "([^/]+)", self.name) + "$")


class Api:
    """Answers for one tenancy, as seen by one user."""

    def __init__(self, tenancy: Tenancy) -> None:
        self.tenancy = tenancy
        self.denied: set[str] = set()  # compartments the user has no policy for
        self._routes = [
            Route(name, function, frozenset(parameters.split()))
            for name, (function, parameters) in self._table().items()
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
            "/tenancies/{id}/regionSubscriptions": (self._regions, ""),
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
            "/subnets/{id}": (self._item(lambda: t.subnets), ""),
            "/vcns/{id}": (self._item(lambda: t.vcns), ""),
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
            "/instancePools/{id}/instances": (self._members(wrapped=False), named),
            "/clusterNetworks/{id}/instances": (self._members(wrapped=False), named),
            "/computeGpuMemoryClusters/{id}/instances": (
                self._members(wrapped=True), f"{paged} sortBy sortOrder",
            ),
        }  # fmt: skip

    def route(self, path: str) -> Route | None:
        """Find what answers a path."""
        return next((one for one in self._routes if one.pattern.match(path)), None)

    # --- routes --------------------------------------------------------------------------------

    def _compartments(self, _: str, query: Query) -> Result:
        parent = _needed(query, "compartmentId")
        self._check(parent)
        rows: Iterable[Json] = self.tenancy.compartments
        if query.get("compartmentIdInSubtree") != "true":
            rows = [one for one in rows if one["compartmentId"] == parent]
        elif parent != self.tenancy.ocid:
            raise RefusedError(400, "compartmentIdInSubtree needs the tenancy's OCID")
        wanted = {"lifecycleState": "ACTIVE", **query}
        return Result(rows=_chosen(rows, wanted, "name lifecycleState"))

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

    def _public_ips(self, region: str, query: Query) -> Result:
        rows = self._in_compartment(lambda: self.tenancy.public_ips)(region, query).rows
        _needed(query, "scope")
        return Result(rows=_chosen(rows, query, "scope lifetime"))

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
            compartment = _needed(query, "compartmentId")
            self._check(compartment)
            rows = [one for one in table() if self._here(one, region)]
            names = (
                "compartmentId displayName lifecycleState availabilityDomain instanceId vnicId "
                "capacityReservationId"
            )
            return Result(rows=_chosen(rows, query, names), wrapped=wrapped)

        return get

    def _addresses(self, table: Callable[[], Iterable[Json]]) -> Callable[[str, Query], Result]:
        def get(region: str, query: Query) -> Result:
            if not {"subnetId", "vnicId"} & query.keys():
                raise RefusedError(400, "subnetId or vnicId is required")
            if "subnetId" in query:
                self._item(lambda: self.tenancy.subnets)(region, query, query["subnetId"])
            if "vnicId" in query:
                self._item(lambda: self.tenancy.vnics)(region, query, query["vnicId"])
            return Result(rows=_chosen(table(), query, "subnetId vnicId ipAddress"))

        return get

    def _members(self, *, wrapped: bool) -> Callable[..., Result]:
        def get(_: str, query: Query, ocid: str) -> Result:
            if not wrapped:  # the newer lists want no compartment
                self._check(_needed(query, "compartmentId"))
            inside = self.tenancy.members.get(ocid)
            if inside is None:
                raise RefusedError(404)
            rows = [self.tenancy.instances[one] for one in inside]
            keys = ("id", "displayName", "compartmentId", "availabilityDomain", "region",
                    "timeCreated")  # fmt: skip
            found = _chosen(rows, query, "displayName")
            return Result(
                rows=tuple({key: one[key] for key in keys} for one in found), wrapped=wrapped
            )

        return get

    def _check(self, compartment: str) -> None:
        known = {self.tenancy.ocid, *(one["id"] for one in self.tenancy.compartments)}
        if compartment not in known or compartment in self.denied:
            raise RefusedError(404)

    def _here(self, one: Json, region: str) -> bool:
        home = self.tenancy.regions[0]
        return self.tenancy.region_of.get(one["id"], home) == region


def _chosen(rows: Iterable[Json], query: Query, names: str) -> tuple[Json, ...]:
    """Return the rows whose fields are as the query says, in the order it asks for."""
    wanted = {name: query[name] for name in names.split() if name in query}
    found = [one for one in rows if all(one.get(name) == value for name, value in wanted.items())]
    if "sortBy" in query:
        field = _SORTED_BY.get(query["sortBy"])
        if field is None or query.get("sortOrder", "ASC") not in {"ASC", "DESC"}:
            raise RefusedError(400, "sortBy or sortOrder is not valid")
        found.sort(key=lambda one: str(one[field]), reverse=query.get("sortOrder") == "DESC")
    return tuple(found)


def _needed(query: Query, name: str) -> str:
    if not query.get(name):
        raise RefusedError(400, f"{name} is required")
    return query[name]


def _number(query: Query, name: str, otherwise: int, least: int = 0) -> int:
    text = query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise RefusedError(400, f"{name}: {text!r} is no number of {least} or more")
    return int(text)
