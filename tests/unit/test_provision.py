"""Fleets come to be: against the emulator, by the real client with real signatures."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from provision_rig import A10, H100, World

from gpuprep.errors import ConfigError, ExitCode, InventoryError
from gpuprep.oci.provision import settings
from gpuprep.oci.provision.calls import Cloud
from gpuprep.oci.provision.failures import RefusedError
from gpuprep.oci.provision.fleet import provision
from gpuprep.oci.provision.reach import Answer, Reached
from sandbox.oci import keys
from sandbox.oci.faults import Fault
from sandbox.oci.server import Emulator
from sandbox.oci.tenancy import REGION, Tenancy, for_launches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AD1, AD2, AD3 = Tenancy().domains()
NO_ROOM = "Out of host capacity."


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return keys.create(tmp_path_factory.mktemp("oci"), Tenancy().ocid, REGION)


@pytest.fixture
def world(tmp_path: Path, credentials: keys.Credentials) -> Iterator[World]:
    with Emulator(for_launches(), {credentials.key_id: credentials.public_key}) as running:
        yield World(tmp_path, credentials, running)


def codes_of(result: Any) -> set[str | None]:
    return {one.code for one in result.members.values()}


def test_check_says_what_would_be_launched_and_changes_nothing(world: World) -> None:
    before = world.tenancy.to_dict()
    result = world.run(check=True)
    assert world.tenancy.to_dict() == before
    asked = world.asked()
    assert [route for route in asked if route.startswith(("POST", "PUT", "DELETE"))] == [
        "POST /computeCapacityReports"
    ]
    assert (result.changed, result.exit_code) == (True, ExitCode.OK)
    assert [one.action for one in result.members.values()] == ["launch", "launch"]
    assert [one.place for one in result.members.values()] == ["AD-1/FD-1", "AD-1/FD-2"]
    assert result.details["image"] == "Debian-12-2026.08.14-0"
    assert result.details["subnet"] == next(iter(world.tenancy.subnets))
    assert [one["offered"] for one in result.details["domains"]] == [True] * 3
    assert result.details["domains"][0]["limits"] == {"gpu-a10-count": 1000}
    assert result.details["billed_when_stopped"] is False


def test_hosts_are_launched_once_and_found_again(world: World) -> None:
    result = world.run()
    asked, stats = world.asked(), world.emulator.stats
    assert (result.exit_code, result.changed) == (ExitCode.OK, True)
    assert stats.verified == stats.total
    polled = asked["/instances"] - 1
    console = sum(count for route, count in asked.items() if "onsoleHistories" in route)
    assert console == 5 * 2  # captured, looked at twice, read, removed
    assert sum(asked.values()) - polled - console <= 15
    assert asked["POST /instances"] == 2
    hosts = world.alive()
    assert [one["displayName"] for one in hosts] == ["seed-001", "seed-002"]
    assert {one["faultDomain"] for one in hosts} == {"FAULT-DOMAIN-1", "FAULT-DOMAIN-2"}
    assert hosts[0]["instanceOptions"] == {"areLegacyImdsEndpointsDisabled": True}
    assert hosts[0]["sourceDetails"]["bootVolumeSizeInGBs"] == 150
    assert [one.address for one in result.members.values()] == ["10.0.0.2", "10.0.0.3"]
    assert {one.user for one in result.members.values()} == {"debian"}
    known = (world.folder / "known_hosts").read_text().splitlines()
    keys_ = world.tenancy.host_keys
    told = sorted(line.split()[1:3] for line in known)
    assert told == sorted(keys_[one["id"]].split()[:2] for one in hosts)
    assert world.tenancy.histories == {}
    before = world.tenancy.to_dict()
    again = world.run()
    assert world.asked() == {"/instances": 1}
    assert (again.changed, again.exit_code) == (False, ExitCode.OK)
    assert world.tenancy.to_dict() == before


def test_a_running_host_that_was_never_reached_is_reached_by_the_next_run(world: World) -> None:
    world.run()
    (world.folder / "known_hosts").unlink()
    result = world.run()
    assert [one.address for one in result.members.values()] == ["10.0.0.2", "10.0.0.3"]
    assert len((world.folder / "known_hosts").read_text().splitlines()) == 2
    assert not result.changed


@pytest.mark.parametrize("_time", range(20))
def test_a_controller_killed_before_the_answer_launches_nothing_twice(
    world: World, _time: int
) -> None:
    """The answer to the first launch is lost and the run ends there; the next one goes on."""
    world.emulator.faults.append(Fault("POST /instances$", "lost"))
    with_one_try = world.options(max_attempts=1)
    desired = settings.desired(settings.Source(world.fleet(), folder=world.folder))
    killed = provision(desired, with_one_try, tools=world.tools())
    assert codes_of(killed) == {"E_OCI_BUSY"}
    assert killed.exit_code is ExitCode.UNAVAILABLE
    assert len(world.alive()) == 1
    world.emulator.faults.clear()
    result = world.run()
    assert result.exit_code is ExitCode.OK
    assert sorted(one["displayName"] for one in world.alive()) == ["seed-001", "seed-002"]


def test_a_lost_answer_is_asked_for_again_with_the_same_token(world: World) -> None:
    world.emulator.faults.append(Fault("POST /instances$", "lost", 1))
    assert world.run().exit_code is ExitCode.OK
    assert len(world.tenancy.instances) == 2
    assert world.launches() == 3


@pytest.mark.parametrize("_time", range(20))
def test_two_controllers_at_once_launch_each_member_once(world: World, _time: int) -> None:
    world.emulator.latency = 0.005
    desired = world.fleet(wait={"ssh": False})
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(world.go(desired))) for _ in "ab"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one.exit_code for one in results] == [ExitCode.OK] * 2
    assert sorted(one["displayName"] for one in world.alive()) == ["seed-001", "seed-002"]


def test_a_list_that_lags_behind_launches_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants the same instance sends the same token, whatever the list shows."""
    first = world.run(wait={"ssh": False})
    shown, blind = Cloud.instances, [True]

    def lagging(cloud: Cloud) -> list[Any]:
        return [] if blind and blind.pop() else shown(cloud)

    monkeypatch.setattr(Cloud, "instances", lagging)
    world.asked()
    second = world.run(wait={"ssh": False})
    stats = world.emulator.reset_stats()
    assert (stats.routes["POST /instances"], set(stats.statuses)) == (2, {200})
    assert [one.id for one in second.members.values()] == [one.id for one in first.members.values()]
    assert second.warnings == ()
    assert len(world.alive()) == 2


