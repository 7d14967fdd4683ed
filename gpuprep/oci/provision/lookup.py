"""What is looked up before anything is made, and refused if nothing could be done with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuprep import codes
from gpuprep.oci.provision import images, network, placement
from gpuprep.oci.provision.bodies import Resolved
from gpuprep.oci.provision.failures import RefusedError

if TYPE_CHECKING:
    from gpuprep.catalog import Catalog, Shape
    from gpuprep.oci.provision.calls import Cloud
    from gpuprep.oci.provision.desired import Desired
    from gpuprep.oci.records import Compartment


def check_shape(desired: Desired, catalog: Catalog) -> Shape:
    """Return the catalog's shape.

    Raises:
        RefusedError: it is none that can be launched and prepared.

    """
    shape = catalog.shapes.get(desired.shape)
    if shape is None:
        raise RefusedError(codes.refusal("E_OCI_NO_GPU_SHAPE", shape=desired.shape))
    if shape.vendor != "nvidia":
        raise RefusedError(codes.refusal("E_AMD_SHAPE", shape=desired.shape))
    if shape.fabric == "imex":
        raise RefusedError(codes.refusal("E_OCI_MEMORY_CLUSTER", shape=desired.shape))
    return shape


@dataclass(slots=True)
class Lookup:
    """Looks up image and subnet.

    Attributes:
        desired: the fleet.
        cloud: where.
        catalog: what can be prepared.
        subnet_compartment: where a subnet is looked for by its name.
        details: what was found, for the result.
        login: user of the image, once it is known.

    """

    desired: Desired
    cloud: Cloud
    catalog: Catalog
    subnet_compartment: Compartment
    details: dict[str, Any] = field(default_factory=dict)
    login: str | None = None

    def resolve(self, *, make: bool) -> Resolved:
        """Return what a launch needs; make the network if it is the fleet's own.

        Raises:
            RefusedError: something is not there, or not fit.

        """
        shape = self.catalog.shapes[self.desired.shape]
        image = self._image(shape)
        subnet, groups = self._network(make=make)
        return Resolved(
            self.cloud.compartment.id, image, subnet or "", groups, shape.rdma,
            self.desired.network.public_ip,
        )  # fmt: skip

    def domains(self) -> tuple[str, ...]:
        """Return the availability domains that are allowed, in the order in which they are asked.

        Raises:
            RefusedError: there is none: the region, a reservation or a compute cluster is
                elsewhere.

        """
        wanted = self.desired.placement
        found = placement.chosen_domains(self.cloud.domains(), wanted)
        named = ", ".join(wanted.availability_domains)
        if not found:
            where = f"in region {self.cloud.region}"
            raise RefusedError(codes.refusal("E_OCI_DOMAIN", wanted=named, where=where))
        bound = []
        if wanted.reservation is not None:
            bound.append((f"/computeCapacityReservations/{wanted.reservation}",
                          "compute-capacity-reservations"))  # fmt: skip
        if wanted.compute_cluster not in {"auto", "none"}:
            bound.append((f"/computeClusters/{wanted.compute_cluster}", "compute-clusters"))
        for path, resource in bound:
            domain = self.cloud.domain_of(path, resource)
            if domain not in found:
                where = f"where {path[1:]} is, which is {domain}"
                told = named or ", ".join(map(placement.short, found))
                raise RefusedError(codes.refusal("E_OCI_DOMAIN", wanted=told, where=where))
            found = (domain,)
        return found

    def check_named_system(self, shape: Shape) -> None:
        """Refuse a system that hosts could not be prepared with, before a request is sent."""
        choice = self.desired.image
        if choice.os is not None and choice.version is not None:
            system = images.system_of(images.oci_name(choice.os), choice.version)
            self._refuse(images.check_system(system, shape.arch, self.catalog, choice))

    def _refuse(self, refusal: Any) -> None:  # noqa: ANN401 - a refusal or None
        if refusal is not None:
            raise RefusedError(refusal)

    def _image(self, shape: Shape) -> str:
        choice = self.desired.image
        if choice.ocid is not None:
            image = self.cloud.image(choice.ocid)
            system = images.system_of(image.os, image.version)
            self._refuse(images.check_system(system, shape.arch, self.catalog, choice))
            self.login = images.login_of(image.os)
            self.details["image"] = image.name
            return choice.ocid
        name = images.oci_name(choice.os or "")
        rows = self.cloud.images(name, choice.version or "", self.desired.shape)
        found = images.newest(rows, shape.arch, choice)
        if found is None:
            system = f"{name} {choice.version} for {shape.arch}"
            raise RefusedError(
                codes.refusal("E_OCI_IMAGE", system=system, shape=self.desired.shape,
                              count=len(rows))
            )  # fmt: skip
        self.login = images.login_of(name)
        self.details["image"] = found.get("displayName")
        return str(found["id"])

    def _network(self, *, make: bool) -> tuple[str | None, tuple[str, ...]]:
        wanted = self.desired.network
        if wanted.create:
            if not make:
                there = network.find(self.cloud, self.desired)
                self.details["subnet"] = there or f"would be made: {wanted.cidr}"
                return there, ()
            subnet, group = network.find_or_make(self.cloud, self.desired)
            self.details["subnet"] = subnet
            return subnet, (group,)
        subnet = wanted.subnet or ""
        if not subnet.startswith("ocid1.subnet."):
            rows = self.cloud.subnets(self.subnet_compartment, subnet)
            if len(rows) != 1:
                refusal = codes.refusal(
                    "E_OCI_SUBNET", subnet=subnet, count=len(rows),
                    where=self.subnet_compartment.words,
                )  # fmt: skip
                raise RefusedError(refusal)
            subnet = str(rows[0]["id"])
            if wanted.public_ip and rows[0].get("prohibitPublicIpOnVnic"):
                raise RefusedError(codes.refusal("E_OCI_PUBLIC_IP", subnet=wanted.subnet or ""))
        self.details["subnet"] = subnet
        return subnet, wanted.security_groups
