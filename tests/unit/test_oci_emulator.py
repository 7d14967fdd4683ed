"""The emulator is faithful where we can tell: the SDK's typed clients read all it says."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import oci
import pytest

from sandbox.oci import keys
from sandbox.oci.api import RefusedError
from sandbox.oci.faults import Bucket, Fault
from sandbox.oci.server import Emulator, Knobs
from sandbox.oci.signature import Request
from sandbox.oci.tenancy import REGION, Tenancy, fleet, of_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHAPE = "BM.GPU.H100.8"
Models = oci.core.models


def world() -> Tenancy:
    tenancy = fleet(250, SHAPE, 8)
    place = tenancy.compartments[0]["id"]
    first = next(iter(tenancy.instances))
    net = next(iter(tenancy.subnets))
    tenancy.vnic(first, net, "10.9.0.9", primary=False, public_ip="129.1.1.1", ipv6=["2603::1"])
    for kind in ("pools", "cluster_networks", "compute_clusters", "memory_clusters"):
        tenancy.cluster(kind, f"my {kind}", place, [first])
    return tenancy


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return keys.create(tmp_path_factory.mktemp("oci"), Tenancy().ocid, REGION)


@pytest.fixture(scope="module")
def emulator(credentials: keys.Credentials) -> Iterator[Emulator]:
    with Emulator(world(), {credentials.key_id: credentials.public_key}) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, credentials: keys.Credentials) -> Any:
    config = oci.config.from_file(str(credentials.config))

    def make(kind: type[Any]) -> Any:
        return kind(
            config, service_endpoint=emulator.url, retry_strategy=oci.retry.NoneRetryStrategy()
        )

    return make


@pytest.mark.parametrize(
    ("rows", "model"),
    [
        ("instances", Models.Instance),
        ("attachments", Models.VnicAttachment),
        ("vnics", Models.Vnic),
        ("private_ips", Models.PrivateIp),
        ("public_ips", Models.PublicIp),
        ("ipv6s", Models.Ipv6),
        ("subnets", Models.Subnet),
        ("vcns", Models.Vcn),
        ("images", Models.Image),
        ("pools", Models.InstancePoolSummary),
        ("cluster_networks", Models.ClusterNetworkSummary),
        ("compute_clusters", Models.ComputeClusterSummary),
        ("memory_clusters", Models.ComputeGpuMemoryClusterSummary),
        ("compartments", oci.identity.models.Compartment),
    ],
)
def test_fields_are_those_of_the_sdks_models(emulator: Emulator, rows: str, model: Any) -> None:
    table = getattr(emulator.api.tenancy, rows)
    found = list(table.values()) if isinstance(table, dict) else table
    assert found
    known = set(model().attribute_map.values())
    for row in found:
        assert set(row) <= known


def test_the_typed_clients_read_every_list(emulator: Emulator, client: Any) -> None:
    tenancy = emulator.api.tenancy
    place = tenancy.compartments[0]["id"]
    pages = oci.pagination.list_call_get_all_results
    compute = client(oci.core.ComputeClient)
    network = client(oci.core.VirtualNetworkClient)
    instances = pages(compute.list_instances, place).data
    assert len(instances) == 125
    assert instances[0].shape_config.gpus == 8
    attachments = pages(compute.list_vnic_attachments, place).data
    assert len(attachments) == 126
    assert network.get_vnic(attachments[0].vnic_id).data.private_ip
    subnet = attachments[0].subnet_id
    assert network.get_subnet(subnet).data.prohibit_public_ip_on_vnic is True
    assert len(pages(network.list_private_ips, subnet_id=subnet).data) == 126
    assert [one.ip_address for one in network.list_ipv6s(subnet_id=subnet).data] == ["2603::1"]
    public = network.list_public_ips(
        "AVAILABILITY_DOMAIN", place, availability_domain=instances[0].availability_domain
    ).data
    assert [one.ip_address for one in public] == ["129.1.1.1"]
    assert compute.get_image(instances[0].image_id).data.operating_system == "Oracle Linux"
    assert compute.get_instance(instances[3].id).data.display_name == instances[3].display_name


def test_the_typed_clients_read_clusters_and_the_tenancy(emulator: Emulator, client: Any) -> None:
    tenancy = emulator.api.tenancy
    place = tenancy.compartments[0]["id"]
    compute = client(oci.core.ComputeClient)
    management = client(oci.core.ComputeManagementClient)
    (pool,) = management.list_instance_pools(place).data
    assert len(management.list_instance_pool_instances(place, pool.id).data) == 1
    (network,) = management.list_cluster_networks(place).data
    assert len(management.list_cluster_network_instances(place, network.id).data) == 1
    (cluster,) = compute.list_compute_clusters(place).data.items
    assert len(compute.list_instances(place, compute_cluster_id=cluster.id).data) == 1
    (rack,) = compute.list_compute_gpu_memory_clusters(place).data.items
    members = compute.list_compute_gpu_memory_cluster_instances(rack.id)
    assert len(members.data.items) == 1
    identity = client(oci.identity.IdentityClient)
    tree = identity.list_compartments(tenancy.ocid, compartment_id_in_subtree=True).data
    assert [one.name for one in tree] == ["team0", "team1"]
    (region,) = identity.list_region_subscriptions(tenancy.ocid).data
    assert (region.region_name, region.status) == (REGION, "READY")


def test_errors_are_oracles(emulator: Emulator, client: Any) -> None:
    network = client(oci.core.VirtualNetworkClient)
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        network.get_vnic("ocid1.vnic.oc1.iad.none")
    assert (caught.value.status, caught.value.code) == (404, "NotAuthorizedOrNotFound")
    assert "/" in caught.value.request_id
    emulator.faults.append(Fault("vnics", 429, 1))
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        network.get_vnic("ocid1.vnic.oc1.iad.none")
    assert caught.value.status == 429


def status_of(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:  # noqa: S310 - loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_unsigned_and_wrongly_signed_requests_are_refused(
    emulator: Emulator, credentials: keys.Credentials, tmp_path: Path
) -> None:
    url = f"{emulator.url}/20160918/images/x"
    assert status_of(url) == 401
    now = oci.signer.email.utils.formatdate(usegmt=True)
    forged = (
        f'Signature version="1",algorithm="rsa-sha256",headers="date (request-target) host",'
        f'keyId="{credentials.key_id}",signature="QUJD"'
    )
    assert status_of(url, authorization=forged, date=now) == 401
    stranger = keys.create(tmp_path, Tenancy().ocid, REGION)
    config = oci.config.from_file(str(stranger.config))
    compute = oci.core.ComputeClient(config, service_endpoint=emulator.url)
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        compute.get_image("x")
    assert caught.value.status == 401


def test_a_signature_covers_the_query(emulator: Emulator, credentials: keys.Credentials) -> None:
    """A signed request whose query was changed on the way must not pass."""
    signer = oci.signer.Signer.from_config(oci.config.from_file(str(credentials.config)))

    def refuses(target: str) -> bool:
        try:
            return emulator.verifier.principal(Request("GET", target, headers)) != "user"
        except RefusedError as error:
            return error.status == 401

    host = emulator.url.removeprefix("http://")
    date = oci.signer.email.utils.formatdate(usegmt=True)
    signed = signer._basic_signer.sign(
        {"date": date, "host": host}, host=host, method="GET", path="/20160918/instances?a=1"
    )
    headers = {key.lower(): value for key, value in signed.items()}
    assert not refuses("/20160918/instances?a=1")
    assert refuses("/20160918/instances?a=2")


def test_it_counts_what_it_was_asked(credentials: keys.Credentials) -> None:
    with Emulator(fleet(1, SHAPE, 8), {credentials.key_id: credentials.public_key}, Knobs()) as one:
        status_of(f"{one.url}/20160918/instances?compartmentId=x")
        status_of(f"{one.url}/elsewhere")
        old = one.reset_stats()
    assert old.to_dict() == {
        "total": 2,
        "verified": 0,
        "principals": {},
        "most_at_once": 1,
        "routes": {"/instances": 1, "unknown": 1},
        "statuses": {"401": 1, "404": 1},
    }
    assert one.stats.total == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instances=404", Fault("instances", 404)),
        ("vnics=429*3", Fault("vnics", 429, 3)),
        ("limit=1000=400", Fault("limit=1000", 400)),
        ("privateIps=hang", Fault("privateIps", "hang")),
    ],
)
def test_faults_are_read(text: str, expected: Fault) -> None:
    assert Fault.parse(text) == expected


@pytest.mark.parametrize("text", ["instances", "instances=", "=404", "instances=slow"])
def test_other_texts_are_no_faults(text: str) -> None:
    with pytest.raises(ValueError, match="a fault is"):
        Fault.parse(text)


def test_a_fault_strikes_as_often_as_it_was_told() -> None:
    fault = Fault("vnics", 404, 2)
    assert [fault.hits("/vnics/a") for _ in range(3)] == [True, True, False]
    assert not fault.hits("/subnets")


def test_a_bucket_empties_and_refills(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("sandbox.oci.faults.time.monotonic", lambda: now[0])
    bucket = Bucket(2)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now[0] += 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_running_hosts_keep_their_names_addresses_and_systems() -> None:
    tenancy = of_hosts(
        [
            {"name": "a", "address": "10.1.1.1", "shape": SHAPE, "os": "debian-12"},
            {"name": "b", "address": "10.1.1.2", "shape": SHAPE, "os": "ubuntu-24.04",
             "tags": {"role": "x"}},
        ],
        {SHAPE: 8},
    )  # fmt: skip
    assert [one["ipAddress"] for one in tenancy.private_ips] == ["10.1.1.1", "10.1.1.2"]
    one, two = tenancy.instances.values()
    assert (one["displayName"], one["shapeConfig"]["gpus"]) == ("a", 8)
    assert two["freeformTags"] == {"role": "x"}
    image = tenancy.images[two["imageId"]]
    assert (image["operatingSystem"], image["operatingSystemVersion"]) == ("Ubuntu", "24.04")