@pytest.mark.parametrize("named", [True, False])
def test_who_launched_second_in_another_place_gives_way(world: World, *, named: bool) -> None:
    """The first place is full for one controller and free again for the other."""
    first = world.tenancy

    def other_launches() -> None:
        ocid = first.instance(
            "seed-001", A10, world.place, state="RUNNING",
            freeform_tags={"gpuprep-fleet": "seed", "gpuprep-member": "001"},
        )  # fmt: skip
        first.instances[ocid]["timeCreated"] = "2026-01-01T00:00:00.000Z"
        if named:  # in the same subnet, where a name is given once
            first.vnic(ocid, next(iter(first.subnets)), "10.0.0.9")

    world.emulator.once("POST /instances$", other_launches)
    result = world.run(count=1, wait={"ssh": False})
    told = [one.code for one in result.warnings]
    assert told == ([] if named else ["W_OCI_GAVE_WAY"])
    (left,) = world.alive()
    assert left["timeCreated"] == "2026-01-01T00:00:00.000Z"
    assert result.members["seed-001"].id == left["id"]
    assert (result.exit_code, result.changed) == (ExitCode.OK, False)


def test_no_room_in_one_domain_leads_to_the_next(world: World) -> None:
    for number in (1, 2, 3):
        world.tenancy.capacity[f"{A10}/{AD1}/FAULT-DOMAIN-{number}"] = 0
    result = world.run()
    assert result.exit_code is ExitCode.OK
    assert {one["availabilityDomain"] for one in world.alive()} == {AD2}
    assert world.launches() == 2  # the capacity report had told


def test_what_the_report_does_not_tell_is_asked_once_per_place(world: World) -> None:
    world.emulator.faults.append(Fault("POST /computeCapacityReports", 404))
    world.emulator.faults.append(Fault("resourceAvailability", 404))
    for number in (1, 2, 3):
        world.tenancy.capacity[f"{A10}/{AD1}/FAULT-DOMAIN-{number}"] = 0
    result = world.run()
    assert result.exit_code is ExitCode.OK
    assert world.launches() == 3 + 2
    assert result.members["seed-001"].tried == ("AD-1/FD-1", "AD-1/FD-2", "AD-1/FD-3", "AD-2/FD-1")


