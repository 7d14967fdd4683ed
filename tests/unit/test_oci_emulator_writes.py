"""The emulator takes what the SDK's own clients send: launches, networks, and what goes wrong."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import oci
import pytest
from click.testing import CliRunner
from emulator_rig import clients

from sandbox.oci import control, keys, machines
from sandbox.oci.__main__ import main
from sandbox.oci.faults import Fault
from sandbox.oci.refusals import RefusedError
from sandbox.oci.server import Emulator, Knobs
from sandbox.oci.signature import Request
from sandbox.oci.tenancy import REGION, Tenancy, for_launches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

A10 = "VM.GPU.A10.1"
H100 = "BM.GPU.H100.8"
TOKEN = "t"  # noqa: S105 - no secret: it names a request
AD1, AD2 = Tenancy().domains()[:2]
Models = oci.core.models


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return keys.create(tmp_path_factory.mktemp("oci"), Tenancy().ocid, REGION)


@pytest.fixture
def emulator(credentials: keys.Credentials) -> Iterator[Emulator]:
    with Emulator(for_launches(), {credentials.key_id: credentials.public_key}) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, credentials: keys.Credentials) -> Any:
    return clients(emulator, credentials)


def details(emulator: Emulator, **given: Any) -> Any:
    tenancy = emulator.api.tenancy
    image = next(
        one["id"] for one in tenancy.images.values() if "aarch64" not in one["displayName"]
    )
    return Models.LaunchInstanceDetails(
        **{
            "availability_domain": AD1,
            "compartment_id": tenancy.compartments[0]["id"],
            "shape": A10,
            "display_name": "gpu-1",
            "source_details": Models.InstanceSourceViaImageDetails(image_id=image),
            "create_vnic_details": Models.CreateVnicDetails(
                subnet_id=next(iter(tenancy.subnets)), assign_public_ip=False
            ),
            "metadata": {"ssh_authorized_keys": "ssh-ed25519 AAAA me"},
            **given,
        }
    )


def refusal(call: Callable[[], Any]) -> tuple[int, str, str]:
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        call()
    return caught.value.status, caught.value.code, caught.value.message


def test_an_instance_lives_from_launch_to_termination(emulator: Emulator, client: Any) -> None:
    emulator.api.compute.boot_seconds = 3600
    compute, network = client(oci.core.ComputeClient), client(oci.core.VirtualNetworkClient)
    answer = compute.launch_instance(details(emulator))
    one = answer.data
    assert (one.lifecycle_state, one.availability_domain) == ("PROVISIONING", AD1)
    assert (one.shape_config.gpus, one.region) == (1, "iad")
    works = client(oci.work_requests.WorkRequestClient)
    work = works.get_work_request(answer.headers["opc-work-request-id"]).data
    assert (work.status, work.resources[0].identifier) == ("IN_PROGRESS", one.id)
    assert refusal(lambda: compute.instance_action(one.id, "STOP"))[:2] == (409, "IncorrectState")
    emulator.api.tenancy.pending[0]["at"] = 0
    assert compute.get_instance(one.id).data.lifecycle_state == "RUNNING"
    assert works.get_work_request(work.id).data.status == "SUCCEEDED"
    place = one.compartment_id
    (attached,) = compute.list_vnic_attachments(place, instance_id=one.id).data
    vnic = network.get_vnic(attached.vnic_id).data
    assert (vnic.private_ip, vnic.public_ip) == ("10.0.0.2", None)
    emulator.api.compute.boot_seconds = 0
    compute.instance_action(one.id, "SOFTSTOP")
    assert compute.get_instance(one.id).data.lifecycle_state == "STOPPED"
    compute.instance_action(one.id, "START")
    assert compute.get_instance(one.id).data.lifecycle_state == "RUNNING"
    compute.terminate_instance(one.id, preserve_boot_volume=False)
    assert compute.get_instance(one.id).data.lifecycle_state == "TERMINATED"
    assert compute.list_vnic_attachments(place, instance_id=one.id).data == []
    assert refusal(lambda: compute.terminate_instance(one.id))[0] == 404


def test_the_console_tells_host_keys_once_it_runs(emulator: Emulator, client: Any) -> None:
    compute = client(oci.core.ComputeClient)
    emulator.api.compute.boot_seconds = 3600
    one = compute.launch_instance(details(emulator)).data.id

    def console() -> str:
        wanted = Models.CaptureConsoleHistoryDetails(instance_id=one)
        history = compute.capture_console_history(wanted).data
        assert history.lifecycle_state == "REQUESTED"
        content = lambda: compute.get_console_history_content(history.id)  # noqa: E731
        assert refusal(content)[0] == 404
        states = [compute.get_console_history(history.id).data.lifecycle_state for _ in "ab"]
        assert states == ["GETTING-HISTORY", "SUCCEEDED"]
        answer = compute.get_console_history_content(history.id, length=100000)
        assert answer.headers["opc-bytes-remaining"] == "0"
        return bytes(answer.data).decode()

    assert "HOST KEY" not in console()
    emulator.api.tenancy.pending[0]["at"] = 0
    text = console()
    assert "-----BEGIN SSH HOST KEY KEYS-----\r\nssh-ed25519 " in text
    assert emulator.api.tenancy.host_keys[one] in text


def test_a_retry_token_makes_one_instance_and_dies_with_it(emulator: Emulator, client: Any) -> None:
    compute = client(oci.core.ComputeClient)
    wanted = details(emulator)

    def launch(body: Any) -> str:
        return str(compute.launch_instance(body, opc_retry_token=TOKEN).data.id)

    first = launch(wanted)
    assert launch(wanted) == first
    assert len(emulator.api.tenancy.instances) == 1
    other = details(emulator, display_name="other")
    assert refusal(lambda: launch(other))[:2] == (409, "InvalidatedRetryToken")
    compute.terminate_instance(first)
    assert refusal(lambda: launch(wanted))[:2] == (409, "InvalidatedRetryToken")
    emulator.api.tenancy.retry_tokens["t"] = ("x", first, 0.0)  # a day and more ago
    assert launch(wanted) != first
    long = lambda: compute.launch_instance(wanted, opc_retry_token="x" * 65)  # noqa: E731
    assert refusal(long)[0] == 400


def test_a_refused_launch_does_not_use_its_token_up(emulator: Emulator, client: Any) -> None:
    compute = client(oci.core.ComputeClient)
    emulator.api.tenancy.capacity[A10] = 0

    def launch() -> Any:
        return compute.launch_instance(details(emulator), opc_retry_token=TOKEN)

    assert refusal(launch) == (500, "InternalError", "Out of host capacity.")
    emulator.api.tenancy.capacity.clear()
    assert launch().data.lifecycle_state == "PROVISIONING"


@pytest.mark.parametrize(
    ("given", "status", "code", "words"),
    [
        ({"shape": "VM.None.1"}, 404, "NotAuthorizedOrNotFound", "shape VM.None.1 not found"),
        (
            {"source_details": Models.InstanceSourceViaImageDetails(image_id="x")},
            400, "RelatedResourceNotAuthorizedOrNotFound", "image x",
        ),
        (
            {"create_vnic_details": Models.CreateVnicDetails(subnet_id="x")},
            400, "RelatedResourceNotAuthorizedOrNotFound", "subnet x",
        ),
        ({"availability_domain": "AD-9"}, 400, "InvalidParameter", "AD-9"),
        ({"fault_domain": "FD-9"}, 400, "InvalidParameter", "FD-9"),
        ({"metadata": {"user_data": "no base64!"}}, 400, "InvalidParameter", "user_data"),
        ({"metadata": {"a": "x" * 40000}}, 400, "InvalidParameter", "32,000"),
        ({"capacity_reservation_id": "x"}, 400, "RelatedResource", "capacityReservation x"),
        ({"compute_cluster_id": "x"}, 400, "RelatedResource", "computeCluster x"),
        (
            {"shape": H100, "preemptible_instance_config": Models.PreemptibleInstanceConfigDetails(
                preemption_action=Models.TerminatePreemptionAction())},
            400, "InvalidParameter", "preemptible",
        ),
        ({"shape": "BM.GPU.GB200.4"}, 400, "InvalidParameter", "not valid for image"),
        ({"compartment_id": "ocid1.compartment.oc1..x"}, 404, "NotAuthorizedOrNotFound", ""),
        ({"shape": None}, 400, "MissingParameter", "shape"),
    ],
)  # fmt: skip
def test_wrong_launches_are_refused(  # noqa: PLR0913, PLR0917
    emulator: Emulator, client: Any, given: dict[str, Any], status: int, code: str, words: str
) -> None:
    compute = client(oci.core.ComputeClient)
    found = refusal(lambda: compute.launch_instance(details(emulator, **given)))
    assert found[0] == status
    assert found[1].startswith(code)
    assert words in found[2]
    assert emulator.api.tenancy.instances == {}


def test_capacity_limits_and_quotas(emulator: Emulator, client: Any) -> None:
    compute, tenancy = client(oci.core.ComputeClient), emulator.api.tenancy
    limits = client(oci.limits.LimitsClient)
    place = tenancy.compartments[0]["id"]
    tenancy.capacity = {f"{A10}/{AD1}/FAULT-DOMAIN-1": 1, A10: 0, f"{A10}/{AD2}/FAULT-DOMAIN-3": 9}
    wanted = Models.CreateComputeCapacityReportDetails(
        compartment_id=tenancy.ocid,
        availability_domain=AD1,
        shape_availabilities=[
            Models.CreateCapacityReportShapeAvailabilityDetails(
                instance_shape=A10, fault_domain=f"FAULT-DOMAIN-{number}"
            )
            for number in (1, 2)
        ],
    )
    told = compute.create_compute_capacity_report(wanted).data.shape_availabilities
    assert [(one.availability_status, one.available_count) for one in told] == [
        ("AVAILABLE", 1), ("OUT_OF_HOST_CAPACITY", 0)
    ]  # fmt: skip
    assert compute.launch_instance(details(emulator)).data.fault_domain == "FAULT-DOMAIN-1"
    assert refusal(lambda: compute.launch_instance(details(emulator)))[1] == "InternalError"
    tenancy.limits["gpu-a10-count"] = 1
    status, code, text = refusal(lambda: compute.launch_instance(details(emulator)))
    assert (status, code) == (400, "LimitExceeded")
    assert "exceeded: gpu-a10-count. Request" in text
    left = limits.get_resource_availability(
        "compute", "gpu-a10-count", place, availability_domain=AD1
    ).data
    assert (left.used, left.available) == (1, 0)
    (value,) = limits.list_limit_values(
        place, "compute", name="gpu-a10-count", availability_domain=AD1
    ).data
    assert value.value == 1
    tenancy.quotas[f"{place}/gpu-a10-count"] = 0
    there = details(emulator, availability_domain=AD2)
    assert refusal(lambda: compute.launch_instance(there))[:2] == (400, "QuotaExceeded")
    tenancy.quotas.clear()
    assert compute.launch_instance(there).data.fault_domain == "FAULT-DOMAIN-3"


def test_a_launch_can_fail_after_it_was_accepted(emulator: Emulator, client: Any) -> None:
    emulator.api.tenancy.doomed.append(("InternalError", "Out of host capacity."))
    compute = client(oci.core.ComputeClient)
    answer = compute.launch_instance(details(emulator))
    assert compute.get_instance(answer.data.id).data.lifecycle_state == "TERMINATED"
    works = client(oci.work_requests.WorkRequestClient)
    work = works.get_work_request(answer.headers["opc-work-request-id"]).data
    (error,) = works.list_work_request_errors(work.id).data
    assert (work.status, error.message) == ("FAILED", "Out of host capacity.")
    (listed,) = works.list_work_requests(
        answer.data.compartment_id, resource_id=answer.data.id
    ).data
    assert listed.id == work.id


def test_places_shapes_and_images(emulator: Emulator, client: Any) -> None:
    tenancy = emulator.api.tenancy
    compute, identity = client(oci.core.ComputeClient), client(oci.identity.IdentityClient)
    place = tenancy.compartments[0]["id"]
    domains = identity.list_availability_domains(tenancy.ocid).data
    assert [one.name for one in domains] == tenancy.domains()
    faults = identity.list_fault_domains(tenancy.ocid, AD1).data
    assert [one.name for one in faults] == tenancy.fault_domains
    tenancy.without_shape[H100] = [AD1]
    shapes = compute.list_shapes
    assert shapes(place, availability_domain=AD1, shape=H100).data == []
    (row,) = shapes(place, availability_domain=AD2, shape=H100).data
    assert (row.gpus, row.rdma_ports, row.quota_names) == (8, 8, ["gpu-h100-count"])
    images = compute.list_images(
        place, operating_system="Canonical Ubuntu", operating_system_version="24.04", shape=A10,
        sort_by="TIMECREATED", sort_order="DESC",
    ).data  # fmt: skip
    assert [one.display_name[-12:] for one in images] == ["2026.08.14-0", "2026.05.30-0"]
    arm = compute.list_images(place, shape="BM.GPU.GB200.4").data
    assert arm
    assert all("aarch64" in one.display_name for one in arm)
    assert {one.shape for one in shapes(place, image_id=arm[0].id).data} >= {"BM.GPU.GB200.4"}
    assert A10 not in {one.shape for one in shapes(place, image_id=arm[0].id, limit=1000).data}


def test_a_network_is_made_of_its_parts(emulator: Emulator, client: Any) -> None:
    network = client(oci.core.VirtualNetworkClient)
    place = emulator.api.tenancy.compartments[0]["id"]
    base = {"compartment_id": place, "display_name": "n"}
    vcn = network.create_vcn(
        Models.CreateVcnDetails(**base, cidr_blocks=["10.66.0.0/24"], dns_label="net"),
        opc_retry_token=TOKEN,
    ).data
    again = network.create_vcn(
        Models.CreateVcnDetails(**base, cidr_blocks=["10.66.0.0/24"], dns_label="net"),
        opc_retry_token=TOKEN,
    ).data
    assert again.id == vcn.id
    open_to_all = network.get_security_list(vcn.default_security_list_id).data
    assert [one.source for one in open_to_all.ingress_security_rules] == ["0.0.0.0/0"]
    inside = {**base, "vcn_id": vcn.id}
    gateway = network.create_nat_gateway(Models.CreateNatGatewayDetails(**inside)).data
    rule = Models.RouteRule(destination="0.0.0.0/0", network_entity_id=gateway.id)
    routes = network.create_route_table(
        Models.CreateRouteTableDetails(**inside, route_rules=[rule])
    ).data
    closed = network.create_security_list(
        Models.CreateSecurityListDetails(
            **inside, ingress_security_rules=[], egress_security_rules=[]
        )
    ).data
    subnet = network.create_subnet(
        Models.CreateSubnetDetails(
            **inside, cidr_block="10.66.0.0/24", route_table_id=routes.id,
            security_list_ids=[closed.id], dns_label="hosts",
        )
    ).data  # fmt: skip
    assert subnet.security_list_ids == [closed.id]
    assert subnet.subnet_domain_name == "hosts.net.oraclevcn.com"
    group = network.create_network_security_group(
        Models.CreateNetworkSecurityGroupDetails(**inside)
    ).data
    wanted = Models.AddSecurityRuleDetails(direction="INGRESS", protocol="6", source="10.0.0.0/8")
    network.add_network_security_group_security_rules(
        group.id, Models.AddNetworkSecurityGroupSecurityRulesDetails(security_rules=[wanted])
    )
    (kept,) = network.list_network_security_group_security_rules(group.id).data
    assert (kept.source, kept.is_valid) == ("10.0.0.0/8", True)
    (listed,) = network.list_subnets(place, vcn_id=vcn.id).data
    assert listed.id == subnet.id
    overlap = Models.CreateSubnetDetails(**inside, cidr_block="10.66.0.0/25")
    assert "overlaps" in refusal(lambda: network.create_subnet(overlap))[2]
    outside = Models.CreateSubnetDetails(**inside, cidr_block="10.67.0.0/25")
    assert "not contained" in refusal(lambda: network.create_subnet(outside))[2]
    odd = Models.CreateVcnDetails(**base, cidr_blocks=["10.66.0.1/24"])
    assert "is no CIDR" in refusal(lambda: network.create_vcn(odd))[2]


@pytest.mark.parametrize(
    ("rows", "model"),
    [
        ("internet_gateways", Models.InternetGateway),
        ("nat_gateways", Models.NatGateway),
        ("route_tables", Models.RouteTable),
        ("security_lists", Models.SecurityList),
        ("security_groups", Models.NetworkSecurityGroup),
        ("vcns", Models.Vcn),
        ("subnets", Models.Subnet),
        ("instances", Models.Instance),
        ("work_requests", oci.work_requests.models.WorkRequest),
    ],
)
def test_fields_of_what_was_made_are_those_of_the_sdks_models(
    emulator: Emulator, client: Any, rows: str, model: Any
) -> None:
    test_a_network_is_made_of_its_parts(emulator, client)
    network = client(oci.core.VirtualNetworkClient)
    place = emulator.api.tenancy.compartments[0]["id"]
    vcn = next(reversed(emulator.api.tenancy.vcns))
    network.create_internet_gateway(
        Models.CreateInternetGatewayDetails(compartment_id=place, vcn_id=vcn, is_enabled=True)
    )
    client(oci.core.ComputeClient).launch_instance(details(emulator))
    table = getattr(emulator.api.tenancy, rows)
    assert table
    for row in table.values():
        assert set(row) <= set(model().attribute_map.values())


def test_a_compute_cluster_holds_what_is_launched_into_it(emulator: Emulator, client: Any) -> None:
    compute = client(oci.core.ComputeClient)
    place = emulator.api.tenancy.compartments[0]["id"]
    cluster = compute.create_compute_cluster(
        Models.CreateComputeClusterDetails(availability_domain=AD1, compartment_id=place)
    ).data
    inside = {"shape": H100, "compute_cluster_id": cluster.id}
    one = compute.launch_instance(details(emulator, **inside)).data
    (member,) = compute.list_instances(place, compute_cluster_id=cluster.id).data
    assert member.id == one.id
    elsewhere = details(emulator, **inside, availability_domain=AD2)
    assert "another availability domain" in refusal(lambda: compute.launch_instance(elsewhere))[2]
    small = details(emulator, compute_cluster_id=cluster.id)
    assert "cannot join" in refusal(lambda: compute.launch_instance(small))[2]


def test_a_host_name_is_given_once_in_a_subnet(emulator: Emulator, client: Any) -> None:
    compute = client(oci.core.ComputeClient)
    vnic = Models.CreateVnicDetails(
        subnet_id=next(iter(emulator.api.tenancy.subnets)), hostname_label="gpu"
    )
    compute.launch_instance(details(emulator, create_vnic_details=vnic))
    call = lambda: compute.launch_instance(details(emulator, create_vnic_details=vnic))  # noqa: E731
    assert "Hostname gpu already used in subnet" in refusal(call)[2]


def post(emulator: Emulator, credentials: keys.Credentials, signed: bytes, sent: bytes) -> Request:
    """Sign a body, and send another."""
    signer = oci.signer.Signer.from_config(oci.config.from_file(str(credentials.config)))
    host = emulator.url.removeprefix("http://")
    headers = {"host": host, "date": oci.signer.email.utils.formatdate(usegmt=True),
               "content-type": "application/json"}  # fmt: skip
    headers["x-content-sha256"] = base64.b64encode(
        oci.signer.hashlib.sha256(signed).digest()
    ).decode()
    headers["content-length"] = str(len(signed))
    found = signer._body_signer.sign(headers, host=host, method="POST", path="/20160918/instances")
    return Request(
        "POST", "/20160918/instances", {key.lower(): one for key, one in found.items()}, sent
    )


def test_a_signature_covers_the_body(emulator: Emulator, credentials: keys.Credentials) -> None:
    good = post(emulator, credentials, b'{"a": 1}', b'{"a": 1}')
    assert emulator.verifier.principal(good) == "user"
    with pytest.raises(RefusedError) as caught:
        emulator.verifier.principal(post(emulator, credentials, b'{"a": 1}', b'{"a": 2}'))
    assert caught.value.status == 401
    bare = dict(good.headers)
    signer = oci.signer.Signer.from_config(oci.config.from_file(str(credentials.config)))
    unsigned = signer._basic_signer.sign(
        {"host": bare["host"], "date": bare["date"]}, host=bare["host"], method="POST",
        path="/20160918/instances",
    )  # fmt: skip
    with pytest.raises(RefusedError):  # the body is not among what was signed
        emulator.verifier.principal(
            Request("POST", "/20160918/instances",
                    bare | {key.lower(): one for key, one in unsigned.items()}, b'{"a": 1}')
        )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "POST /instances=500:InternalError:Out of host capacity.*3",
            Fault("POST /instances", 500, 3, "InternalError", "Out of host capacity."),
        ),
        ("x=400:QuotaExceeded", Fault("x", 400, None, "QuotaExceeded")),
        ("POST /instances=lost*1", Fault("POST /instances", "lost", 1)),
    ],
)
def test_faults_name_code_and_words(text: str, expected: Fault) -> None:
    assert Fault.parse(text) == expected
    with pytest.raises(ValueError, match="a fault is"):
        Fault.parse("x=hang:InternalError")


def test_a_fault_speaks_as_it_was_told(emulator: Emulator, client: Any) -> None:
    compute = client(oci.core.ComputeClient)
    emulator.faults.append(Fault.parse("POST /instances=400:QuotaExceeded:none left*1"))
    place = emulator.api.tenancy.compartments[0]["id"]
    assert compute.list_instances(place).data == []
    launch = lambda: compute.launch_instance(details(emulator))  # noqa: E731
    assert refusal(launch) == (400, "QuotaExceeded", "none left")


def test_a_lost_answer_is_of_a_request_that_was_carried_out(
    emulator: Emulator, client: Any
) -> None:
    emulator.faults.append(Fault.parse("POST /instances=lost*1"))
    compute = client(oci.core.ComputeClient)
    with pytest.raises(oci.exceptions.RequestException):
        compute.launch_instance(details(emulator))
    assert len(emulator.api.tenancy.instances) == 1


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"shap": "x"}, "CannotParseRequest", "shap: unrecognized"),
        ({"shape": 3}, "CannotParseRequest", "shape: 3 is no str"),
        ({"createVnicDetails": {"nsgIds": "x"}}, "CannotParseRequest", "nsgIds: is no list"),
        ({"createVnicDetails": {"nsgIds": [1]}}, "CannotParseRequest", "nsgIds[0]"),
        ({"metadata": {"a": 1}}, "CannotParseRequest", "metadata.a"),
        ({"sourceDetails": {"sourceType": "tape"}}, "InvalidParameter", "'tape'"),
    ],
)
def test_odd_bodies_are_refused_by_field(
    emulator: Emulator, client: Any, body: dict[str, Any], code: str, words: str
) -> None:
    compute = client(oci.core.ComputeClient)
    whole = compute.base_client.sanitize_for_serialization(details(emulator)) | body
    found = refusal(lambda: compute.launch_instance(whole))
    assert found[:2] == (400, code)
    assert words in found[2]


def test_what_was_launched_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Emulator] = []
    monkeypatch.setattr(Emulator, "serve", lambda self: served.append(self))  # noqa: PLW0108 - bound
    monkeypatch.setattr("signal.signal", lambda *_: None)
    control.serve(for_launches(), tmp_path, Knobs())
    (first,) = served
    body = {"lifecycleState": "RUNNING"}
    ocid = first.api.tenancy.instance("gpu-1", A10, first.api.tenancy.compartments[0]["id"])
    first.api.tenancy.instances[ocid].update(body)
    first.api.tenancy.retry_tokens["t"] = ("digest", ocid, 1.0)
    assert not control.has_launched(tmp_path)
    first.changed("GET")
    assert not control.has_launched(tmp_path)
    first.changed("POST")
    assert control.has_launched(tmp_path)
    control.serve(for_launches(), tmp_path, Knobs())
    assert served[1].api.tenancy.instances[ocid]["displayName"] == "gpu-1"
    assert served[1].api.tenancy.serial == first.api.tenancy.serial
    begun = first.api.tenancy.instance("gpu-2", A10, "c", state="PROVISIONING")
    work = first.api.compute.works.open("LaunchInstance", first.api.tenancy.instances[begun])
    first.changed("POST")
    control.serve(for_launches(), tmp_path, Knobs())
    found = served.pop().api.tenancy  # nobody waits for its host any more
    assert found.instances[begun]["lifecycleState"] == "TERMINATED"
    assert found.work_errors[work][0]["message"] == "the emulator was restarted"
    control.forget(tmp_path)
    control.serve(for_launches(), tmp_path, Knobs())
    assert served[2].api.tenancy.instances == {}


def test_the_command_line_serves_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Any, ...]] = []
    monkeypatch.setattr(control, "serve", lambda *given: served.append(given))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["serve", "--state", str(tmp_path), *arguments])

    done = run("--launches", "--boot", "3", "--capacity", "VM.GPU.A10.1=2", "--limit", "a/b=4",
               "--fault", "POST /instances=500:InternalError:no*2")  # fmt: skip
    assert done.exit_code == 0, done.output
    ((tenancy, _, knobs, faults, machines_),) = served
    assert (tenancy.capacity, tenancy.limits) == ({"VM.GPU.A10.1": 2}, {"a/b": 4})
    assert (knobs.boot, machines_) == (3.0, None)
    assert faults[0].message == "no"
    assert tenancy.images
    assert "expected NAME=NUMBER" in run("--launches", "--capacity", "x").output
    assert "give --launches" in run().output


def test_an_emulator_with_launched_hosts_is_not_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    there = {"pid": 1, "url": "http://127.0.0.1:1"}
    monkeypatch.setattr(control, "_running", lambda _: there)
    monkeypatch.setattr(control, "end", lambda _: None)

    def spawn(state: Path, _hosts: Path) -> dict[str, Any]:
        started.append(state)
        return there

    monkeypatch.setattr(control, "_spawn", spawn)
    host = {"name": "gpu1", "address": "10.0.0.2", "shape": A10, "os": "debian-12"}
    control.ensure([host], tmp_path)
    control.ensure([host], tmp_path)
    assert len(started) == 1
    control.ensure([], tmp_path)
    assert len(started) == 2
    tenancy = for_launches()
    ocid = tenancy.instance("gpu-1", A10, "c")
    tenancy.retry_tokens["t"] = ("d", ocid, 1.0)
    (tmp_path / "oci" / control.KEPT).write_text(json.dumps(tenancy.to_dict()))
    control.ensure([host], tmp_path)
    assert len(started) == 2
    tenancy.instances[ocid]["lifecycleState"] = "TERMINATED"
    (tmp_path / "oci" / control.KEPT).write_text(json.dumps(tenancy.to_dict()))
    control.ensure([host], tmp_path)
    assert len(started) == 3


def test_a_launched_instance_becomes_a_host_of_its_image_with_the_users_key() -> None:
    tenancy = for_launches()
    ocid = tenancy.instance("GPU 1", A10, tenancy.compartments[0]["id"])
    instance = tenancy.instances[ocid] | {"metadata": {"ssh_authorized_keys": "ssh-ed25519 A me"}}
    image = {"operatingSystem": "Debian", "operatingSystemVersion": "12"}
    spec = machines.specification("x-gpu-1", instance, image)
    assert (spec.image, spec.shape, len(spec.gpus)) == ("debian-12", A10, 1)
    assert spec.files["/home/ops/.ssh/authorized_keys"].content == "ssh-ed25519 A me\n"


class Pretended:
    """Machines that are told what to do and say so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.told: list[str] = []
        self.error = error

    def start(self, instance: dict[str, Any], _image: dict[str, Any]) -> tuple[str, str]:
        self.told.append(f"start {instance['displayName']}")
        if self.error:
            raise self.error
        return "10.0.0.77", "ssh-ed25519 KEY root@gpu-1"

    def power(self, _instance: dict[str, Any], *, on: bool) -> None:
        self.told.append("on" if on else "off")

    def remove(self, _instance: dict[str, Any]) -> None:
        self.told.append("remove")


