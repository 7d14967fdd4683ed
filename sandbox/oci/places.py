"""Availability and fault domains, what a tenancy may use of them, and what is free."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from gpuprep.catalog import load
from gpuprep.oci.gpu import model_of
from sandbox.oci import bodies
from sandbox.oci.refusals import RefusedError
from sandbox.oci.routes import Json, Query, Result, Sent, chosen, needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuprep.catalog import Shape
    from sandbox.oci.tenancy import Tenancy

GONE: Final = frozenset({"TERMINATING", "TERMINATED"})
PLENTY: Final = 1000  # hosts of a shape in a fault domain, and GPUs by a limit, if nothing is said
_CPU_SHAPE: Final = "VM.Standard.E5.Flex"


@cache
def shape_row(name: str) -> Json | None:
    """Return a shape as ListShapes tells it; GPU shapes are the catalog's."""
    if name == _CPU_SHAPE:
        return {"shape": name, "gpus": 0, "ocpus": 1.0, "memoryInGBs": 12.0, "isFlexible": True,
                "quotaNames": ["standard-e5-core-count"], "rdmaPorts": 0,
                "isBilledForStoppedInstance": False}  # fmt: skip
    shape = load().shapes.get(name)
    return None if shape is None else _row(shape)


def _row(shape: Shape) -> Json:
    metal = shape.name.startswith("BM.")
    return {
        "shape": shape.name,
        "gpus": shape.count,
        "gpuDescription": f"{shape.vendor.upper()} {shape.gpu_name}",
        "ocpus": 15.0 * shape.count,
        "memoryInGBs": 240.0 * shape.count,
        "isFlexible": False,
        "rdmaPorts": 8 if shape.rdma else 0,
        "rdmaBandwidthInGbps": 400 if shape.rdma else 0,
        "quotaNames": [f"gpu-{model_of(shape.gpu_name).replace('_', '-')}-count"],
        "isBilledForStoppedInstance": metal,
    }


def all_shapes() -> list[str]:
    """Return the names of all shapes there are."""
    return [*load().shapes, _CPU_SHAPE]