@pytest.mark.parametrize("told", [True, False])
def test_no_room_anywhere_is_told_at_once(world: World, *, told: bool) -> None:
    world.tenancy.capacity[A10] = 0
    if not told:
        world.emulator.faults.append(Fault("POST /computeCapacityReports", 404))
    started = time.monotonic()
    result = world.run(count=4)
    assert time.monotonic() - started < 5
    assert codes_of(result) == {"E_OCI_CAPACITY"}
    assert result.exit_code is ExitCode.ALL_HOSTS_FAILED
    assert world.launches() == 9
    assert len(result.members["seed-001"].tried) == 9
    assert world.tenancy.instances == {}
    assert world.slept == []
    assert not result.changed
    assert "AD-3/FD-2" in str(result.members["seed-004"].error)


def test_some_get_a_host_and_some_do_not(world: World) -> None:
    world.tenancy.capacity = {A10: 0, f"{A10}/{AD3}/FAULT-DOMAIN-2": 1}
    result = world.run()
    assert result.exit_code is ExitCode.SOME_HOSTS_FAILED
    assert [one.code for one in result.members.values()] == [None, "E_OCI_CAPACITY"]


@pytest.mark.parametrize(
    ("fault", "code", "exit_code", "asked"),
    [
        ("400:LimitExceeded:The following service limits were exceeded: gpu-a10-count. Request.",
         "E_OCI_LIMIT", ExitCode.ALL_HOSTS_FAILED, 3),
        ("400:QuotaExceeded:Quota exceeded", "E_OCI_QUOTA", ExitCode.ALL_HOSTS_FAILED, 1),
        ("401:NotAuthenticated:Failed to verify", "E_OCI_SIGN_IN", ExitCode.UNAVAILABLE, 1),
        ("404:NotAuthorizedOrNotFound:shape VM.GPU.A10.1 not found",
         "E_OCI_SHAPE", ExitCode.ALL_HOSTS_FAILED, 3),
        ("404:NotAuthorizedOrNotFound:Authorization failed or requested resource not found.",
         "E_OCI_POLICY", ExitCode.UNAVAILABLE, 1),
        ("400:RelatedResourceNotAuthorizedOrNotFound:subnet x",
         "E_OCI_POLICY", ExitCode.UNAVAILABLE, 1),
        ("400:InvalidParameter:bootVolumeSizeInGBs is wrong", "E_OCI_SETTING", ExitCode.USAGE, 1),
        ("400:CannotParseRequest:shap: unrecognized", "E_OCI_SETTING", ExitCode.USAGE, 1),
        ("400:InvalidParameter:Hostname seed-001 already used in subnet x",
         "E_OCI_NAME", ExitCode.USAGE, 1),
        ("409:InvalidatedRetryToken:spent", "E_OCI_TOKEN", ExitCode.ALL_HOSTS_FAILED, 2),
        ("409:IncorrectState:not now", "E_OCI_BUSY", ExitCode.UNAVAILABLE, 6),
        ("429:TooManyRequests:slow down", "E_OCI_BUSY", ExitCode.UNAVAILABLE, 6),
        ("500:InternalServerError:oops", "E_OCI_BUSY", ExitCode.UNAVAILABLE, 6),
    ],
)  # fmt: skip
def test_every_refusal_has_its_code_and_leaves_nothing_behind(
    world: World, fault: str, code: str, exit_code: ExitCode, asked: int
) -> None:
    world.emulator.faults.append(Fault.parse(f"POST /instances$={fault}"))
    result = world.run()
    assert codes_of(result) == {code}
    assert result.exit_code is exit_code
    assert world.launches() == asked
    assert world.tenancy.instances == {}
    assert not result.changed
    text = str(result.members["seed-001"].error)
    assert fault.rpartition(":")[2] in text
    if code == "E_OCI_POLICY":
        assert "Allow group <group> to manage instance-family in compartment id ocid1" in text


