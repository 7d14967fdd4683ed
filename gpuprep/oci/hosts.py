"""From records to hosts: variables and groups. Pure."""

from __future__ import annotations

import re
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from gpuprep.oci.gpu import GpuFacts, gpu_facts, has_gpu
from gpuprep.oci.records import Addresses, Cluster, Host, Image, Instance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuprep.catalog import Shape
    from gpuprep.oci.options import Options

# Written by Oracle on every resource, with a time stamp: would give every host a group of its own.
_NOISY_NAMESPACE: Final = "Oracle-Tags"
# No name server knows it (RFC 2606). Without an address of its own, a host would be connected to
# by its name, which is whatever the instance was called.
NOWHERE: Final = "address-missing.invalid"
# Login users of OCI's platform images: docs.oracle.com, "Connecting to an Instance".
_IMAGE_OS: Final[Mapping[str, tuple[str, str | None]]] = {
    "Oracle Linux": ("oracle", "opc"),
    "Oracle Autonomous Linux": ("oracle", "opc"),
    "CentOS": ("centos", "opc"),
    "Canonical Ubuntu": ("ubuntu", "ubuntu"),
}


class Composer:
    """Makes hosts of what was listed."""

    def __init__(self, options: Options, shapes: Mapping[str, Shape]) -> None:
        self._options = options
        self._shapes = shapes
        self._facts: dict[tuple[str, int], GpuFacts] = {}
        self.group_parents: dict[str, tuple[str, ...]] = {}
        self.unknown_shapes: set[str] = set()

    def host(
        self,
        name: str,
        instance: Instance,
        addresses: Addresses | None,
        image: Image | None = None,
        cluster: Cluster | None = None,
    ) -> Host:
        """Make one host."""
        groups = [self._shape_group(instance), *self._place_groups(instance)]
        groups += _tag_groups(instance, self._options.tag_groups)
        if image:
            groups.append(_os_group(image))
        if cluster:
            groups.append(group_name("cluster", cluster.name))
        variables = self._variables(instance, addresses, image, cluster)
        return Host(name, instance.id, tuple(dict.fromkeys(groups)), variables)

    def _shape_group(self, instance: Instance) -> str:
        group = group_name("shape", instance.shape)
        gpu = self._gpu(instance)
        if gpu and group not in self.group_parents:
            self.group_parents[group] = gpu.groups
            if not gpu.known:
                self.unknown_shapes.add(instance.shape)
        return group

    def _gpu(self, instance: Instance) -> GpuFacts | None:
        if not has_gpu(instance, self._shapes):
            return None
        key = (instance.shape, instance.gpus)
        if key not in self._facts:
            self._facts[key] = gpu_facts(instance, self._shapes)
        return self._facts[key]

    def _place_groups(self, instance: Instance) -> list[str]:
        region = group_name("region", instance.region)
        groups = [region]
        if instance.availability_domain:
            groups = [group_name("ad", instance.availability_domain)]
            self.group_parents.setdefault(groups[0], (region,))
        if instance.fault_domain:
            groups.append(group_name("fd", instance.fault_domain))
        if instance.compartment.name:
            groups.append(group_name("compartment", instance.compartment.name))
        return groups

    def _variables(
        self,
        instance: Instance,
        addresses: Addresses | None,
        image: Image | None,
        cluster: Cluster | None,
    ) -> dict[str, Any]:
        """Return the host's variables; what is not known or not there is left out.

        Tags are always there, possibly empty: expressions look into them.
        """
        compartment = instance.compartment
        gpu = self._gpu(instance)
        facts = {
            "id": instance.id,
            "display_name": instance.name,
            "shape": instance.shape,
            "state": instance.state,
            "region": instance.region,
            "ad": instance.availability_domain,
            "fault_domain": instance.fault_domain,
            "compartment": _present(
                id=compartment.id, name=compartment.name, path=compartment.path
            ),
            "gpu": dict(gpu.variables) if gpu else None,
            "image": image and asdict(image),
            "image_id": instance.image_id,
            "time_created": instance.time_created,
            "capacity_reservation_id": instance.capacity_reservation_id,
            "instance_configuration_id": instance.instance_configuration_id,
            "shape_config": dict(instance.shape_config),
            "cluster": cluster and asdict(cluster),
            **_address_facts(addresses),
        }
        always = {
            "freeform_tags": dict(instance.freeform_tags),
            "defined_tags": {space: dict(tags) for space, tags in instance.defined_tags.items()},
            "agent_plugins": list(instance.agent_plugins),
        }
        prefix = self._options.hostvars_prefix
        variables = {prefix + key: value for key, value in (_present(**facts) | always).items()}
        login = self._options.ssh_user or (image and _IMAGE_OS.get(image.os, ("", None))[1])
        address = addresses and first(self._options.ansible_host_from, addresses)
        return variables | {"ansible_host": address or NOWHERE} | _present(ansible_user=login)


def first(preference: Iterable[str], addresses: Addresses) -> str | None:
    """Return the first address that is there."""
    return next((value for kind in preference if (value := addresses.get(kind))), None)


@lru_cache(maxsize=4096)
def group_name(kind: str, value: str) -> str:
    """Make a valid group name, in lower case: ``shape_bm_gpu_a10_4``."""
    return f"{kind}_" + re.sub(r"\W", "_", value).lower()


def _address_facts(addresses: Addresses | None) -> dict[str, Any]:
    if addresses is None:
        return {"address_missing": True}
    return {
        "private_ip": addresses.private_ip,
        "public_ip": addresses.public_ip,
        "ipv6": list(addresses.ipv6),
        "fqdn": addresses.get("fqdn"),
        "subnet_id": addresses.subnet_id,
        "vnic_id": addresses.vnic_id,
    }


def _os_group(image: Image) -> str:
    family = _IMAGE_OS.get(image.os, (image.os, None))[0]
    return group_name("os", f"{family}_{image.version.split()[0] if image.version else ''}")


def _tag_groups(instance: Instance, patterns: Sequence[str]) -> list[str]:
    tags = [("tag", key, value) for key, value in instance.freeform_tags.items()]
    for space, values in instance.defined_tags.items():
        if space != _NOISY_NAMESPACE:
            tags += [("dtag", f"{space}.{key}", value) for key, value in values.items()]
    return [
        group_name(kind, f"{key}_{value}" if value not in {None, ""} else key)
        for kind, key, value in tags
        if any(fnmatchcase(key, pattern) for pattern in patterns)
    ]


def _present(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - any variable's value
    return {key: value for key, value in values.items() if value}
