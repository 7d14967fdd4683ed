"""The requests that provisioning makes, and reading what they answer."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gpuprep.oci.client import Call, CallFailedError
from gpuprep.oci.provision import placement
from gpuprep.oci.provision.identity import resource_token
from gpuprep.oci.records import Addresses, Image, Instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gpuprep.oci.client import Client, Json, Reply
    from gpuprep.oci.records import Compartment

_MANAGE: Final = "manage instance-family"
_CONSOLE_BYTES: Final = 1 << 20  # OCI keeps a megabyte of it
_UNDER_WAY: Final = frozenset({"REQUESTED", "GETTING-HISTORY"})
_RENEWALS: Final = 3


class Cloud:
    """What a fleet needs of the cloud, in one region and compartment.

    Args:
        client: signed in.
        region: e.g. ``us-ashburn-1``.
        compartment: of the instances.

    """

    def __init__(self, client: Client, region: str, compartment: Compartment) -> None:
        self.client = client
        self.region = region
        self.compartment = compartment

    # --- reading -------------------------------------------------------------------------------

    def instances(self) -> list[Instance]:
        """Return all instances of the compartment: those that are gone stay listed for a while."""
        call = self._read("/instances", "read instance-family")
        rows = self.client.all(call)
        return [Instance.from_json(one, self.region, self.compartment) for one in rows]

    def domains(self) -> list[str]:
        """Return the names of the region's availability domains."""
        params = {"compartmentId": self.compartment.id}
        call = Call("identity", self.region, "/availabilityDomains", params,
                    f"region {self.region}", "inspect compartments in tenancy")  # fmt: skip
        return [str(one["name"]) for one in self.client.whole(call)]

    def domain_of(self, path: str, resource: str) -> str:
        """Return the availability domain that a reservation or a compute cluster is in."""
        call = Call("iaas", self.region, path, {}, path[1:],
                    f"use {resource} {self.compartment.where}")  # fmt: skip
        return str(self.client.get(call).get("availabilityDomain"))

    def survey(self, domain: str, shape: str, root: str | None) -> placement.Survey | None:
        """Return what is known of a domain; None = it does not have the shape.

        What the cloud does not tell of limits and capacity is no reason not to ask for a host.
        """
        where = {"availabilityDomain": domain}
        shapes = self._read("/shapes", "read instance-family", {**where, "shape": shape})
        # The filter is newer than the list; a service that overlooks it tells all shapes.
        row = next((one for one in self.client.all(shapes) if one["shape"] == shape), None)
        if row is None:
            return None
        params = {"compartmentId": self.compartment.id, **where}
        faults = Call("identity", self.region, "/faultDomains", params, f"domain {domain}",
                      "inspect compartments in tenancy")  # fmt: skip
        names = tuple(str(one["name"]) for one in self.client.whole(faults))
        limits = {name: self._left(name, domain) for name in row.get("quotaNames") or ()}
        hints = placement.Hints(limits, self._capacity(domain, shape, names, root))
        billed = bool(row.get("isBilledForStoppedInstance"))
        return placement.Survey(names, hints, billed, bool(row.get("rdmaPorts")))

    def _left(self, limit: str, domain: str) -> int | None:
        path = f"/services/compute/limits/{limit}/resourceAvailability"
        params = {"compartmentId": self.compartment.id, "availabilityDomain": domain}
        call = Call("limits", self.region, path, params, f"limit {limit}",
                    "inspect resource-availability in tenancy")  # fmt: skip
        try:
            left = self.client.get(call).get("available")
        except CallFailedError as error:
            if _only_a_hint(error):
                return None
            raise
        return int(left) if isinstance(left, int | float) else None

    def _capacity(
        self, domain: str, shape: str, names: Iterable[str], root: str | None
    ) -> dict[str, str]:
        if root is None:  # a report is made for the tenancy as a whole
            return {}
        asked = [{"instanceShape": shape, "faultDomain": name} for name in names]
        body = {"compartmentId": root, "availabilityDomain": domain, "shapeAvailabilities": asked}
        call = Call(
            "iaas", self.region, "/computeCapacityReports", {}, f"capacity of {domain}",
            "manage compute-capacity-reports in tenancy", "POST", body, _once(),
        )  # fmt: skip
        try:
            rows = self.client.get(call)["shapeAvailabilities"]
        except CallFailedError as error:
            if _only_a_hint(error):
                return {}
            raise
        return {
            str(one.get("faultDomain")): str(one.get("availabilityStatus", "AVAILABLE"))
            for one in rows
        }

    def images(self, os: str, version: str, shape: str) -> list[Json]:
        """Return the images of a system that start on a shape."""
        params = {
            "operatingSystem": os, "operatingSystemVersion": version, "shape": shape,
            "lifecycleState": "AVAILABLE", "sortBy": "TIMECREATED", "sortOrder": "DESC",
        }  # fmt: skip
        return self.client.all(self._read("/images", "read instance-images", params))

    def image(self, ocid: str) -> Image:
        """Return an image."""
        call = Call("iaas", self.region, f"/images/{ocid}", {}, f"image {ocid}",
                    "read instance-images in tenancy")  # fmt: skip
        return Image.from_json(self.client.get(call))

    def subnets(self, compartment: Compartment, name: str) -> list[Json]:
        """Return the subnets of a name."""
        params = {"compartmentId": compartment.id, "displayName": name}
        call = Call("iaas", self.region, "/subnets", params, f"subnet {name}",
                    f"use virtual-network-family {compartment.where}")  # fmt: skip
        return self.client.all(call)

    def addresses(self, ocids: Iterable[str]) -> dict[str, Addresses]:
        """Return how instances are reached, by their primary VNIC; who has none is left out."""
        wanted = set(ocids)
        rows = self.client.all(self._read("/vnicAttachments", "read instance-family"))
        found: dict[str, Addresses] = {}
        for row in rows:
            instance, vnic = row["instanceId"], row.get("vnicId")
            attached = row.get("lifecycleState") == "ATTACHED"
            if instance not in wanted or not attached or not vnic or instance in found:
                continue
            call = Call("iaas", self.region, f"/vnics/{vnic}", {}, f"VNIC of {instance}",
                        f"use virtual-network-family {self.compartment.where}")  # fmt: skip
            raw = self.client.get(call)
            if raw.get("isPrimary", True):
                found[instance] = Addresses.from_vnic(raw)
        return found

    def console(self, ocid: str, wait: Callable[[], bool]) -> str | None:
        """Return what an instance has written to its console; None = it cannot be had now.

        Args:
            ocid: the instance.
            wait: waits a moment, and tells whether there is time left.

        """
        body = {"instanceId": ocid}
        base = "/instanceConsoleHistories"
        about, policy = f"console of {ocid}", f"manage console-histories {self.compartment.where}"
        row = self.client.get(
            Call("iaas", self.region, base, {}, about, policy, "POST", body, _once())
        )
        path = f"{base}/{row['id']}"
        while row.get("lifecycleState") not in {"SUCCEEDED", "FAILED"}:
            row = self.client.get(Call("iaas", self.region, path, {}, about, policy))
            if row.get("lifecycleState") in _UNDER_WAY and not wait():
                return None
        if row["lifecycleState"] == "FAILED":
            return None
        length = {"length": _CONSOLE_BYTES}
        text = self.client.text(Call("iaas", self.region, f"{path}/data", length, about, policy))
        # A tenancy keeps few of them; that one cannot be removed spoils nothing.
        with suppress(CallFailedError):
            self.client.change(Call("iaas", self.region, path, {}, about, policy, "DELETE"))
        return text

    def why_it_failed(self, work_request: str | None, ocid: str) -> tuple[str, str] | None:
        """Return code and words of the error that ended a launch; None = it tells none.

        Where we may not read it, that is what is told.
        """
        try:
            return self._error_of(work_request, ocid)
        except CallFailedError as error:
            if not error.hidden:
                raise
            return "NotToBeRead", f"its work request cannot be read: {error}"

    def _error_of(self, work_request: str | None, ocid: str) -> tuple[str, str] | None:
        if work_request is None:
            params = {"resourceId": ocid}
            rows = self.client.all(self._read("/workRequests", "inspect work-requests", params))
            work_request = next((one["id"] for one in rows), None)
        if work_request is None:
            return None
        call = Call("iaas", self.region, f"/workRequests/{work_request}/errors", {},
                    f"work request {work_request}",
                    f"inspect work-requests {self.compartment.where}")  # fmt: skip
        errors = self.client.all(call)
        if not errors:
            return None
        return str(errors[-1].get("code", "")), str(errors[-1].get("message", ""))

    # --- changing ------------------------------------------------------------------------------

    def launch(self, name: str, body: Mapping[str, Any], token: str) -> tuple[Instance, str | None]:
        """Launch an instance; gives it and its work request."""
        call = Call(
            "iaas", self.region, "/instances", {}, f"host {name}",
            f"{_MANAGE} {self.compartment.where}", "POST", body, token,
        )  # fmt: skip
        reply = self.client.change(call)
        instance = Instance.from_json(reply.data, self.region, self.compartment)
        return instance, reply.headers.get("opc-work-request-id")

    def act(self, instance: Instance, action: str) -> None:
        """Start or stop an instance."""
        params = {"action": action}
        self._change(f"/instances/{instance.id}", params, instance.name, "POST", _once())

    def terminate(self, instance: Instance) -> None:
        """Terminate an instance, its boot volume with it."""
        params = {"preserveBootVolume": "false"}
        self._change(f"/instances/{instance.id}", params, instance.name, "DELETE", None)

    def _change(
        self, path: str, params: Mapping[str, Any], name: str, method: Any, token: str | None  # noqa: ANN401 - a literal
    ) -> Reply:  # fmt: skip
        policy = f"{_MANAGE} {self.compartment.where}"
        call = Call("iaas", self.region, path, params, f"host {name}", policy, method, None, token)
        return self.client.change(call)

    # --- parts that are found or made ----------------------------------------------------------

    def find(self, path: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Json | None:
        """Return the resource of a list that has our tags."""
        policy = _policy_of(path, "read")
        rows = self.client.all(self._read(path, policy, params))
        for row in rows:
            state = row.get("lifecycleState", "AVAILABLE")
            theirs = row.get("freeformTags") or {}
            if state in {"AVAILABLE", "ACTIVE"} and tags.items() <= theirs.items():
                return row
        return None

    def make(self, fleet: str, path: str, body: Mapping[str, Any]) -> Json:
        """Make a resource, once however often it is asked for."""
        for attempt in range(_RENEWALS):
            call = Call(
                "iaas", self.region, path, {}, f"{path[1:]} of fleet {fleet}",
                f"{_policy_of(path, 'manage')} {self.compartment.where}", "POST", body,
                resource_token(fleet, path, body, attempt),
            )  # fmt: skip
            try:
                return self.client.get(call)
            except CallFailedError as error:
                # That of one that was made and removed within a day.
                if error.answer.code != "InvalidatedRetryToken" or attempt == _RENEWALS - 1:
                    raise
        raise AssertionError(path)

    def rules(self, group: str) -> list[Json]:
        """Return the rules of a network security group."""
        call = Call("iaas", self.region, f"/networkSecurityGroups/{group}/securityRules", {},
                    f"rules of {group}",
                    f"manage virtual-network-family {self.compartment.where}")  # fmt: skip
        return self.client.all(call)

    def add_rules(self, group: str, rules: Iterable[Mapping[str, Any]]) -> None:
        """Add rules to a network security group."""
        path = f"/networkSecurityGroups/{group}/actions/addSecurityRules"
        call = Call("iaas", self.region, path, {}, f"rules of {group}",
                    f"manage virtual-network-family {self.compartment.where}", "POST",
                    {"securityRules": [dict(one) for one in rules]})  # fmt: skip
        self.client.change(call)

    def remove_cluster(self, ocid: str) -> None:
        """Remove a compute cluster that nothing is in."""
        policy = f"manage compute-clusters {self.compartment.where}"
        path = f"/computeClusters/{ocid}"
        self.client.change(Call("iaas", self.region, path, {}, path[1:], policy, "DELETE"))

    def _read(self, path: str, verb: str, params: Mapping[str, Any] | None = None) -> Call:
        query = {"compartmentId": self.compartment.id, **(params or {})}
        policy = f"{verb} {self.compartment.where}"
        return Call("iaas", self.region, path, query, self.compartment.words, policy)


def _policy_of(path: str, verb: str) -> str:
    family = "compute-clusters" if path == "/computeClusters" else "virtual-network-family"
    return f"{verb} {family}"


def _only_a_hint(error: CallFailedError) -> bool:
    """Return whether a refusal only means that we may not know."""
    return error.answer.status in {400, 404}


def _once() -> str:
    """Return a token for a request that is repeated only by us, and only now."""
    return uuid.uuid4().hex