@pytest.mark.parametrize("fault", ["409:IncorrectState:x*1", "429*3", "503*2", "500*2"])
def test_what_passes_is_waited_for(world: World, fault: str) -> None:
    world.emulator.faults.append(Fault.parse(f"POST /instances$={fault}"))
    assert world.run().exit_code is ExitCode.OK
    assert len(world.tenancy.instances) == 2
    assert world.slept


def test_a_limit_after_a_failed_launch_may_not_be_reached(world: World) -> None:
    limit = "400:LimitExceeded:The following service limits were exceeded: gpu-a10-count. Request."
    world.emulator.faults += [
        Fault.parse(f"POST /instances$=500:InternalError:{NO_ROOM}*1"),
        Fault.parse(f"POST /instances$={limit}"),
    ]
    result = world.run(count=1, placement={"availability_domains": ["AD-1"]})
    (member,) = result.members.values()
    assert "OCI can count for about that long" in str(member.error)


def test_a_launch_that_fails_after_it_was_accepted_goes_elsewhere(world: World) -> None:
    world.tenancy.doomed += [("InternalError", NO_ROOM), ("InternalError", NO_ROOM)]
    result = world.run(count=1)
    assert result.exit_code is ExitCode.OK
    assert result.members["seed-001"].tried == ("AD-1/FD-1", "AD-1/FD-2", "AD-1/FD-3")
    (alive,) = world.alive()
    assert alive["faultDomain"] == "FAULT-DOMAIN-3"
    assert result.members["seed-001"].id == alive["id"]


@pytest.mark.parametrize(
    ("why", "code"),
    [(("LimitExceeded", "limits"), "E_OCI_LIMIT"), (("Odd", "something"), "E_OCI_LAUNCH")],
)
def test_other_reasons_of_a_late_failure_are_told(
    world: World, why: tuple[str, str], code: str
) -> None:
    world.tenancy.doomed += [why] * 9
    result = world.run(count=1)
    assert codes_of(result) == {code}
    assert "failed afterwards" in str(result.members["seed-001"].error)
    assert world.alive() == []


def test_a_reason_that_may_not_be_read_is_told_as_that(world: World) -> None:
    world.tenancy.doomed.append(("InternalError", NO_ROOM))
    world.emulator.faults.append(Fault("/workRequests", 404))
    result = world.run(count=1)
    assert codes_of(result) == {"E_OCI_LAUNCH"}
    assert "its work request cannot be read" in str(result.members["seed-001"].error)


def test_a_console_that_is_not_to_be_had_ends_with_the_time(world: World) -> None:
    world.emulator.faults.append(Fault("GET /instanceConsoleHistories/[^/]*/data", "drop"))
    result = world.run(count=1)
    assert codes_of(result) == {"E_OCI_BUSY"}
    assert len(world.alive()) == 1


def test_keys_that_a_console_does_not_tell_are_told_when_time_is_over(world: World) -> None:
    world.run(count=1, wait={"ssh": False})
    (ocid,) = world.tenancy.host_keys
    world.tenancy.host_keys[ocid] = ""
    wait = {"minutes": 0.005, "known_hosts": str(world.folder / "known_hosts")}
    result = world.run(count=1, wait=wait)
    assert codes_of(result) == {"E_OCI_UNREACHED"}
    assert "has not told its host keys" in str(result.members["seed-001"].error)


def test_a_spent_token_is_renewed_once(world: World) -> None:
    world.run(count=1)
    (old,) = world.tenancy.instances
    world.tenancy.instances[old]["lifecycleState"] = "TERMINATED"
    world.tenancy.detach(old)
    del world.tenancy.instances[old]  # it is not listed any more, and its token is remembered
    result = world.run(count=1)
    assert result.exit_code is ExitCode.OK
    assert len(world.alive()) == 1


def test_a_member_that_is_gone_is_launched_anew(world: World) -> None:
    first = world.run(count=1).members["seed-001"].id
    world.run(count=1, state="absent")
    second = world.run(count=1).members["seed-001"]
    assert second.id != first
    assert second.code is None
    (alive,) = world.alive()
    assert alive["displayName"] == "seed-001"


def stranger(world: World, name: str = "seed-001", **tags: str) -> str:
    return world.tenancy.instance(name, A10, world.place, freeform_tags=tags)


