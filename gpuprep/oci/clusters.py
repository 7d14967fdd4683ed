"""Which hosts were made to work together: cluster networks, memory clusters, pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuprep.oci.client import Call
from gpuprep.oci.records import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.oci.client import Client
    from gpuprep.oci.records import Compartment


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of cluster.

    Attributes:
        name: as told in ``oci_cluster``.
        path: of its list; members are at ``path/{id}/instances``, or, with ``by_filter``, are
            the instances listed with that query parameter.
        resource: resource type in policies.
        by_filter: see ``path``.
        by_compartment: whether the list of members wants the compartment too.

    """

    name: str
    path: str
    resource: str
    by_filter: str | None = None
    by_compartment: bool = True


# Most telling first: a cluster network has a pool inside, whose name says less.
KINDS: Final = (
    Kind("cluster_network", "/clusterNetworks", "compute-management-family"),
    Kind(
        "gpu_memory_cluster",
        "/computeGpuMemoryClusters",
        "compute-gpu-memory-clusters",
        by_compartment=False,
    ),
    Kind("compute_cluster", "/computeClusters", "compute-clusters", "computeClusterId"),
    Kind("instance_pool", "/instancePools", "compute-management-family"),
)


def members(
    client: Client, kind: Kind, region: str, compartment: Compartment
) -> dict[str, Cluster]:
    """Return the cluster of one kind, by instance OCID: one request, and one more per cluster."""
    base = {"compartmentId": compartment.id}
    policy = f"read {kind.resource} {compartment.where}"
    listing = Call("iaas", region, kind.path, base, compartment.words, policy)
    found: dict[str, Cluster] = {}
    for row in client.all(listing):
        if row.get("lifecycleState") in {"TERMINATED", "DELETED", "TERMINATING", "DELETING"}:
            continue
        cluster = Cluster(kind.name, row["id"], row.get("displayName") or row["id"])
        about = f"{kind.name} {cluster.name} in {compartment.words}"
        if kind.by_filter:
            path, params = "/instances", {**base, kind.by_filter: cluster.id}
        else:
            path = f"{kind.path}/{cluster.id}/instances"
            params = base if kind.by_compartment else {}
        rows = client.all(Call("iaas", region, path, params, about, policy))
        found |= {one["id"]: cluster for one in rows}
    return found


def preferred(answers: Iterable[dict[str, Cluster]]) -> dict[str, Cluster]:
    """Merge answers; a host in several clusters belongs to the kind that stands first."""
    rank = {kind.name: place for place, kind in enumerate(KINDS)}
    merged: dict[str, Cluster] = {}
    for answer in answers:
        for ocid, cluster in answer.items():
            if ocid not in merged or rank[cluster.kind] < rank[merged[ocid].kind]:
                merged[ocid] = cluster
    return merged