def settled(compute: Any, ocid: str, state: str) -> Any:
    wait = oci.wait_until(
        compute, compute.get_instance(ocid), "lifecycle_state", state,
        max_wait_seconds=10, max_interval_seconds=1,
    )  # fmt: skip
    return wait.data


def test_real_machines_follow_their_instances(emulator: Emulator, client: Any) -> None:
    there = emulator.api.compute.machines = Pretended()
    compute = client(oci.core.ComputeClient)
    one = compute.launch_instance(details(emulator)).data.id
    settled(compute, one, "RUNNING")
    (vnic,) = emulator.api.tenancy.vnics.values()
    assert vnic["privateIp"] == "10.0.0.77"
    assert "KEY" in emulator.api.tenancy.host_keys[one]
    compute.instance_action(one, "STOP")
    compute.get_instance(one)
    compute.instance_action(one, "START")
    compute.terminate_instance(one)
    assert there.told == ["start gpu-1", "off", "on", "remove"]


def test_a_machine_that_does_not_start_is_the_work_requests_error(
    emulator: Emulator, client: Any
) -> None:
    emulator.api.compute.machines = Pretended(RuntimeError("no podman"))
    compute = client(oci.core.ComputeClient)
    one = compute.launch_instance(details(emulator)).data.id
    settled(compute, one, "TERMINATED")
    (errors,) = emulator.api.tenancy.work_errors.values()
    assert errors[0]["message"] == "no podman"