def test_absent_takes_away_what_is_ours_and_nothing_else(world: World) -> None:
    others = {
        stranger(world),
        stranger(world, **{"gpuprep-fleet": "other", "gpuprep-member": "001"}),
        stranger(world, **{"gpuprep-fleet": "seed"}),
        stranger(world, **{"gpuprep-fleet": "seed", "gpuprep-member": "1"}),
    }
    assert world.run().exit_code is ExitCode.OK
    result = world.run(state="absent")
    assert [one.action for one in result.members.values()] == ["terminate"] * 2
    assert {one["id"] for one in world.alive()} == others
    assert [one.code for one in result.warnings] == ["W_OCI_TAG"] * 2
    world.asked()
    again = world.run(state="absent")
    assert (again.changed, dict(again.members)) == (False, {})
    assert world.asked() == {"/instances": 1}


def test_absent_and_stopped_can_be_about_some_members(world: World) -> None:
    world.run(count=3, wait={"ssh": False})
    world.run(count=3, state="stopped", members=[2])
    states = {one["displayName"]: one["lifecycleState"] for one in world.alive()}
    world.tenancy.pending[0]["at"] = 0
    world.emulator.api.compute.settle()
    states = {one["displayName"]: one["lifecycleState"] for one in world.alive()}
    assert states == {"seed-001": "RUNNING", "seed-002": "STOPPED", "seed-003": "RUNNING"}
    again = world.run(count=3, state="stopped", members=[2])
    assert not again.changed
    kept = world.run(count=3, wait={"ssh": False})
    assert not kept.changed  # a stopped one is there
    started = world.run(count=3, state="running", wait={"ssh": False})
    assert [one.action for one in started.members.values()] == ["keep", "start", "keep"]
    assert {one["lifecycleState"] for one in world.alive()} == {"RUNNING"}
    world.run(count=3, state="absent", members=[1, 3])
    assert [one["displayName"] for one in world.alive()] == ["seed-002"]


def test_a_lower_count_is_told_and_pruned_only_when_asked(world: World) -> None:
    world.run(count=3, wait={"ssh": False})
    told = world.run(count=1, wait={"ssh": False})
    assert [one.code for one in told.warnings] == ["W_OCI_SURPLUS"]
    assert "seed-002, seed-003" in told.warnings[0].message
    assert len(world.alive()) == 3
    pruned = world.run(count=1, prune=True, wait={"ssh": False})
    assert [one.action for one in pruned.members.values()] == ["keep", "terminate", "terminate"]
    assert [one["displayName"] for one in world.alive()] == ["seed-001"]


def test_a_changed_setting_is_told_and_nothing_is_replaced(world: World) -> None:
    world.run()
    before = world.tenancy.to_dict()
    changed = world.run(
        shape="VM.GPU.A10.2", boot_volume_gb=300, image={"os": "debian", "version": "13"}
    )
    assert world.tenancy.to_dict() == before
    assert not changed.changed
    assert changed.members["seed-001"].differing == ("shape", "image", "boot_volume_gb")
    assert [one.code for one in changed.warnings] == ["W_OCI_DIFFERS"] * 2
    assert changed.exit_code is ExitCode.OK


def test_twins_are_refused_and_the_others_go_on(world: World) -> None:
    tags = {"gpuprep-fleet": "seed", "gpuprep-member": "001"}
    twins = [stranger(world, **tags), stranger(world, **tags)]
    result = world.run(wait={"ssh": False})
    assert [one.code for one in result.members.values()] == ["E_OCI_TWINS", None]
    assert all(one in str(result.members["seed-001"].error) for one in twins)
    assert len(world.alive()) == 3
    gone = world.run(state="absent")
    assert len(gone.members) == 3
    assert world.alive() == []


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"shape": "BM.GPU.MI300X.8"}, "E_AMD_SHAPE"),
        ({"shape": "BM.GPU.GB200.4"}, "E_OCI_MEMORY_CLUSTER"),
        ({"shape": "VM.Standard.E5.Flex"}, "E_OCI_NO_GPU_SHAPE"),
        ({"image": {"os": "debian", "version": "10"}}, "E_OCI_SYSTEM"),
        ({"image": {"os": "oracle-linux", "version": "7"}}, "E_OCI_SYSTEM"),
    ],
)
def test_what_could_not_be_prepared_is_refused_before_any_request(
    world: World, given: dict[str, Any], code: str
) -> None:
    with pytest.raises(RefusedError, match=code) as caught:
        world.run(**given)
    assert caught.value.exit_code is ExitCode.USAGE
    assert world.asked() == {}


