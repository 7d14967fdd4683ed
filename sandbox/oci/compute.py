"""Instances on their way: launched, started, stopped, terminated, and what they say meanwhile."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sandbox.oci import bodies
from sandbox.oci.consoles import Consoles
from sandbox.oci.places import GONE, fits, shape_row
from sandbox.oci.refusals import RefusedError, hidden, no_capacity
from sandbox.oci.retry_tokens import invalidated
from sandbox.oci.routes import Json, Query, Result, Sent, chosen, needed
from sandbox.oci.work_requests import WorkRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.oci.places import Places
    from sandbox.oci.retry_tokens import Tokens
    from sandbox.oci.tenancy import Tenancy

_IMAGE_QUERY: Final = (
    "limit page compartmentId displayName operatingSystem operatingSystemVersion shape "
    "sortBy sortOrder lifecycleState"
)
_LARGEST_METADATA: Final = 32000
# What an action asks of an instance: the states it may be in, on the way, and in the end.
_ACTIONS: Final = {
    "START": ({"STOPPED"}, "STARTING", "RUNNING"),
    "STOP": ({"RUNNING"}, "STOPPING", "STOPPED"),
    "SOFTSTOP": ({"RUNNING"}, "STOPPING", "STOPPED"),
    "RESET": ({"RUNNING"}, "STARTING", "RUNNING"),
    "SOFTRESET": ({"RUNNING"}, "STARTING", "RUNNING"),
}
_IN_ANSWER: Final = (
    "availabilityDomain", "capacityReservationId", "compartmentId", "definedTags", "displayName",
    "extendedMetadata", "freeformTags", "instanceOptions", "launchOptions", "metadata",
    "preemptibleInstanceConfig", "shape",
)  # fmt: skip


class Machines(Protocol):
    """What stands behind instances, where something real does."""

    def start(self, instance: Json, image: Json) -> tuple[str, str]:
        """Start one; gives its address and the public host keys, one a line."""
        ...

    def power(self, instance: Json, *, on: bool) -> None:
        """Switch one on or off."""
        ...

    def remove(self, instance: Json) -> None:
        """Remove one."""
        ...


class Compute:
    """The life of instances.

    Args:
        tenancy: where they are kept.
        tokens: retry tokens.
        places: what there is room for.
        check: refuses a compartment that is not there or not to be seen.

    """

    def __init__(
        self, tenancy: Tenancy, tokens: Tokens, places: Places, check: Callable[[str], None]
    ) -> None:
        self.machines: Machines | None = None
        self.boot_seconds = 0.0
        self.lock = threading.RLock()
        self._tenancy = tenancy
        self._tokens = tokens
        self._places = places
        self._check = check
        self.works = WorkRequests(tenancy, check)

    def table(self) -> dict[tuple[str, str], tuple[Callable[..., Result], str]]:
        """Return the routes."""
        return {
            **self.works.table(),
            **Consoles(self._tenancy).table(),
            ("POST", "/instances"): (self._launch, ""),
            ("POST", "/instances/{id}"): (self._act, "action"),
            ("PUT", "/instances/{id}"): (self._update, ""),
            ("DELETE", "/instances/{id}"): (
                self._terminate, "preserveBootVolume preserveDataVolumesCreatedAtLaunch",
            ),
            ("GET", "/images"): (
                self._images,
                _IMAGE_QUERY,
            ),
            ("POST", "/computeClusters"): (self._create_cluster, ""),
            ("DELETE", "/computeClusters/{id}"): (self._delete_cluster, ""),
        }  # fmt: skip

    # --- time ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let happen what is due."""
        now = self._tenancy.now()
        due = [one for one in self._tenancy.pending if one["at"] <= now]
        for one in due:
            self._tenancy.pending.remove(one)
            instance = self._tenancy.instances.get(one["instance"])
            if instance is not None:
                instance["lifecycleState"] = one["state"]
                if one["state"] == "TERMINATED":
                    self._tenancy.detach(one["instance"])
            if one.get("work"):
                self.works.finish(one["work"], one.get("error"))

    def recover(self) -> None:
        """Give up the instances whose start ended with the emulator that began it."""
        due = {one["instance"] for one in self._tenancy.pending}
        for ocid, instance in self._tenancy.instances.items():
            if instance["lifecycleState"] != "PROVISIONING" or ocid in due:
                continue
            instance["lifecycleState"] = "TERMINATED"
            if self.machines is not None:
                self.machines.remove(instance)
            for work, row in self._tenancy.work_requests.items():
                if row["status"] == "IN_PROGRESS" and row["resources"][0]["identifier"] == ocid:
                    error = {"code": "InternalError", "message": "the emulator was restarted"}
                    self.works.finish(work, error)

    def _later(self, instance: Json, state: str, work: str | None = None,
               error: Json | None = None) -> None:  # fmt: skip
        at = self._tenancy.now() + self.boot_seconds
        self._tenancy.pending.append(
            {"at": at, "instance": instance["id"], "state": state, "work": work, "error": error}
        )

    # --- launch --------------------------------------------------------------------------------

    def _launch(self, sent: Sent) -> Result:
        bodies.check(sent.body, "LaunchInstanceDetails")
        body, now = sent.body, self._tenancy.now()
        self._check(body["compartmentId"])
        earlier = self._tokens.earlier(sent.token, body, now)
        if earlier:
            instance = self._tenancy.instances.get(earlier)
            if instance is None or instance["lifecycleState"] in GONE:
                raise invalidated()
            return Result(instance)
        image, subnet = self._check_launch(sent)
        fault_domain = self._room(body)
        instance = self._instance(sent, image, fault_domain)
        self._tenancy.instances[instance["id"]] = instance
        self._tokens.use(sent.token, body, instance["id"], now)
        work = self.works.open("LaunchInstance", instance)
        self._begin(instance, image, subnet, body, work)
        return Result(instance, headers={"opc-work-request-id": work})

    def _check_launch(self, sent: Sent) -> tuple[Json, Json]:
        body = sent.body
        shape, domain = body["shape"], body["availabilityDomain"]
        if domain not in self._tenancy.domains(sent.region):
            raise RefusedError(400, f"Invalid availabilityDomain {domain}")
        if not self._places.offered(shape, domain):
            raise RefusedError(404, f"shape {shape} not found")
        source = body.get("sourceDetails") or {"imageId": body.get("imageId")}
        image = self._tenancy.images.get(source.get("imageId") or "")
        if image is None:
            raise hidden("image", str(source.get("imageId")))
        if not fits(image, shape):
            raise RefusedError(400, f"Shape {shape} is not valid for image {image['id']}.")
        least = -(-image["sizeInMBs"] // 1024)
        size = source.get("bootVolumeSizeInGBs") or least
        if size < least:
            text = f"bootVolumeSizeInGBs {size} is smaller than the image's {least}"
            raise RefusedError(400, text)
        self._check_options(body)
        return image, self._check_vnic(body)

    def _check_options(self, body: Json) -> None:
        shape, domain = body["shape"], body["availabilityDomain"]
        metadata = body.get("metadata") or {}
        if sum(len(key) + len(one) for key, one in metadata.items()) > _LARGEST_METADATA:
            raise RefusedError(400, "metadata is larger than 32,000 bytes")
        try:
            base64.b64decode(metadata.get("user_data", ""), validate=True)
        except binascii.Error:
            raise RefusedError(400, "metadata.user_data is no base64") from None
        if body.get("preemptibleInstanceConfig") and not shape.startswith("VM."):
            raise RefusedError(400, f"shape {shape} cannot be preemptible")
        cluster = body.get("computeClusterId")
        if cluster:
            found = next((c for c in self._tenancy.compute_clusters if c["id"] == cluster), None)
            if found is None:
                raise hidden("computeCluster", cluster)
            if found.get("availabilityDomain") != domain:
                raise RefusedError(400, "The compute cluster is in another availability domain")
            if not (shape_row(shape) or {}).get("rdmaPorts"):
                raise RefusedError(400, f"shape {shape} cannot join a compute cluster")
        reservation = body.get("capacityReservationId")
        if reservation and reservation not in self._tenancy.reservations:
            raise hidden("capacityReservation", reservation)
        if reservation and self._tenancy.reservations[reservation] != domain:
            raise RefusedError(400, "The capacity reservation is in another availability domain")

    def _check_vnic(self, body: Json) -> Json:
        vnic = body.get("createVnicDetails") or {"subnetId": body.get("subnetId")}
        subnet = self._tenancy.subnets.get(vnic.get("subnetId") or "")
        if subnet is None:
            raise hidden("subnet", str(vnic.get("subnetId")))
        self._check(subnet["compartmentId"])
        for ocid in vnic.get("nsgIds") or ():
            group = self._tenancy.security_groups.get(ocid)
            if group is None or group["vcnId"] != subnet["vcnId"]:
                raise hidden("networkSecurityGroup", ocid)
        if vnic.get("assignPublicIp") and subnet.get("prohibitPublicIpOnVnic"):
            raise RefusedError(400, f"subnet {subnet['id']} prohibits public IP addresses")
        label = vnic.get("hostnameLabel")
        taken = {
            one["hostnameLabel"] for one in self._tenancy.vnics.values()
            if one["subnetId"] == subnet["id"]
        }  # fmt: skip
        if label and label in taken:
            raise RefusedError(400, f"Hostname {label} already used in subnet {subnet['id']}")
        return subnet

    def _room(self, body: Json) -> str:
        """Find the fault domain: the one that is asked for, or one with room."""
        shape, domain = body["shape"], body["availabilityDomain"]
        self._places.check_limits(shape, domain, body["compartmentId"])
        wanted = body.get("faultDomain")
        if wanted and wanted not in self._tenancy.fault_domains:
            raise RefusedError(400, f"Invalid faultDomain {wanted}")
        places = [wanted] if wanted else list(self._tenancy.fault_domains)
        if body.get("capacityReservationId"):
            return str(places[0])
        for place in places:
            if self._places.free(shape, domain, place) > 0:
                return str(place)
        raise no_capacity()

    def _instance(self, sent: Sent, image: Json, fault_domain: str) -> Json:
        body = sent.body
        shape = shape_row(body["shape"]) or {}
        ocid = self._tenancy.new_id("instance")
        if sent.region != self._tenancy.regions[0]:
            self._tenancy.region_of[ocid] = sent.region
        config = body.get("agentConfig") or {}
        given = {name: body[name] for name in _IN_ANSWER if body.get(name) is not None}
        return {
            "displayName": f"instance{self._tenancy.stamp()[:10]}",
            "freeformTags": {}, "definedTags": {}, "metadata": {}, "extendedMetadata": {},
            **given,
            "id": ocid,
            "faultDomain": fault_domain,
            "lifecycleState": "PROVISIONING",
            "region": {"us-ashburn-1": "iad", "us-phoenix-1": "phx"}.get(sent.region, sent.region),
            "imageId": image["id"],
            "sourceDetails": {"sourceType": "image", "imageId": image["id"],
                              **(body.get("sourceDetails") or {})},
            "shapeConfig": {
                "gpus": shape.get("gpus", 0), "gpuDescription": shape.get("gpuDescription"),
                "ocpus": shape.get("ocpus"), "memoryInGBs": shape.get("memoryInGBs"),
                "networkingBandwidthInGbps": 50.0,
            },
            "launchMode": "PARAVIRTUALIZED",
            "agentConfig": {"isMonitoringDisabled": False, "pluginsConfig": [], **config},
            "timeCreated": self._tenancy.stamp(),
        }  # fmt: skip

    def _begin(self, instance: Json, image: Json, subnet: Json, body: Json, work: str) -> None:
        """Let it boot, or fail after it was accepted, if that is what is wanted of it."""
        if body.get("computeClusterId"):
            self._tenancy.members.setdefault(body["computeClusterId"], []).append(instance["id"])
        if self._tenancy.doomed:
            code, message = self._tenancy.doomed.pop(0)
            self._later(instance, "TERMINATED", work, {"code": code, "message": message})
            return
        vnic = body.get("createVnicDetails") or {}
        if self.machines is None:
            self._attach(instance, subnet, vnic, self._free_address(subnet))
            self._tenancy.host_keys[instance["id"]] = _new_host_key(instance["displayName"])
            self._later(instance, "RUNNING", work)
            return
        threading.Thread(
            target=self._boot, args=(instance, image, subnet, vnic, work), daemon=True
        ).start()

    def _boot(self, instance: Json, image: Json, subnet: Json, vnic: Json, work: str) -> None:
        assert self.machines is not None  # noqa: S101 - only called when there are some
        try:
            address, keys = self.machines.start(instance, image)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the work request's error
            with self.lock:
                instance["lifecycleState"] = "TERMINATED"
                self.works.finish(work, {"code": "InternalError", "message": str(error)})
            return
        with self.lock:
            self._attach(instance, subnet, vnic, address)
            self._tenancy.host_keys[instance["id"]] = keys
            self._later(instance, "RUNNING", work)

    def _attach(self, instance: Json, subnet: Json, vnic: Json, address: str) -> None:
        public = f"192.0.2.{int(address.rpartition('.')[2])}"  # of the block for documentation
        wanted = vnic.get("assignPublicIp", not subnet.get("prohibitPublicIpOnVnic"))
        ocid = self._tenancy.vnic(
            instance["id"], subnet["id"], address, public_ip=public if wanted else None
        )
        row = self._tenancy.vnics[ocid]
        row["nsgIds"] = list(vnic.get("nsgIds") or ())
        if vnic.get("hostnameLabel"):
            row["hostnameLabel"] = vnic["hostnameLabel"]

    def _free_address(self, subnet: Json) -> str:
        taken = {
            one["ipAddress"] for one in self._tenancy.private_ips
            if one["subnetId"] == subnet["id"]
        }  # fmt: skip
        hosts = iter(ipaddress.IPv4Network(subnet["cidrBlock"]).hosts())
        next(hosts)  # the router's
        for one in hosts:
            if str(one) not in taken:
                return str(one)
        raise RefusedError(400, f"subnet {subnet['id']} has no free address left")

    # --- what is done to instances -------------------------------------------------------------

    def _get(self, region: str, ocid: str) -> Json:
        one = self._tenancy.instances.get(ocid)
        if one is None or not self._tenancy.is_in(one, region):
            raise RefusedError(404)
        self._check(one["compartmentId"])
        return one

    def _act(self, sent: Sent, ocid: str) -> Result:
        instance = self._get(sent.region, ocid)
        action = needed(sent.query, "action")
        if action not in _ACTIONS:
            raise RefusedError(400, f"action {action!r} is not one of {', '.join(_ACTIONS)}")
        allowed, meanwhile, last = _ACTIONS[action]
        if instance["lifecycleState"] not in allowed:
            state = instance["lifecycleState"]
            raise RefusedError(409, f"Instance {ocid} is in state {state}; {action} cannot be done")
        instance["lifecycleState"] = meanwhile
        if self.machines is not None:
            self.machines.power(instance, on=last == "RUNNING")
        self._later(instance, last)
        return Result(instance)

    def _update(self, sent: Sent, ocid: str) -> Result:
        instance = self._get(sent.region, ocid)
        bodies.check(sent.body, "UpdateInstanceDetails")
        known = {"displayName", "freeformTags", "definedTags", "metadata"}
        odd = sorted(sent.body.keys() - known)
        if odd:
            raise RefusedError(501, f"the emulator cannot change {', '.join(odd)}")
        instance.update(sent.body)
        return Result(instance)

    def _terminate(self, sent: Sent, ocid: str) -> Result:
        instance = self._get(sent.region, ocid)
        if instance["lifecycleState"] == "TERMINATED":
            raise RefusedError(404)
        if instance["lifecycleState"] != "TERMINATING":
            self._tenancy.pending[:] = [
                one for one in self._tenancy.pending if one["instance"] != ocid
            ]
            instance["lifecycleState"] = "TERMINATING"
            if self.machines is not None:
                self.machines.remove(instance)
            self._later(instance, "TERMINATED", self.works.open("TerminateInstance", instance))
        return Result(empty=True)

    def _create_cluster(self, sent: Sent) -> Result:
        bodies.check(sent.body, "CreateComputeClusterDetails")
        body, now = sent.body, self._tenancy.now()
        self._check(body["compartmentId"])
        rows = {one["id"]: one for one in self._tenancy.compute_clusters}
        earlier = self._tokens.earlier(sent.token, body, now)
        if earlier is not None:
            if earlier not in rows:
                raise invalidated()
            return Result(rows[earlier])
        if body["availabilityDomain"] not in self._tenancy.domains(sent.region):
            raise RefusedError(400, f"Invalid availabilityDomain {body['availabilityDomain']}")
        row = {
            "displayName": "computecluster", "freeformTags": {}, "definedTags": {}, **body,
            "id": self._tenancy.new_id("computecluster"), "lifecycleState": "ACTIVE",
            "timeCreated": self._tenancy.stamp(),
        }  # fmt: skip
        self._tenancy.compute_clusters.append(row)
        self._tenancy.members[row["id"]] = []
        self._tokens.use(sent.token, body, row["id"], now)
        return Result(row)

    def _delete_cluster(self, _: Sent, ocid: str) -> Result:
        rows = self._tenancy.compute_clusters
        if ocid not in {one["id"] for one in rows}:
            raise RefusedError(404)
        if self._tenancy.members.get(ocid):
            raise RefusedError(409, f"Compute cluster {ocid} has instances")
        rows[:] = [one for one in rows if one["id"] != ocid]
        return Result(empty=True)

    # --- what is told --------------------------------------------------------------------------

    def _images(self, _: str, query: Query) -> Result:
        self._check(needed(query, "compartmentId"))
        shape = query.get("shape")
        if shape is not None and shape_row(shape) is None:
            raise RefusedError(404, f"shape {shape} not found")
        rows = [
            one for one in self._tenancy.images.values()  # those of the platform are everywhere
            if one["compartmentId"] in {None, query["compartmentId"]}
            and (shape is None or fits(one, shape))
        ]  # fmt: skip
        names = "displayName operatingSystem operatingSystemVersion lifecycleState"
        return Result(rows=chosen(rows, query, names))


def _new_host_key(name: str) -> str:
    public: Any = Ed25519PrivateKey.generate().public_key()
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{public.public_bytes(*form).decode()} root@{name}"
