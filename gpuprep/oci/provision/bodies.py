"""What is sent to launch an instance. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpuprep.oci.provision.desired import Capacity
from gpuprep.oci.provision.identity import member_name, tags_of

if TYPE_CHECKING:
    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.provision.placement import Place

# Of Oracle Cloud Agent; a cluster network does not come up without them.
_RDMA_PLUGINS: Final = (
    "Compute HPC RDMA Authentication",
    "Compute HPC RDMA Auto-Configuration",
    "Compute RDMA GPU Monitoring",
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was looked up for a launch.

    Attributes:
        compartment: OCID.
        image: OCID.
        subnet: OCID.
        security_groups: OCIDs.
        rdma: whether the shape sits on a cluster network.
        public_ip: whether the host gets a public address.

    """

    compartment: str
    image: str
    subnet: str
    security_groups: tuple[str, ...] = ()
    rdma: bool = False
    public_ip: bool = False


def launch_body(  # noqa: PLR0913, PLR0917 - each is of the body
    desired: Desired,
    number: int,
    generation: int,
    place: Place,
    resolved: Resolved,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Return the body of LaunchInstance; the same for the same arguments."""
    name = member_name(desired.fleet, number)
    source: dict[str, Any] = {
        "sourceType": "image",
        "imageId": resolved.image,
        "bootVolumeSizeInGBs": desired.boot_volume_gb,
    }
    if desired.boot_volume_vpus is not None:
        source["bootVolumeVpusPerGB"] = desired.boot_volume_vpus
    metadata = {"ssh_authorized_keys": "\n".join(desired.ssh_keys)}
    if desired.user_data is not None:
        metadata["user_data"] = desired.user_data
    body: dict[str, Any] = {
        "compartmentId": resolved.compartment,
        "availabilityDomain": place.domain,
        "faultDomain": place.fault_domain,
        "displayName": name,
        "shape": desired.shape,
        "sourceDetails": source,
        "createVnicDetails": {
            "subnetId": resolved.subnet,
            "assignPublicIp": resolved.public_ip,
            "nsgIds": list(resolved.security_groups),
            # The name of an instance that is still going away is taken in its subnet.
            "hostnameLabel": name if not generation else f"{name}-{generation}",
        },
        "metadata": metadata,
        "instanceOptions": {"areLegacyImdsEndpointsDisabled": True},
        "freeformTags": tags_of(desired, number),
    }
    if resolved.rdma:
        plugins = [{"name": one, "desiredState": "ENABLED"} for one in _RDMA_PLUGINS]
        body["agentConfig"] = {"pluginsConfig": plugins}
    if cluster is not None:
        body["computeClusterId"] = cluster
    if desired.placement.capacity is Capacity.RESERVATION:
        body["capacityReservationId"] = desired.placement.reservation
    if desired.placement.capacity is Capacity.PREEMPTIBLE:
        action = {"type": "TERMINATE", "preserveBootVolume": False}
        body["preemptibleInstanceConfig"] = {"preemptionAction": action}
    return body