def test_an_image_by_ocid_is_judged_by_its_system(world: World) -> None:
    ubuntu = world.tenancy.image("my-image", "Windows", "2022")
    with pytest.raises(RefusedError, match="E_OCI_SYSTEM"):
        world.run(image={"ocid": ubuntu})
    good = world.tenancy.image("mine", "Debian", "12")
    assert world.run(count=1, image={"ocid": good}).exit_code is ExitCode.OK
    assert world.alive()[0]["imageId"] == good


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"network": {"subnet": "nowhere"}}, "E_OCI_SUBNET"),
        ({"network": {"subnet": "hosts", "public_ip": True}}, "E_OCI_PUBLIC_IP"),
        ({"placement": {"availability_domains": ["AD-7"]}}, "E_OCI_DOMAIN"),
        ({"image": {"os": "debian", "version": "12", "gpu_image": True}}, "E_OCI_IMAGE"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_made(
    world: World, given: dict[str, Any], code: str
) -> None:
    with pytest.raises(RefusedError, match=code):
        world.run(**given)
    assert not [route for route in world.asked() if route.startswith("POST")]


def test_a_compartment_that_cannot_be_seen_needs_a_policy(world: World) -> None:
    world.emulator.api.denied.add(world.place)
    with pytest.raises(InventoryError, match="E_OCI_POLICY") as caught:
        world.run()
    assert caught.value.exit_code is ExitCode.UNAVAILABLE
    assert "Allow group <group> to read instance-family in compartment" in str(caught.value)


def test_an_image_or_a_subnet_that_is_not_there_is_named(world: World) -> None:
    nowhere = "ocid1.image.oc1..none"
    with pytest.raises(InventoryError, match="E_OCI_POLICY") as caught:
        world.run(image={"ocid": nowhere})
    assert nowhere in str(caught.value)
    result = world.run(network={"subnet": "ocid1.subnet.oc1..none"})
    assert codes_of(result) == {"E_OCI_POLICY"}
    assert "related resource not found: subnet ocid1.subnet.oc1..none" in str(
        result.members["seed-001"].error
    )
    assert world.launches() == 1
    group = "ocid1.networksecuritygroup.oc1..none"
    result = world.run(network={"subnet": "hosts", "security_groups": [group]})
    assert group in str(result.members["seed-001"].error)
    assert world.tenancy.instances == {}


def test_a_shape_that_only_one_domain_has_is_asked_for_there(world: World) -> None:
    world.tenancy.without_shape[A10] = [AD1, AD3]
    assert world.run(count=1).exit_code is ExitCode.OK
    assert world.alive()[0]["availabilityDomain"] == AD2
    world.tenancy.without_shape[A10] = [AD1, AD2, AD3]
    result = world.run(count=2, members=[2])
    assert codes_of(result) == {"E_OCI_SHAPE"}
    checked = world.run(count=2, members=[2], check=True)
    assert codes_of(checked) == {"E_OCI_SHAPE"}


def test_a_network_is_made_once_and_lets_nobody_in_but_who_is_named(world: World) -> None:
    made = {"create": True, "cidr": "10.66.0.0/24", "ssh_from": ["203.0.113.0/24"]}
    assert world.run(network=made, check=True).details["subnet"].startswith("would be made")
    assert len(world.tenancy.vcns) == 1
    world.asked()
    result = world.run(network=made)
    assert result.exit_code is ExitCode.OK
    vcn = next(reversed(world.tenancy.vcns))
    subnet = next(reversed(world.tenancy.subnets.values()))
    assert (subnet["vcnId"], subnet["prohibitPublicIpOnVnic"]) == (vcn, True)
    for ocid in subnet["securityListIds"]:
        assert world.tenancy.security_lists[ocid]["ingressSecurityRules"] == []
    (group,) = world.tenancy.security_groups
    inwards = [one for one in world.tenancy.security_rules[group] if one["direction"] == "INGRESS"]
    assert {one["source"] for one in inwards} == {"203.0.113.0/24", group}
    vnics = [one for one in world.tenancy.vnics.values() if one["subnetId"] == subnet["id"]]
    assert [one["nsgIds"] for one in vnics] == [[group]] * 2
    assert {one["publicIp"] for one in vnics} == {None}
    before = world.tenancy.to_dict()
    world.run(network=made)
    assert world.tenancy.to_dict() == before
    world.run(network=made, count=3)
    assert len(world.tenancy.vcns) == 2
    assert len(world.tenancy.security_rules[group]) == 4


def test_two_controllers_make_one_network(world: World) -> None:
    world.emulator.latency = 0.005
    made = world.fleet(network={"create": True, "ssh_from": ["10.0.0.0/8"]}, wait={"ssh": False})
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(world.go(made))) for _ in "ab"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one.exit_code for one in results] == [ExitCode.OK] * 2
    assert len(world.tenancy.vcns) == 2  # that of the other subnet, and one
    assert len(world.tenancy.security_groups) == 1
    assert len(world.alive()) == 2


