"""Names, groups and variables of hosts. Pure."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gpuprep.catalog import load
from gpuprep.oci import Options
from gpuprep.oci.gpu import gpu_facts, model_of
from gpuprep.oci.hosts import NOWHERE, Composer, group_name
from gpuprep.oci.names import distinct_names, plain_name, renamed
from gpuprep.oci.network import candidates
from gpuprep.oci.records import Addresses, Compartment, Host, Instance, Listing
from gpuprep.oci.selection import Funnel, select, server_side

OCID = "ocid1.instance.oc1.iad.abcdef"
PLACE = Compartment("ocid1.compartment.oc1..a", "gpu", "/research/gpu")


def instance(
    name: str = "gpu", ocid: str = "ocid1.instance.oc1.iad.abcdef", **raw: Any
) -> Instance:
    base = {
        "id": ocid,
        "displayName": name,
        "shape": "BM.GPU.H100.8",
        "lifecycleState": "RUNNING",
        "availabilityDomain": "x:AD-1",
    }
    return Instance.from_json({**base, **raw}, "us-ashburn-1", PLACE)


def addresses(**given: Any) -> Addresses:
    return Addresses("v", "s", **given)


@pytest.mark.parametrize(
    ("gpu_name", "model"),
    [
        ("H100 SXM5 80GB", "h100"),
        ("Tesla V100 SXM2 16GB", "v100"),
        ("RTX PRO 6000 Blackwell Server Edition", "rtx_pro_6000"),
        ("AMD Instinct MI300X", "mi300x"),
        ("", "unknown"),
    ],
)
def test_model_of(gpu_name: str, model: str) -> None:
    assert model_of(gpu_name) == model


def test_every_shape_of_the_catalog_gives_valid_groups() -> None:
    shapes = load().shapes
    for name, shape in shapes.items():
        facts = gpu_facts(instance(shape=name), shapes)
        assert facts.known
        assert f"gpu_count_{shape.count}" in facts.groups
        assert ("imex" in facts.groups) == (shape.fabric == "imex")
        assert ("unsupported_amd" in facts.groups) == (shape.vendor == "amd")
        assert all(one.isidentifier() and one == one.lower() for one in facts.groups)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("shape", "BM.GPU.A100-v2.8", "shape_bm_gpu_a100_v2_8"),
        ("ad", "Uocm:US-ASHBURN-AD-1", "ad_uocm_us_ashburn_ad_1"),
        ("tag", "Owner_me@x.org", "tag_owner_me_x_org"),
    ],
)
def test_group_name(kind: str, value: str, expected: str) -> None:
    assert group_name(kind, value) == expected


def one_host(name: str, ocid: str, *groups: str) -> Host:
    return Host(name, ocid, groups, {})


def test_names_do_not_depend_on_the_order_of_listing() -> None:
    wanted = {"1" * 6: "a", "2" * 6: "a", "3" * 6: "b"}
    forward = distinct_names([(name, ocid) for ocid, name in wanted.items()], set())
    backward = distinct_names([(name, ocid) for ocid, name in [*wanted.items()][::-1]], set())
    assert forward == ["a_111111", "a_222222", "b"] == backward[::-1]


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        # an instance may be called as another one with its ending
        ([("a", "x111111"), ("a", "x222222"), ("a_222222", "x333333")], set()),
        ([("a", "x111111"), ("a", "y111111")], set()),
        ([("a", "x111111"), ("a", "y111111"), ("a_x111111", "z"), ("a_111111", "q")], set()),
        ([("rdma", "x111111"), ("a", "y222222")], {"rdma", "rdma_111111"}),
        ([("rdma", "x1"), ("x1", "y2")], {"rdma", "rdma_x1", "a"}),
    ],
)
def test_no_choice_of_names_makes_two_hosts_one(
    wanted: list[tuple[str, str]], taken: set[str]
) -> None:
    found = distinct_names(wanted, taken)
    assert len(set(found)) == len(wanted)
    assert not set(found) & taken


@pytest.mark.parametrize(
    "name",
    ["localhost", "127.0.0.1", "::1", "LocalHost", "127.1.2.3", "localhost.localdomain",
     "localhost4", "ip6-localhost", "0.0.0.0", "::", "::ffff:127.0.0.1", "all", "ungrouped"],  # noqa: S104 - a name
)  # fmt: skip
def test_no_host_gets_a_name_that_means_the_controller_or_everything(name: str) -> None:
    listing = Listing((one_host(name, "ocid1.instance.abcdef"),), {})
    found = renamed(listing, ())
    assert found.hosts[0].name == f"{name}_abcdef"
    assert name in found.warnings[0]


def test_no_host_is_called_as_a_group_of_the_listing_or_of_the_user() -> None:
    listing = Listing(
        (
            one_host("tag_role_train", "x.aaaaaa", "tag_role_train", "shape_a"),
            one_host("rdma", "x.bbbbbb", "shape_a"),
            one_host("mine", "x.cccccc", "shape_a"),
            one_host("free", "x.dddddd", "shape_a"),
        ),
        {"shape_a": ("oci_gpu", "rdma")},
    )
    found = renamed(listing, {"mine"})
    assert [host.name for host in found.hosts] == [
        "free", "mine_cccccc", "rdma_bbbbbb", "tag_role_train_aaaaaa",
    ]  # fmt: skip
    assert renamed(found, {"mine"}) == found


@pytest.mark.parametrize(
    ("preference", "expected"),
    [
        (["display_name"], "node-1"),
        (["public_ip", "private_ip"], "10.0.0.2"),
        (["fqdn"], "node-1.sub.vcn.oraclevcn.com"),
        (["hostname_label"], "node-1"),
        (["ipv6", "public_ip"], OCID),
        (["id"], OCID),
    ],
)
def test_the_first_name_a_host_has_is_taken(preference: list[str], expected: str) -> None:
    where = addresses(
        private_ip="10.0.0.2", hostname_label="node-1", domain="sub.vcn.oraclevcn.com"
    )
    assert plain_name(instance("node #1"), where, preference) == expected


@pytest.mark.parametrize("given", ["{{}}", "..", "-", ".-.", " "])
def test_a_name_of_which_nothing_is_left_is_the_ocid(given: str) -> None:
    assert plain_name(instance(given), None, ["display_name", "private_ip"]) == OCID


@pytest.mark.parametrize("kind", ["hostname_label", "fqdn"])
@pytest.mark.parametrize("label", ["-dash", "a b", "a,b", "../a", "{{ x }}"])
def test_labels_are_cleaned_like_display_names(kind: str, label: str) -> None:
    name = plain_name(instance(), addresses(hostname_label=label, domain="d"), [kind])
    assert re.fullmatch(r"\w[\w.-]*", name)


def test_a_name_is_no_longer_than_a_file_name_can_be() -> None:
    assert len(plain_name(instance("ü" * 255), None, ["display_name"]).encode()) <= 128


def test_variables_hold_no_metadata_and_no_nulls() -> None:
    one = instance(metadata={"user_data": "x"}, extendedMetadata={"k": "x"}, faultDomain=None)
    host = Composer(Options(), load().shapes).host("gpu", one, addresses(private_ip="10.0.0.2"))
    assert host.variables["ansible_host"] == "10.0.0.2"
    assert None not in host.variables.values()
    assert not [key for key in host.variables if "meta" in key]
    assert host.variables["oci_compartment"]["path"] == "/research/gpu"


def test_a_prefix_and_a_user_of_ones_own() -> None:
    options = Options.from_mapping({"hostvars_prefix": "cloud_", "ssh_user": "me"})
    host = Composer(options, load().shapes).host("gpu", instance(), None)
    assert host.variables["cloud_shape"] == "BM.GPU.H100.8"
    assert host.variables["ansible_user"] == "me"
    assert host.variables["cloud_address_missing"] is True


def test_tags_are_always_there_and_may_be_empty() -> None:
    host = Composer(Options(), load().shapes).host("gpu", instance(), None)
    assert host.variables["oci_freeform_tags"] == {}
    assert host.variables["oci_defined_tags"] == {}
    assert host.variables["oci_agent_plugins"] == []
    nulls = instance(freeformTags=None, definedTags={"ops": None})
    host = Composer(Options(), load().shapes).host("gpu", nulls, None)
    assert host.variables["oci_freeform_tags"] == {}
    assert host.variables["oci_defined_tags"] == {"ops": {}}


def test_what_the_listing_tells_anyway_is_told() -> None:
    one = instance(
        imageId="ocid1.image.x",
        timeCreated="2026-01-01T00:00:00Z",
        capacityReservationId="ocid1.capacityreservation.x",
        instanceConfigurationId="ocid1.instanceconfiguration.x",
        shapeConfig={"ocpus": 8.0, "memoryInGBs": 64.0, "networkingBandwidthInGbps": 100.0,
                     "gpus": 8, "gpuDescription": None},
    )  # fmt: skip
    found = Composer(Options(), load().shapes).host("gpu", one, None).variables
    assert found["oci_image_id"] == "ocid1.image.x"
    assert found["oci_time_created"] == "2026-01-01T00:00:00Z"
    assert found["oci_capacity_reservation_id"] == "ocid1.capacityreservation.x"
    assert found["oci_instance_configuration_id"] == "ocid1.instanceconfiguration.x"
    assert found["oci_shape_config"] == {
        "ocpus": 8.0, "memory_in_gbs": 64.0, "networking_bandwidth_in_gbps": 100.0,
    }  # fmt: skip


@pytest.mark.parametrize("wanted", ["private_ip", "public_ip"])
@pytest.mark.parametrize("where", [None, Addresses("v", "s", private_ip="10.0.0.2")])
def test_a_host_without_the_wanted_address_is_never_looked_up_by_its_name(
    wanted: str, where: Addresses | None
) -> None:
    options = Options(ansible_host_from=(wanted,))
    found = Composer(options, load().shapes).host("internal-db", instance(), where).variables
    assert found["ansible_host"] == ("10.0.0.2" if where and wanted == "private_ip" else NOWHERE)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "-oProxyCommand=x", "evil"])  # noqa: S104
def test_an_address_that_is_none_or_the_controllers_own_is_not_taken(address: str) -> None:
    where = Addresses.from_vnic({"id": "v", "privateIp": address, "publicIp": address,
                                 "ipv6Addresses": [address]})  # fmt: skip
    assert (where.private_ip, where.public_ip, where.ipv6) == (None, None, ())


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), []),
        (("*",), ["dtag_ops_tier_1", "tag_team_red"]),
        (("team",), ["tag_team_red"]),
        (("ops.*",), ["dtag_ops_tier_1"]),
    ],
)
def test_tag_groups(patterns: tuple[str, ...], expected: list[str]) -> None:
    one = instance(
        freeformTags={"team": "red"},
        definedTags={"ops": {"tier": 1}, "Oracle-Tags": {"CreatedOn": "now"}},
    )
    groups = Composer(Options(tag_groups=patterns), load().shapes).host("g", one, None).groups
    assert sorted(group for group in groups if "tag_" in group) == expected


def attachment(vnic: str, **more: Any) -> dict[str, Any]:
    base = {"instanceId": "i", "vnicId": vnic, "subnetId": "s", "lifecycleState": "ATTACHED"}
    return {**base, **more}


def test_candidates_are_attached_sit_in_a_subnet_and_are_wanted() -> None:
    rows = [
        attachment("late", timeCreated="2026-02-01"),
        attachment("first", timeCreated="2026-01-01"),
        attachment("second-card", timeCreated="2025-01-01", nicIndex=1),
        attachment("vlan", subnetId=None, vlanId="v"),
        attachment("leaving", lifecycleState="DETACHING"),
        attachment("stranger", instanceId="other"),
        attachment("coming", vnicId=None),
    ]
    found = candidates(rows, {"i"})
    assert [vnic for vnic, _ in found["i"]] == ["first", "late", "second-card"]
    assert list(found) == ["i"]


def test_the_service_filters_by_state_only_when_one_is_wanted() -> None:
    assert server_side(Options())["lifecycleState"] == "RUNNING"
    assert "lifecycleState" not in server_side(Options(lifecycle_states=("RUNNING", "STOPPED")))
    given = server_side(Options(filters={"display_name": "a", "freeform_tags": {"x": "y"}}))
    assert given == {"displayName": "a", "lifecycleState": "RUNNING"}


def test_the_funnel_counts_each_reason() -> None:
    funnel = Funnel()
    rows = [instance(), instance(shape="VM.X"), instance(shape="VM.Y")]
    assert len(select(rows, Options(), load().shapes, funnel)) == 1
    assert str(funnel) == "3 instances: 2 without a GPU"


def test_a_listing_survives_a_cache() -> None:
    host = Composer(Options(), load().shapes).host("gpu", instance(), None)
    listing = Listing((host,), {"shape_x": ("oci_gpu",)}, warnings=("w",))
    assert Listing.from_dict(listing.to_dict()) == listing
