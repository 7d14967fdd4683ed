"""Work requests: what becomes of something that was accepted and takes its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.oci.refusals import RefusedError
from sandbox.oci.routes import Json, Query, Result, needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.oci.tenancy import Tenancy


class WorkRequests:
    """Opened, finished and told; with their errors."""

    def __init__(self, tenancy: Tenancy, check: Callable[[str], None]) -> None:
        self._tenancy = tenancy
        self._check = check

    def table(self) -> dict[tuple[str, str], tuple[Callable[..., Result], str]]:
        """Return the routes."""
        return {
            ("GET", "/workRequests"): (self._works, "limit page compartmentId resourceId"),
            ("GET", "/workRequests/{id}"): (self._work, ""),
            ("GET", "/workRequests/{id}/errors"): (self._work_errors, "limit page sortOrder"),
        }

    def open(self, kind: str, instance: Json) -> str:
        """Open one about an instance; gives its OCID."""
        ocid = self._tenancy.new_id("coreservicesworkrequest")
        self._tenancy.work_requests[ocid] = {
            "id": ocid, "operationType": kind, "status": "IN_PROGRESS", "percentComplete": 0.0,
            "compartmentId": instance["compartmentId"], "timeAccepted": self._tenancy.stamp(),
            "resources": [{"actionType": "CREATED", "entityType": "instance",
                           "identifier": instance["id"],
                           "entityUri": f"/instances/{instance['id']}"}],
        }  # fmt: skip
        return ocid

    def finish(self, work: str, error: Json | None) -> None:
        """End one, well or with an error."""
        row = self._tenancy.work_requests[work]
        row.update(status="FAILED" if error else "SUCCEEDED", percentComplete=100.0,
                   timeFinished=self._tenancy.stamp())  # fmt: skip
        if error:
            told = {**error, "timestamp": self._tenancy.stamp()}
            self._tenancy.work_errors.setdefault(work, []).append(told)

    def _works(self, _: str, query: Query) -> Result:
        compartment = needed(query, "compartmentId")
        self._check(compartment)
        rows = [
            {key: one for key, one in row.items() if key != "resources"}
            for row in self._tenancy.work_requests.values()
            if row["compartmentId"] == compartment
            and query.get("resourceId") in {None, row["resources"][0]["identifier"]}
        ]
        return Result(rows=tuple(rows))

    def _work(self, _: str, __: Query, ocid: str) -> Result:
        if ocid not in self._tenancy.work_requests:
            raise RefusedError(404)
        return Result(self._tenancy.work_requests[ocid])

    def _work_errors(self, _: str, __: Query, ocid: str) -> Result:
        if ocid not in self._tenancy.work_requests:
            raise RefusedError(404)
        return Result(rows=tuple(self._tenancy.work_errors.get(ocid, ())))