def test_hosts_with_public_addresses_are_reached_by_them(world: World) -> None:
    made = {"create": True, "public_ip": True, "ssh_from": ["203.0.113.7/32"]}
    result = world.run(count=1, network=made)
    member = result.members["seed-001"]
    assert member.address == member.public_ip == "192.0.2.2"
    assert len(world.tenancy.internet_gateways) == 1


def test_rdma_shapes_get_a_compute_cluster_of_their_domain(world: World) -> None:
    world.tenancy.capacity[f"{H100}/{AD1}/FAULT-DOMAIN-1"] = 0
    result = world.run(shape=H100)
    assert result.exit_code is ExitCode.OK
    (cluster,) = world.tenancy.compute_clusters
    assert (cluster["displayName"], cluster["availabilityDomain"]) == ("seed-AD-1", AD1)
    assert len(world.tenancy.members[cluster["id"]]) == 2
    plugins = world.alive()[0]["agentConfig"]["pluginsConfig"]
    assert {one["desiredState"] for one in plugins} == {"ENABLED"}
    world.run(shape=H100, count=3)
    assert len(world.tenancy.compute_clusters) == 1


def test_a_compute_cluster_without_hosts_is_taken_back(world: World) -> None:
    world.tenancy.capacity[H100] = 0
    result = world.run(shape=H100)
    assert codes_of(result) == {"E_OCI_CAPACITY"}
    assert world.tenancy.compute_clusters == []
    again = world.run(shape=H100)
    assert codes_of(again) == {"E_OCI_CAPACITY"}
    world.tenancy.capacity.clear()
    assert world.run(shape=H100).exit_code is ExitCode.OK
    assert len(world.tenancy.compute_clusters) == 1


RESERVATION = "ocid1.capacityreservation.oc1..x"


def test_reserved_capacity_is_used_where_it_is(world: World) -> None:
    world.tenancy.reservations[RESERVATION] = AD2
    world.tenancy.capacity[A10] = 0
    reserved = {"capacity": {"reservation": RESERVATION}}
    result = world.run(count=1, placement=reserved)
    assert result.exit_code is ExitCode.OK
    (one,) = world.alive()
    assert (one["availabilityDomain"], one["capacityReservationId"]) == (AD2, RESERVATION)
    with pytest.raises(RefusedError, match="E_OCI_DOMAIN") as caught:
        world.run(placement={**reserved, "availability_domains": ["AD-1"]})
    assert "AD-1 is where computeCapacityReservations" in str(caught.value)
    with pytest.raises(InventoryError, match="use compute-capacity-reservations in compartment"):
        world.run(placement={"capacity": {"reservation": RESERVATION + "y"}})


def test_a_compute_cluster_that_is_there_tells_the_domain(world: World) -> None:
    world.run(shape=H100, count=1, placement={"availability_domains": ["AD-3"]})
    (cluster,) = world.tenancy.compute_clusters
    given = {"compute_cluster": cluster["id"]}
    assert world.run(fleet="other", shape=H100, placement=given).exit_code is ExitCode.OK
    assert {one["availabilityDomain"] for one in world.alive()} == {AD3}
    assert len(world.tenancy.members[cluster["id"]]) == 3
    alone = world.run(fleet="alone", shape=H100, count=1, placement={"compute_cluster": "none"})
    assert alone.exit_code is ExitCode.OK
    assert "computeClusterId" not in world.alive()[-1]
    assert len(world.tenancy.members[cluster["id"]]) == 3


