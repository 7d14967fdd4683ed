"""The inventory against the emulator: the real SDK, really signed requests, verified."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from oci_lab import (
    A10,
    H100,
    Lab,
    Starter,
    addresses,
    compartment,
    names,
    new_credentials,
    small,
    start,
)

from gpuprep.errors import ConfigError, InventoryError
from sandbox.oci.faults import Fault
from sandbox.oci.tenancy import REGION, TENANCY, Tenancy, fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.oci.keys import Credentials


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return new_credentials(tmp_path_factory.mktemp("oci"))


@pytest.fixture
def lab(tmp_path: Path, credentials: Credentials) -> Iterator[Starter]:
    labs: list[Lab] = []

    def begin(tenancy: Tenancy, **knobs: float) -> Lab:
        labs.append(start(tmp_path, credentials, tenancy, **knobs))
        return labs[-1]

    yield begin
    for one in labs:
        one.emulator.stop()


def world() -> tuple[Tenancy, str, str]:
    """A tenancy with one compartment and one subnet, and no host yet."""
    tenancy = Tenancy()
    place = tenancy.compartment("gpu")
    return tenancy, place, tenancy.subnet(place, "net")


def host(
    tenancy: Tenancy,
    name: str,
    place: str,
    net: str,
    address: str | None,
    **more: Any,
) -> str:
    vnic = {key: more.pop(key) for key in ("public_ip", "ipv6") if key in more}
    ocid = tenancy.instance(name, more.pop("shape", H100), place, gpus=more.pop("gpus", 8), **more)
    tenancy.vnic(ocid, net, address, **vnic)
    return ocid


# --- how many requests -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_a_fleet_takes_at_most_nine_requests(lab: Starter, count: int) -> None:
    here = lab(fleet(count, H100, 8))
    listing = here.list()
    assert len(listing.hosts) == count
    assert all(addresses(listing).values())
    assert here.emulator.stats.total == here.emulator.stats.verified == listing.requests
    assert here.emulator.stats.total <= 9


def test_ten_thousand_hosts_take_at_most_33_requests(lab: Starter) -> None:
    here = lab(fleet(10_000, H100, 8))
    listing = here.list()
    assert len(set(addresses(listing).values())) == 10_000
    assert here.emulator.stats.total <= 33


def test_one_compartment_by_ocid_takes_three_requests(lab: Starter) -> None:
    here = lab(fleet(200, H100, 8, compartments=1, subnets=1))
    listing = here.list(compartments=[compartment(here.tenancy, "team0")])
    assert len(listing.hosts) == 200
    assert here.emulator.stats.total == 3


def test_a_server_limit_of_20_per_second_is_never_hit(lab: Starter) -> None:
    here = lab(fleet(1000, H100, 8), rate=20)
    assert len(here.list().hosts) == 1000
    assert here.emulator.stats.statuses == {200: here.emulator.stats.total}


def test_hosts_without_a_gpu_cost_no_address_requests(lab: Starter) -> None:
    tenancy, place, net = world()
    for number in range(50):
        host(tenancy, f"web{number}", place, net, f"10.0.1.{number}", shape="VM.X", gpus=0)
    here = lab(tenancy)
    assert here.list().hosts == ()
    assert set(here.emulator.stats.routes) == {"/compartments", "/instances"}


def test_a_subnet_full_of_pod_addresses_is_not_read_to_the_end(lab: Starter) -> None:
    tenancy, place, net = world()
    for number in range(2):
        host(tenancy, f"gpu{number}", place, net, f"10.0.0.{number + 2}")
    pods = [dict(tenancy.private_ips[0], id=f"pod{n}", isPrimary=False) for n in range(9000)]
    tenancy.private_ips[1:1] = pods
    here = lab(tenancy)
    assert addresses(here.list()) == {"gpu0": "10.0.0.2", "gpu1": "10.0.0.3"}
    assert here.emulator.stats.routes["/privateIps"] == 1
    assert here.emulator.stats.routes["/vnics/{id}"] == 1


# --- what the official plugin loses ------------------------------------------------------------


def test_a_refused_network_compartment_loses_no_host(lab: Starter) -> None:
    tenancy = Tenancy()
    place, network = tenancy.compartment("gpu"), tenancy.compartment("network")
    net = tenancy.subnet(network, "net")
    for number in range(6):
        host(tenancy, f"gpu{number}", place, net, f"10.0.0.{number + 2}")
    here = lab(tenancy)
    here.emulator.api.denied.add(network)
    # the network admins' compartment holds no instances; leave it out so only subnets are refused
    listing = here.list(exclude_compartments=["/network"])
    assert addresses(listing) == {f"gpu{n}": f"10.0.0.{n + 2}" for n in range(6)}
    assert listing.complete
    (warning,) = listing.warnings
    assert "404 NotAuthorizedOrNotFound" in warning
    assert "one by one" in warning


def test_a_refused_compartment_is_an_error_that_names_the_policy(lab: Starter) -> None:
    here = lab(small())
    refused = compartment(here.tenancy, "team1")
    here.emulator.api.denied.add(refused)
    with pytest.raises(InventoryError) as caught:
        here.list()
    text = str(caught.value)
    assert here.emulator.url in text
    assert f"compartment /team1 ({refused})" in text
    assert re.search(r"opc-request-id [0-9A-F]{32}/[0-9A-F]{32}", text)
    assert "Allow group <group> to read instance-family in compartment team1" in text


def test_a_refused_compartment_may_be_a_warning(lab: Starter) -> None:
    here = lab(small())
    here.emulator.api.denied.add(compartment(here.tenancy, "team1"))
    listing = here.list(on_partial="warn")
    assert names(listing) == ["gpu-00000", "gpu-00002", "gpu-00004"]
    assert not listing.complete
    assert "/team1" in listing.warnings[0]


def test_refused_attachments_keep_the_hosts_and_flag_them(lab: Starter) -> None:
    here = lab(small(2))
    here.emulator.faults.append(Fault("vnicAttachments", 404))
    listing = here.list(on_partial="warn")
    assert [one.variables.get("oci_address_missing") for one in listing.hosts] == [True, True]
    with pytest.raises(InventoryError, match="vnicAttachments"):
        here.list()


def test_the_primary_vnic_is_used_and_a_host_stands_once(lab: Starter) -> None:
    tenancy, place, net = world()
    ocid = tenancy.instance("gpu", H100, place, gpus=8)
    tenancy.vnic(ocid, net, "10.0.9.9", primary=False)
    tenancy.vnic(ocid, net, "10.0.0.5")
    tenancy.vnic(ocid, net, "10.0.9.8", primary=False, nic_index=1)
    listing = lab(tenancy).list()
    assert addresses(listing) == {"gpu": "10.0.0.5"}


def test_a_vlan_vnic_is_never_the_primary_one(lab: Starter) -> None:
    tenancy, place, net = world()
    ocid = tenancy.instance("gpu", H100, place, gpus=8)
    tenancy.vnic(ocid, None, "192.168.0.9", primary=False, vlan="ocid1.vlan.oc1.iad.v")
    tenancy.vnic(ocid, net, "10.0.0.5")
    here = lab(tenancy)
    assert addresses(here.list()) == {"gpu": "10.0.0.5"}
    assert here.emulator.stats.routes["/vnics/{id}"] == 1


@pytest.mark.parametrize("state", ["DETACHING", "DETACHED", "ATTACHING"])
def test_an_attachment_in_transit_does_not_count(lab: Starter, state: str) -> None:
    tenancy, place, net = world()
    for number in range(2):
        ocid = tenancy.instance(f"gpu{number}", H100, place, gpus=8)
        tenancy.vnic(ocid, net, f"10.0.9.{number}", primary=False, state=state)
        tenancy.vnic(ocid, net, f"10.0.0.{number}")
    here = lab(tenancy)
    assert addresses(here.list()) == {"gpu0": "10.0.0.0", "gpu1": "10.0.0.1"}
    assert "/vnics/{id}" not in here.emulator.stats.routes


def test_hosts_of_one_name_are_all_listed(lab: Starter) -> None:
    tenancy, place, net = world()
    ocids = [host(tenancy, "gpu", place, net, f"10.0.0.{n + 2}") for n in range(3)]
    host(tenancy, "other", place, net, "10.0.0.9")
    listing = lab(tenancy).list()
    assert set(names(listing)) == {"other", *(f"gpu_{one[-6:]}" for one in ocids)}
    assert "shared" in listing.warnings[0]


def test_stopped_hosts_are_listed_on_request(lab: Starter) -> None:
    tenancy, place, net = world()
    host(tenancy, "on", place, net, "10.0.0.2")
    host(tenancy, "off", place, net, "10.0.0.3", state="STOPPED")
    here = lab(tenancy)
    assert names(here.list()) == ["on"]
    assert addresses(here.list(lifecycle_states=["STOPPED"])) == {"off": "10.0.0.3"}
    assert set(names(here.list(lifecycle_states=["RUNNING", "STOPPED"]))) == {"on", "off"}


def test_a_host_terminated_between_two_requests_is_left_out(lab: Starter) -> None:
    tenancy, place, net = world()
    for number in range(3):
        host(tenancy, f"gpu{number}", place, net, f"10.0.0.{number + 2}")
    here = lab(tenancy)

    def terminate() -> None:
        gone = next(one for one in tenancy.instances.values() if one["displayName"] == "gpu1")
        gone["lifecycleState"] = "TERMINATED"
        tenancy.attachments[:] = [a for a in tenancy.attachments if a["instanceId"] != gone["id"]]

    here.emulator.once("vnicAttachments", terminate)
    listing = here.list()
    assert names(listing) == ["gpu0", "gpu2"]
    assert "1 terminated while listing" in listing.summary
    assert listing.complete


def test_a_host_whose_vnic_went_away_is_looked_at_again(lab: Starter) -> None:
    tenancy, place, net = world()
    for number in range(3):
        host(tenancy, f"gpu{number}", place, net, f"10.0.0.{number + 2}")
    here = lab(tenancy)

    def terminate() -> None:
        row = tenancy.private_ips.pop(1)
        owner = next(a["instanceId"] for a in tenancy.attachments if a["vnicId"] == row["vnicId"])
        del tenancy.vnics[row["vnicId"]]
        tenancy.instances[owner]["lifecycleState"] = "TERMINATING"

    here.emulator.once("privateIps", terminate)
    listing = here.list()
    assert names(listing) == ["gpu0", "gpu2"]
    assert listing.complete


def test_a_running_host_without_a_vnic_is_an_error(lab: Starter) -> None:
    tenancy, place, net = world()
    host(tenancy, "gpu0", place, net, "10.0.0.2")
    tenancy.instance("bare", H100, place, gpus=8)
    here = lab(tenancy)
    with pytest.raises(InventoryError, match=r"host bare .* is RUNNING, but no primary VNIC"):
        here.list()
    assert set(names(here.list(on_partial="warn"))) == {"gpu0", "bare"}


def test_a_host_whose_vnics_are_all_secondary_is_an_error(lab: Starter) -> None:
    tenancy, place, net = world()
    ocid = tenancy.instance("odd", H100, place, gpus=8)
    for number in range(2):
        tenancy.vnic(ocid, net, f"10.0.0.{number}", primary=False)
    with pytest.raises(InventoryError, match=r"host odd .* no primary VNIC"):
        lab(tenancy).list()


def test_hosts_without_the_wanted_kind_of_address_are_told(lab: Starter) -> None:
    listing = lab(small(3)).list(ansible_host_from=["public_ip"])
    assert set(addresses(listing).values()) == {"address-missing.invalid"}
    assert "3 hosts have no public_ip and cannot be reached" in listing.warnings[0]


def test_a_service_in_trouble_is_not_asked_host_by_host(
    lab: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuprep.oci.client._backoff", lambda _: 0.01)
    here = lab(small(40))
    here.emulator.faults.append(Fault("privateIps", 500))
    with pytest.raises(InventoryError, match="2 answers are missing"):
        here.list(max_attempts=2)
    assert "/vnics/{id}" not in here.emulator.stats.routes


@pytest.mark.parametrize("count", [1, 3])
def test_hosts_with_ipv6_only_are_reached_by_it(lab: Starter, count: int) -> None:
    tenancy, place, net = world()
    host(tenancy, "four", place, net, "10.0.0.2")
    for number in range(count):
        host(tenancy, f"six{number}", place, net, None, ipv6=[f"2603:c020::{number}"])
    found = addresses(lab(tenancy).list())
    assert found == {"four": "10.0.0.2", **{f"six{n}": f"2603:c020::{n}" for n in range(count)}}


def test_no_match_tells_the_counts_of_each_stage(lab: Starter) -> None:
    tenancy, place, net = world()
    host(tenancy, "web", place, net, "10.0.0.2", shape="VM.X", gpus=0)
    host(tenancy, "off", place, net, "10.0.0.3", state="STOPPED")
    host(tenancy, "gpu", place, net, "10.0.0.4")
    listing = lab(tenancy).list(lifecycle_states=["RUNNING", "STOPPING"], shapes=["*A10*"])
    assert listing.hosts == ()
    (warning,) = listing.warnings
    assert "3 instances" in warning
    assert "1 not in state RUNNING or STOPPING" in warning
    assert "1 without a GPU" in warning
    assert "1 of other shapes" in warning


# --- what else may go wrong --------------------------------------------------------------------


def test_throttling_is_waited_out(lab: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuprep.oci.client._backoff", lambda _: 0.01)
    here = lab(small())
    here.emulator.faults += [Fault("instances", 429, 3), Fault("privateIps", 503, 1)]
    assert len(here.list().hosts) == 6
    assert here.emulator.stats.statuses[429] == 3


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (500, "500 InternalServerError"),
        (429, "429 TooManyRequests"),
        ("drop", "no answer"),
        ("cut", "cut short"),
        ("hang", "timed out"),
    ],
)
def test_a_lasting_fault_is_an_error_that_names_the_request(
    lab: Starter, what: int | str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuprep.oci.client._backoff", lambda _: 0.01)
    here = lab(small(2))
    fault = Fault("vnics", what, 10)
    here.emulator.faults.append(fault)
    with pytest.raises(InventoryError) as caught:
        here.list(timeout=1, max_attempts=2)
    assert fault.times == 6  # two hosts, two attempts each
    assert words in str(caught.value)
    assert "/vnics/ocid1.vnic" in str(caught.value)


@pytest.mark.parametrize("what", ["drop", "cut"])
def test_a_passing_network_fault_is_overcome(
    lab: Starter, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuprep.oci.client._backoff", lambda _: 0.01)
    here = lab(small())
    here.emulator.faults.append(Fault("instances", what, 1))
    assert len(here.list().hosts) == 6


def test_a_service_that_wants_smaller_pages_gets_them(lab: Starter) -> None:
    here = lab(fleet(250, H100, 8))
    here.emulator.faults.append(Fault("limit=1000", 400))
    assert len(here.list().hosts) == 250
    assert here.emulator.stats.statuses[400] > 0


def test_clock_skew_is_named(lab: Starter) -> None:
    here = lab(small(), clock_offset=3600)
    with pytest.raises(InventoryError, match=r"clock is 3[56]\d\d s behind"):
        here.list()


def test_a_key_that_was_not_uploaded_is_named(lab: Starter, tmp_path: Path) -> None:
    here = lab(small())
    stranger = new_credentials(tmp_path / "stranger")
    print_ = stranger.key_id.rsplit("/", 1)[1]
    with pytest.raises(InventoryError, match=f"401 NotAuthenticated.*has an API key {print_}"):
        here.list(config_file=str(stranger.config))


def test_no_server_at_all_is_named(lab: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuprep.oci.client._backoff", lambda _: 0.01)
    here = lab(small())
    here.emulator.stop()
    with pytest.raises(InventoryError, match="could not connect"):
        here.list(max_attempts=2)


# --- where to look -----------------------------------------------------------------------------


def nested() -> tuple[Tenancy, dict[str, str]]:
    tenancy = Tenancy()
    top = tenancy.compartment("research")
    inner = tenancy.compartment("gpu", top)
    twin = tenancy.compartment("gpu", tenancy.compartment("product"))
    net = tenancy.subnet(top, "net")
    for number, (name, place) in enumerate({"a": top, "b": inner, "c": twin}.items()):
        host(tenancy, name, place, net, f"10.0.0.{number + 2}")
    return tenancy, {"research": top, "inner": inner, "twin": twin}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "abc"),
        ({"compartments": ["research"]}, "a"),
        ({"compartments": ["/research/gpu"]}, "b"),
        ({"compartments": ["research"], "include_subcompartments": True}, "ab"),
        ({"compartments": ["/"], "include_subcompartments": True}, "abc"),
        ({"exclude_compartments": ["/research"]}, "c"),
        ({"exclude_compartments": ["/product/gpu"]}, "ab"),
    ],
)
def test_compartments_by_name_and_path(
    lab: Starter, options: dict[str, Any], expected: str
) -> None:
    tenancy, _ = nested()
    assert set(names(lab(tenancy).list(**options))) == set(expected)


def test_a_compartment_name_that_is_not_clear_is_refused(lab: Starter) -> None:
    tenancy, _ = nested()
    here = lab(tenancy)
    with pytest.raises(ConfigError, match=r"ambiguous.*/product/gpu, /research/gpu"):
        here.list(compartments=["gpu"])
    with pytest.raises(ConfigError, match=r"nearest: .*research"):
        here.list(compartments=["reserch"])


def test_all_regions_are_listed_each_at_its_own_endpoint(lab: Starter) -> None:
    tenancy, place, net = world()
    tenancy.regions = ("us-ashburn-1", "eu-frankfurt-1")
    host(tenancy, "home", place, net, "10.0.0.2")
    far = tenancy.subnet(place, "far", region="eu-frankfurt-1")
    host(tenancy, "away", place, far, "10.0.0.3", region="eu-frankfurt-1")
    here = lab(tenancy)
    here.extra["service_endpoint"] = here.emulator.url_by_region
    everywhere = here.list(regions=["all"])
    assert {one.name: one.variables["oci_region"] for one in everywhere.hosts} == {
        "home": "us-ashburn-1",
        "away": "eu-frankfurt-1",
    }
    assert names(here.list(regions=["eu-frankfurt-1"])) == ["away"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"display_name": "a"}, "a"),
        ({"availability_domain": "SdBx:US-ASHBURN-AD-2"}, "b"),
        ({"fault_domain": "FAULT-DOMAIN-1"}, "a"),
        ({"freeform_tags": {"team": "blue"}}, "b"),
        ({"defined_tags": {"ops": {"tier": "1"}}}, "a"),
        ({"freeform_tags": {"team": "red"}, "display_name": "b"}, ""),
    ],
)
def test_filters(lab: Starter, filters: dict[str, Any], expected: str) -> None:
    tenancy, place, net = world()
    host(tenancy, "a", place, net, "10.0.0.2", freeform_tags={"team": "red"},
         defined_tags={"ops": {"tier": "1"}})  # fmt: skip
    host(tenancy, "b", place, net, "10.0.0.3", freeform_tags={"team": "blue"}, domain=2)
    assert set(names(lab(tenancy).list(filters=filters))) == set(expected)


# --- what is told on request -------------------------------------------------------------------


def test_images_give_login_users_and_groups_for_one_request_each(lab: Starter) -> None:
    tenancy, place, net = world()
    oracle = tenancy.image("Oracle-Linux-9.6-Gen2-GPU", "Oracle Linux", "9")
    ubuntu = tenancy.image("Canonical-Ubuntu-24.04", "Canonical Ubuntu", "24.04")
    for number, image in enumerate([oracle, ubuntu, oracle, "ocid1.image.gone"]):
        host(tenancy, f"gpu{number}", place, net, f"10.0.0.{number + 2}", image=image)
    here = lab(tenancy)
    hosts = here.list(resolve_images=True).hosts
    assert [one.variables.get("ansible_user") for one in hosts] == ["opc", "ubuntu", "opc", None]
    assert "os_oracle_9" in hosts[0].groups
    assert "os_ubuntu_24_04" in hosts[1].groups
    assert here.emulator.stats.routes["/images/{id}"] == 3


def test_public_addresses_are_found_when_wanted(lab: Starter) -> None:
    tenancy, place, net = world()
    host(tenancy, "a", place, net, "10.0.0.2", public_ip="129.146.0.2")
    host(tenancy, "b", place, net, "10.0.0.3", public_ip="129.146.0.3")
    host(tenancy, "c", place, net, "10.0.0.4")
    here = lab(tenancy)
    listing = here.list(ansible_host_from=["public_ip", "private_ip"])
    assert addresses(listing) == {"a": "129.146.0.2", "b": "129.146.0.3", "c": "10.0.0.4"}
    assert here.emulator.stats.routes["/publicIps"] == 2
    assert here.emulator.stats.routes["/vnics/{id}"] == 1
    here.emulator.reset_stats()
    here.list()
    assert "/publicIps" not in here.emulator.stats.routes


def test_a_reserved_public_address_of_another_compartment_is_found_too(lab: Starter) -> None:
    tenancy, place, net = world()
    for number in range(2):
        host(tenancy, f"g{number}", place, net, f"10.0.0.{number}", public_ip=f"129.1.0.{number}")
    tenancy.public_ips[0] |= {"compartmentId": tenancy.ocid, "scope": "REGION",
                              "lifetime": "RESERVED"}  # fmt: skip
    listing = lab(tenancy).list(ansible_host_from=["public_ip"])
    assert addresses(listing) == {"g0": "129.1.0.0", "g1": "129.1.0.1"}


def test_full_names_cost_one_request_per_subnet(lab: Starter) -> None:
    here = lab(small(4))
    listing = here.list(ansible_host_from=["fqdn"])
    assert addresses(listing)["gpu-00001"] == "gpu-00001.sub1.vcn1.oraclevcn.com"
    assert here.emulator.stats.routes["/subnets/{id}"] == 2


def test_clusters_become_groups(lab: Starter) -> None:
    here = lab(small(6))
    ids = list(here.tenancy.instances)
    team0 = compartment(here.tenancy, "team0")
    here.tenancy.cluster("pools", "pool of net", team0, [ids[0]])
    here.tenancy.cluster("cluster_networks", "train net", team0, [ids[0]])
    here.tenancy.cluster("compute_clusters", "cc", team0, [ids[2]])
    here.tenancy.cluster("memory_clusters", "rack", team0, [ids[4]])
    found = {
        one.name: (one.variables.get("oci_cluster") or {}).get("kind")
        for one in here.list(resolve_clusters=True).hosts
    }
    assert found["gpu-00000"] == "cluster_network"
    assert found["gpu-00002"] == "compute_cluster"
    assert found["gpu-00004"] == "gpu_memory_cluster"
    assert found["gpu-00001"] is None
    groups = here.list(resolve_clusters=True).hosts[0].groups
    assert "cluster_train_net" in groups


def test_metadata_never_reaches_the_hosts(lab: Starter) -> None:
    here = lab(small(1))
    for one in here.tenancy.instances.values():
        one["metadata"]["user_data"] = one["extendedMetadata"]["x"] = "SECRETMARKER"
    listing = here.list(resolve_images=True, resolve_clusters=True)
    assert listing.hosts
    assert "SECRETMARKER" not in repr(listing)


def test_shapes_the_catalog_does_not_know(lab: Starter) -> None:
    tenancy, place, net = world()
    host(tenancy, "new", place, net, "10.0.0.2", shape="BM.GPU.X900.16", gpus=16,
         gpu_description="NVIDIA X900 512GB")  # fmt: skip
    host(tenancy, "amd", place, net, "10.0.0.3", shape="BM.GPU.MI300X.8")
    host(tenancy, "a10", place, net, "10.0.0.4", shape=A10, gpus=1)
    listing = lab(tenancy).list()
    gpus = {one.name: one.variables["oci_gpu"] for one in listing.hosts}
    assert gpus["new"] == {"model": "x900", "count": 16}
    assert gpus["a10"]["model"] == "a10"
    assert gpus["amd"]["vendor"] == "amd"
    assert "unsupported_amd" in listing.group_parents["shape_bm_gpu_mi300x_8"]
    assert "BM.GPU.X900.16" in listing.warnings[0]


# --- other ways to sign in ---------------------------------------------------------------------


def test_a_resource_principal_signs_and_knows_its_tenancy(
    lab: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = lab(small())
    claims = {"res_tenant": TENANCY, "exp": int(time.time()) + 3600}
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "RS256"}, claims, {})
    )
    for name, value in {
        "VERSION": "2.2",
        "RPST": token,
        "PRIVATE_PEM": str(here.credentials.key_file),
        "REGION": REGION,
    }.items():
        monkeypatch.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}", value)
    here.emulator.verifier.keys[f"ST${token}"] = here.credentials.public_key  # type: ignore[index]
    listing = here.list(auth_type="resource_principal", config_file="/nonexistent")
    assert len(listing.hosts) == 6
    here.emulator.api.denied.add(compartment(here.tenancy, "team1"))
    with pytest.raises(InventoryError, match="Allow dynamic-group <dynamic group> to read"):
        here.list(auth_type="resource_principal", config_file="/nonexistent")
