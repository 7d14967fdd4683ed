"""The emulator is faithful where we can tell: the SDK's typed clients read all it says."""

from __future__ import annotations

import base64
import json
import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import oci
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from emulator_rig import clients

from sandbox.oci import keys
from sandbox.oci.faults import Bucket, Fault
from sandbox.oci.refusals import RefusedError
from sandbox.oci.server import Emulator, Knobs
from sandbox.oci.signature import Request
from sandbox.oci.tenancy import REGION, Tenancy, fleet, of_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    return clients(emulator, credentials)


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


def test_filters_of_lists_are_heeded(emulator: Emulator, client: Any) -> None:
    """What a client leaves to the service must not come back unfiltered."""
    tenancy = emulator.api.tenancy
    place = tenancy.compartments[0]["id"]
    compute = client(oci.core.ComputeClient)
    network = client(oci.core.VirtualNetworkClient)
    identity = client(oci.identity.IdentityClient)
    first = next(iter(tenancy.instances))
    mine = compute.list_vnic_attachments(place, instance_id=first).data
    assert {one.instance_id for one in mine} == {first}
    assert len(mine) == 2
    vnic = mine[0].vnic_id
    (attached,) = compute.list_vnic_attachments(place, vnic_id=vnic).data
    assert attached.id == mine[0].id
    domain = mine[0].availability_domain
    some = compute.list_vnic_attachments(place, availability_domain=domain).data
    assert {one.availability_domain for one in some} == {domain}
    (address,) = network.list_private_ips(vnic_id=vnic).data
    assert address.vnic_id == vnic
    subnet = mine[0].subnet_id
    (same,) = network.list_private_ips(subnet_id=subnet, ip_address=address.ip_address).data
    assert same.id == address.id
    assert [one.ip_address for one in network.list_ipv6s(vnic_id=mine[1].vnic_id).data] == [
        "2603::1"
    ]
    names = [
        one.display_name
        for one in compute.list_instances(
            place, sort_by="DISPLAYNAME", sort_order="DESC", lifecycle_state="RUNNING", limit=3
        ).data
    ]
    assert names == ["gpu-00248", "gpu-00246", "gpu-00244"]
    assert compute.list_instances(place, capacity_reservation_id="none").data == []
    assert [one.name for one in identity.list_compartments(tenancy.ocid, name="team1").data] == [
        "team1"
    ]
    assert identity.list_compartments(tenancy.ocid, lifecycle_state="DELETED").data == []


def refusal(call: Callable[[], Any]) -> tuple[int, str, str]:
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        call()
    return caught.value.status, caught.value.code, caught.value.message


def test_what_the_emulator_does_not_know_is_refused_by_name(
    emulator: Emulator, client: Any
) -> None:
    place = emulator.api.tenancy.compartments[0]["id"]
    compute = client(oci.core.ComputeClient)
    network = client(oci.core.VirtualNetworkClient)
    identity = client(oci.identity.IdentityClient)
    assert refusal(lambda: compute.list_dedicated_vm_hosts(place)) == (
        404, "NotAuthorizedOrNotFound", "the emulator has no route GET /dedicatedVmHosts"
    )  # fmt: skip
    one = next(iter(emulator.api.tenancy.instances))
    for call, path in (
        (lambda: compute.delete_image(one), f"DELETE /images/{one}"),
        (lambda: network.list_drgs(place), "GET /drgs"),
        (lambda: identity.get_user("ocid1.user.oc1..x"), "GET /users/"),
    ):
        status, _, text = refusal(call)
        assert status == 404
        assert f"no route {path}" in text
    status, code, text = refusal(
        lambda: compute.update_instance(
            one, oci.core.models.UpdateInstanceDetails(shape="VM.GPU.A10.1")
        )
    )
    assert (status, code) == (501, "NotImplemented")
    assert "cannot change shape" in text
    status, code, text = refusal(lambda: network.list_private_ips(vlan_id="x", subnet_id="y"))
    assert (status, code) == (400, "InvalidParameter")
    assert "no parameter vlanId of GET /privateIps" in text
    assert refusal(network.list_private_ips)[0] == 400
    assert refusal(lambda: compute.list_instances(place, limit=0))[0] == 400
    assert refusal(lambda: identity.list_compartments("ocid1.compartment.oc1..none"))[0] == 404
    assert refusal(lambda: network.list_private_ips(vnic_id="none"))[0] == 404


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