def test_preemptible_hosts_go_when_they_must(world: World) -> None:
    world.run(fleet="spot", count=1, placement={"capacity": "preemptible"})
    (spot,) = world.alive()
    assert spot["preemptibleInstanceConfig"]["preemptionAction"]["type"] == "TERMINATE"


def test_ssh_is_tried_until_it_answers(world: World) -> None:
    world.answers = [Answer(Reached.NO, "refused"), Answer(Reached.NO, "refused")]
    result = world.run(count=1)
    assert result.exit_code is ExitCode.OK
    assert len(world.logins) == 3
    assert (world.logins[0].address, world.logins[0].user) == ("10.0.0.2", "debian")


def test_a_failed_cloud_init_is_told_and_the_host_stays(world: World) -> None:
    world.answers = [Answer(Reached.FAILED, "status: error")]
    result = world.run(count=1)
    assert codes_of(result) == {"E_OCI_CLOUD_INIT"}
    assert len(world.alive()) == 1
    assert result.changed


def test_a_host_that_does_not_come_up_in_time_is_told_and_found_again(world: World) -> None:
    world.emulator.api.compute.boot_seconds = 3600
    wait = {"minutes": 0.001, "known_hosts": str(world.folder / "known_hosts")}
    result = world.run(count=1, wait=wait)
    assert codes_of(result) == {"E_OCI_TIMEOUT"}
    world.tenancy.pending[0]["at"] = 0
    assert world.run(count=1).exit_code is ExitCode.OK
    assert len(world.tenancy.instances) == 1


def test_a_host_that_cannot_be_reached_is_told(world: World) -> None:
    world.usual = Answer(Reached.NO, "no route to host")
    wait = {"minutes": 0.01, "known_hosts": str(world.folder / "known_hosts")}
    result = world.run(count=1, wait=wait)
    assert codes_of(result) == {"E_OCI_UNREACHED"}
    assert "no route to host" in str(result.members["seed-001"].error)


def test_another_key_in_known_hosts_is_not_overwritten(world: World) -> None:
    known = world.folder / "known_hosts"
    theirs = "10.0.0.2 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== somebody\n"
    known.write_text(theirs)
    result = world.run()
    assert [one.code for one in result.members.values()] == ["E_OCI_HOST_KEY", None]
    assert known.read_text().startswith(theirs)
    assert "ssh-keygen -f" in str(result.members["seed-001"].error)


def test_a_host_whose_setting_up_was_not_waited_for_is_waited_for_by_the_next_run(
    world: World,
) -> None:
    world.answers = [Answer(Reached.FAILED, "status: error")]
    assert codes_of(world.run(count=1)) == {"E_OCI_CLOUD_INIT"}
    world.asked()
    assert world.run(count=1).exit_code is ExitCode.OK
    assert len(world.logins) == 2
    assert "POST /instanceConsoleHistories" not in world.asked()  # the keys are known
    world.run(count=1)
    assert len(world.logins) == 2


@pytest.mark.parametrize(
    ("state", "fault"),
    [("absent", "DELETE /instances"), ("stopped", "SOFTSTOP"), ("running", "action=START")],
)
def test_what_cannot_be_done_to_one_member_is_its_own_failure(
    world: World, state: str, fault: str
) -> None:
    world.run(wait={"ssh": False})
    if state == "running":
        world.run(state="stopped")
        world.run(state="stopped")
    world.emulator.faults.append(Fault(fault, 404, 1))
    result = world.run(state=state, wait={"ssh": False})
    assert [one.code for one in result.members.values()] == ["E_OCI_POLICY", None]
    assert [one.changed for one in result.members.values()] == [False, True]


def test_a_policy_for_consoles_that_is_missing_is_the_members_failure(world: World) -> None:
    world.emulator.faults.append(Fault("POST /instanceConsoleHistories", 404))
    result = world.run(count=1)
    assert codes_of(result) == {"E_OCI_POLICY"}
    assert "manage console-histories" in str(result.members["seed-001"].error)
    assert len(world.alive()) == 1


def test_the_wish_is_read_from_the_profile_and_names(world: World) -> None:
    result = world.run(compartment="gpu", count=1)
    assert result.exit_code is ExitCode.OK
    with pytest.raises(ConfigError, match="compartment gpus is not in the tenancy"):
        world.run(compartment="gpus")