class Places:
    """What there is room for, by place."""

    def __init__(self, tenancy: Tenancy, check: Callable[[str], None]) -> None:
        self._tenancy = tenancy
        self._check = check

    def table(self) -> dict[tuple[str, str], tuple[Callable[..., Result], str]]:
        """Return the routes."""
        return {
            ("GET", "/availabilityDomains"): (self._domains, "compartmentId"),
            ("GET", "/faultDomains"): (self._fault_domains, "compartmentId availabilityDomain"),
            ("GET", "/shapes"): (
                self._shapes, "limit page compartmentId availabilityDomain imageId shape",
            ),
            ("POST", "/computeCapacityReports"): (self._report, ""),
        }  # fmt: skip

    def limits_table(self) -> dict[tuple[str, str], tuple[Callable[..., Result], str]]:
        """Return the routes of the service limits."""
        return {
            ("GET", "/services/{service}/limits/{name}/resourceAvailability"): (
                self._availability, "compartmentId availabilityDomain",
            ),
            ("GET", "/limitValues"): (
                self._values,
                "limit page compartmentId serviceName scopeType availabilityDomain name",
            ),
        }  # fmt: skip

    # --- what the others ask -------------------------------------------------------------------

    def offered(self, shape: str, domain: str) -> bool:
        """Return whether an availability domain has a shape at all."""
        known = shape_row(shape) is not None and domain in self._tenancy.domains()
        return known and domain not in self._tenancy.without_shape.get(shape, ())

    def free(self, shape: str, domain: str, fault_domain: str) -> int:
        """Return how many hosts of a shape are free in a fault domain."""
        place = f"{shape}/{domain}/{fault_domain}"
        taken = sum(
            (one["shape"], one["availabilityDomain"], one["faultDomain"])
            == (shape, domain, fault_domain)
            for one in self._alive()
        )
        return self._tenancy.capacity.get(place, self._tenancy.capacity.get(shape, PLENTY)) - taken

    def check_limits(self, shape: str, domain: str, compartment: str) -> None:
        """Refuse what the tenancy's limits, or the compartment's quota, do not allow.

        Raises:
            RefusedError: LimitExceeded or QuotaExceeded.

        """
        from sandbox.oci.refusals import LIMIT_TEXT  # noqa: PLC0415 - words of this alone

        row = shape_row(shape) or {}
        more = max(1, row.get("gpus", 0))
        names = row.get("quotaNames", [])
        over = [one for one in names if self._used(one, domain) + more > self._limit(one, domain)]
        if over:
            raise RefusedError(400, LIMIT_TEXT.format(names=", ".join(over)), "LimitExceeded")
        for name in names:
            quota = self._tenancy.quotas.get(f"{compartment}/{name}")
            if quota is not None and self._used(name, domain, compartment) + more > quota:
                text = f"Quota exceeded: the compartment's quota {name} is {quota}."
                raise RefusedError(400, text, "QuotaExceeded")

    # --- routes --------------------------------------------------------------------------------

    def _domains(self, region: str, query: Query) -> Result:
        compartment = needed(query, "compartmentId")
        self._check(compartment)
        rows = [
            {"id": f"ocid1.availabilitydomain.oc1..{at}", "name": name,
             "compartmentId": self._tenancy.ocid}
            for at, name in enumerate(self._tenancy.domains(region))
        ]  # fmt: skip
        return Result(rows=tuple(rows), paged=False)

    def _fault_domains(self, region: str, query: Query) -> Result:
        compartment, domain = needed(query, "compartmentId"), needed(query, "availabilityDomain")
        self._check(compartment)
        if domain not in self._tenancy.domains(region):
            raise RefusedError(404)
        rows = [
            {"id": f"ocid1.faultdomain.oc1..{at}", "name": name,
             "compartmentId": self._tenancy.ocid, "availabilityDomain": domain}
            for at, name in enumerate(self._tenancy.fault_domains)
        ]  # fmt: skip
        return Result(rows=tuple(rows), paged=False)

    def _shapes(self, region: str, query: Query) -> Result:
        self._check(needed(query, "compartmentId"))
        domains = [query["availabilityDomain"]] if "availabilityDomain" in query else (
            self._tenancy.domains(region)
        )  # fmt: skip
        image = self._tenancy.images.get(query["imageId"]) if "imageId" in query else None
        if "imageId" in query and image is None:
            raise RefusedError(404)
        rows = [
            row
            for name in all_shapes()
            if any(self.offered(name, one) for one in domains)
            and (image is None or fits(image, name))
            and (row := shape_row(name))
        ]
        return Result(rows=chosen(rows, query, "shape"))

    def _report(self, sent: Sent) -> Result:
        bodies.check(sent.body, "CreateComputeCapacityReportDetails")
        compartment, domain = sent.body["compartmentId"], sent.body["availabilityDomain"]
        if compartment != self._tenancy.ocid or domain not in self._tenancy.domains(sent.region):
            raise RefusedError(404)  # a report is made for the root compartment only
        told = [self._told(one, domain) for one in sent.body["shapeAvailabilities"]]
        return Result({"compartmentId": compartment, "availabilityDomain": domain,
                       "shapeAvailabilities": told,
                       "timeCreated": self._tenancy.stamp()})  # fmt: skip

    def _told(self, one: Json, domain: str) -> Json:
        shape, where = one["instanceShape"], one.get("faultDomain")
        row: Json = {"instanceShape": shape, "faultDomain": where}
        if not self.offered(shape, domain):
            return {**row, "availabilityStatus": "HARDWARE_NOT_SUPPORTED", "availableCount": 0}
        places = [where] if where else self._tenancy.fault_domains
        free = sum(self.free(shape, domain, place) for place in places)
        status = "AVAILABLE" if free > 0 else "OUT_OF_HOST_CAPACITY"
        return {**row, "availabilityStatus": status, "availableCount": max(0, free)}

    def _availability(self, region: str, query: Query, service: str, name: str) -> Result:
        self._check(needed(query, "compartmentId"))
        names = {one for shape in all_shapes() for one in (shape_row(shape) or {})["quotaNames"]}
        domain = needed(query, "availabilityDomain")
        if service != "compute" or name not in names or domain not in self._tenancy.domains(region):
            raise RefusedError(404)
        used, limit = self._used(name, domain), self._limit(name, domain)
        return Result({"used": used, "available": max(0, limit - used)})

    def _values(self, region: str, query: Query) -> Result:
        needed(query, "compartmentId")
        needed(query, "serviceName")
        names = {one for shape in all_shapes() for one in (shape_row(shape) or {})["quotaNames"]}
        rows = [
            {"name": name, "scopeType": "AD", "availabilityDomain": domain,
             "value": self._limit(name, domain)}
            for name in sorted(names) for domain in self._tenancy.domains(region)
        ]  # fmt: skip
        return Result(rows=chosen(rows, query, "scopeType availabilityDomain name"))

    # --- counting ------------------------------------------------------------------------------

    def _alive(self) -> list[Json]:
        rows = self._tenancy.instances.values()
        return [one for one in rows if one["lifecycleState"] not in GONE]

    def _limit(self, name: str, domain: str) -> int:
        limits = self._tenancy.limits
        return limits.get(f"{name}/{domain}", limits.get(name, PLENTY))

    def _used(self, name: str, domain: str, compartment: str | None = None) -> int:
        total = 0
        for one in self._alive():
            row = shape_row(one["shape"])
            if row is None or name not in row["quotaNames"] or one["availabilityDomain"] != domain:
                continue
            if compartment in {None, one["compartmentId"]}:
                total += max(1, row["gpus"])
        return total


def fits(image: Json, shape: str) -> bool:
    """Return whether an image starts on a shape: of the same machine type."""
    known: Any = load().shapes.get(shape)
    arm = known is not None and known.arch == "aarch64"
    return arm == ("aarch64" in image["displayName"])