def signed(
    emulator: Emulator, credentials: keys.Credentials, dated: str = "date"
) -> dict[str, str]:
    """Headers of a request for the instances, signed as the scheme says."""
    host = emulator.url.removeprefix("http://")
    date = oci.signer.email.utils.formatdate(usegmt=True)
    lines = f"{dated}: {date}\n(request-target): get /20160918/instances\nhost: {host}"
    key = serialization.load_pem_private_key(credentials.key_file.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    proof = base64.b64encode(key.sign(lines.encode(), padding.PKCS1v15(), hashes.SHA256()))
    return {
        dated: date,
        "host": host,
        "authorization": (
            f'Signature version="1",keyId="{credentials.key_id}",algorithm="rsa-sha256",'
            f'headers="{dated} (request-target) host",signature="{proof.decode()}"'
        ),
    }


def test_a_signed_x_date_counts_as_date(emulator: Emulator, credentials: keys.Credentials) -> None:
    for dated in ("date", "x-date"):
        request = Request("GET", "/20160918/instances", signed(emulator, credentials, dated))
        assert emulator.verifier.principal(request) == "user"
    stale = signed(emulator, credentials, "x-date") | {"x-date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    with pytest.raises(RefusedError, match="clock skew"):
        emulator.verifier.principal(Request("GET", "/20160918/instances", stale))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('version="1",', ""),
        ('version="1"', 'version="2"'),
        ('signature="', 'signature="é'),
        ('signature="', 'signature="%'),
        ("date (request-target) host", "(request-target) host"),
    ],
)
def test_an_odd_signature_is_refused(
    emulator: Emulator, credentials: keys.Credentials, old: str, new: str
) -> None:
    headers = signed(emulator, credentials)
    assert old in headers["authorization"]
    headers["authorization"] = headers["authorization"].replace(old, new, 1)
    with pytest.raises(RefusedError) as caught:
        emulator.verifier.principal(Request("GET", "/20160918/instances", headers))
    assert caught.value.status == 401


@pytest.mark.parametrize("date", ["", "garbage", "Thu, 01 Jan 2026 00:00:00 -0000"])
def test_an_odd_date_is_refused(
    emulator: Emulator, credentials: keys.Credentials, date: str
) -> None:
    headers = signed(emulator, credentials) | {"date": date}
    with pytest.raises(RefusedError) as caught:
        emulator.verifier.principal(Request("GET", "/20160918/instances", headers))
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("POST /v1/x509 HTTP/1.1\r\ncontent-length: abc", 400),
        ("POST /v1/x509 HTTP/1.1\r\ncontent-length: -1", 400),
        ("POST /v1/x509 HTTP/1.1\r\ncontent-length: 99999999999", 400),
        ("HEAD /20160918/instances HTTP/1.1", 501),
        ("GET /20160918/nothing HTTP/1.1", 401),
        ("nonsense", 400),
    ],
)
def test_odd_requests_are_answered(emulator: Emulator, request_line: str, status: int) -> None:
    port = int(emulator.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(f"{request_line}\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b"")).decode()
    if " HTTP/1.1" in request_line:  # else it is HTTP/0.9, which knows no status
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert "content-type: application/json" in answer
    assert request_line.startswith("HEAD") or json.loads(answer.rpartition("\n")[2])["code"]


def test_instances_and_regions_are_named_as_oci_names_them(emulator: Emulator, client: Any) -> None:
    tenancy = emulator.api.tenancy
    (region,) = client(oci.identity.IdentityClient).list_region_subscriptions(tenancy.ocid).data
    assert (region.region_key, region.region_name) == ("IAD", "us-ashburn-1")
    odd = Tenancy()
    ocid = odd.instance("{{ x }} -A ", SHAPE, odd.compartment("c"))
    odd.vnic(ocid, odd.subnet(odd.compartments[0]["id"], "n"), "10.0.0.2")
    assert odd.instances[ocid]["region"] == "iad"
    assert [one["hostnameLabel"] for one in odd.vnics.values()] == ["x--a"]


def test_a_region_that_is_not_subscribed_is_refused(emulator: Emulator, client: Any) -> None:
    compute = client(oci.core.ComputeClient)
    compute.base_client.endpoint = f"{emulator.url}/us-phoenix-1/20160918"
    place = emulator.api.tenancy.compartments[0]["id"]
    status, _, text = refusal(lambda: compute.list_instances(place))
    assert (status, "us-phoenix-1" in text) == (404, True)


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


def test_hosts_of_oracles_own_system_have_an_image_that_is_called_as_its_images() -> None:
    host = {"name": "a", "address": "10.1.1.1", "shape": SHAPE, "os": "ol-9"}
    (image,) = of_hosts([host], {SHAPE: 1}).images.values()
    assert (image["operatingSystem"], image["operatingSystemVersion"]) == ("Oracle Linux", "9")
    assert image["displayName"] == "Oracle-Linux-9"
