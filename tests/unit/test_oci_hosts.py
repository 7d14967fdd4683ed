"""Names, groups and variables of hosts. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from gpuprep.catalog import load
from gpuprep.oci import Options
from gpuprep.oci.gpu import gpu_facts, model_of
from gpuprep.oci.hosts import Composer, group_name, host_names
from gpuprep.oci.network import candidates
from gpuprep.oci.records import Addresses, Compartment, Instance, Listing
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


def test_names_do_not_depend_on_the_order_of_listing() -> None:
    pairs: list[tuple[Instance, Addresses | None]] = [
        (instance("a", "ocid1.instance.oc1.iad.111111"), None),
        (instance("a", "ocid1.instance.oc1.iad.222222"), None),
        (instance("b", "ocid1.instance.oc1.iad.333333"), None),
    ]
    forward, shared = host_names(pairs, ["display_name"])
    backward, _ = host_names(pairs[::-1], ["display_name"])
    assert forward == ["a_111111", "a_222222", "b"] == backward[::-1]
    assert shared == ["a"]


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
    assert host_names([(instance("node #1"), where)], preference)[0] == [expected]


def test_nameless_addresses_never_name_a_host_none() -> None:
    assert host_names([(instance("{{}}"), None)], ["display_name", "private_ip"])[0] == [
        "ocid1.instance.oc1.iad.abcdef"
    ]


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
