"""The requests the emulator understands: from path and query to JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sandbox.oci.faults import CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sandbox.oci.tenancy import Tenancy

Json = dict[str, Any]
Query = dict[str, str]

DEFAULT_PAGE: Final = 100
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
        size = min(_number(query, "limit", DEFAULT_PAGE), LONGEST_PAGE)
        rows = list(self.rows[start : start + size])
        following = str(start + size) if start + size < len(self.rows) else None
        return ({"items": rows} if self.wrapped else rows), following


class Api:
    """Answers for one tenancy, as seen by one user."""

    def __init__(self, tenancy: Tenancy) -> None:
        self.tenancy = tenancy
        self.denied: set[str] = set()  # compartments the user has no policy for
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Result]]] = [
            (pattern, re.compile(re.sub(r"\{\w+\}", "([^/]+)", pattern) + "$"), function)
            for pattern, function in self._table().items()
        ]

    def _table(self) -> Mapping[str, Callable[..., Result]]:
        t = self.tenancy
        return {
            "/compartments": self._compartments,
            "/compartments/{id}": self._compartment,
            "/tenancies/{id}/regionSubscriptions": self._regions,
            "/instances": self._instances,
            "/instances/{id}": self._item(lambda: t.instances),
            "/vnicAttachments": self._in_compartment(lambda: t.attachments),
            "/vnics/{id}": self._item(lambda: t.vnics),
            "/subnets/{id}": self._item(lambda: t.subnets),
            "/vcns/{id}": self._item(lambda: t.vcns),
            "/images/{id}": self._image,
            "/privateIps": self._in_subnet(lambda: t.private_ips),
            "/ipv6": self._in_subnet(lambda: t.ipv6s),
            "/publicIps": self._public_ips,
            "/instancePools": self._in_compartment(lambda: t.pools),
            "/clusterNetworks": self._in_compartment(lambda: t.cluster_networks),
            "/computeClusters": self._in_compartment(lambda: t.compute_clusters, wrapped=True),
            "/computeGpuMemoryClusters": self._in_compartment(
                lambda: t.memory_clusters, wrapped=True
            ),
            "/instancePools/{id}/instances": self._members(wrapped=False),
            "/clusterNetworks/{id}/instances": self._members(wrapped=False),
            "/computeGpuMemoryClusters/{id}/instances": self._members(wrapped=True),
        }

    def route(self, path: str) -> tuple[str, Callable[[str, Query], Result]]:
        """Find what answers a path; gives the route's name too.

        Raises:
            RefusedError: no route has this path.

        """
        for name, pattern, function in self._routes:
            match = pattern.match(path)
            if match:
                return name, partial(_with_path, function, match.groups())
        raise RefusedError(404)

    # --- routes --------------------------------------------------------------------------------

    def _compartments(self, _: str, query: Query) -> Result:
        parent = _needed(query, "compartmentId")
        rows = [one for one in self.tenancy.compartments if one["lifecycleState"] == "ACTIVE"]
        if query.get("compartmentIdInSubtree") != "true":
            rows = [one for one in rows if one["compartmentId"] == parent]
        elif parent != self.tenancy.ocid:
            raise RefusedError(400, "compartmentIdInSubtree needs the tenancy's OCID")
        return Result(rows=tuple(rows))

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
            {"regionName": one, "regionKey": one, "status": "READY", "isHomeRegion": one == home}
            for one in self.tenancy.regions
        )
        return Result(rows=tuple(rows), paged=False)

    def _instances(self, region: str, query: Query) -> Result:
        rows = self._in_compartment(self.tenancy.instances.values)(region, query).rows
        for parameter in ("displayName", "availabilityDomain", "lifecycleState"):
            if parameter in query:
                rows = tuple(one for one in rows if one[parameter] == query[parameter])
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
        wanted = {"scope": _needed(query, "scope")}
        wanted |= {key: query[key] for key in ("lifetime", "availabilityDomain") if key in query}
        return Result(rows=tuple(one for one in rows if wanted.items() <= one.items()))

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
            rows = (one for one in table() if one["compartmentId"] == compartment)
            return Result(
                rows=tuple(one for one in rows if self._here(one, region)), wrapped=wrapped
            )

        return get

    def _in_subnet(self, table: Callable[[], Iterable[Json]]) -> Callable[[str, Query], Result]:
        def get(_: str, query: Query) -> Result:
            subnet = self.tenancy.subnets.get(_needed(query, "subnetId"))
            if subnet is None:
                raise RefusedError(404)
            self._check(subnet["compartmentId"])
            return Result(rows=tuple(one for one in table() if one["subnetId"] == subnet["id"]))

        return get

    def _members(self, *, wrapped: bool) -> Callable[..., Result]:
        def get(_: str, query: Query, ocid: str) -> Result:
            if not wrapped:  # the newer lists want no compartment
                self._check(_needed(query, "compartmentId"))
            inside = self.tenancy.members.get(ocid)
            if inside is None:
                raise RefusedError(404)
            rows = (self.tenancy.instances[one] for one in inside)
            keys = ("id", "displayName", "compartmentId", "availabilityDomain", "region")
            return Result(
                rows=tuple({key: one[key] for key in keys} for one in rows), wrapped=wrapped
            )

        return get

    def _check(self, compartment: str) -> None:
        known = {self.tenancy.ocid, *(one["id"] for one in self.tenancy.compartments)}
        if compartment not in known or compartment in self.denied:
            raise RefusedError(404)

    def _here(self, one: Json, region: str) -> bool:
        home = self.tenancy.regions[0]
        return self.tenancy.region_of.get(one["id"], home) == region


def _with_path(
    function: Callable[..., Result], arguments: tuple[str, ...], region: str, query: Query
) -> Result:
    return function(region, query, *arguments)


def _needed(query: Query, name: str) -> str:
    if not query.get(name):
        raise RefusedError(400, f"{name} is required")
    return query[name]


def _number(query: Query, name: str, otherwise: int) -> int:
    text = query.get(name, str(otherwise))
    if not text.isdigit():
        raise RefusedError(400, f"{name}: {text!r} is no number")
    return int(text)
