"""Planning a fleet: properties that hold whatever is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from provision_rig import KEY

from gpuprep.catalog import load
from gpuprep.oci.provision import bodies, identity, images, placement, settings
from gpuprep.oci.provision.bodies import Resolved
from gpuprep.oci.provision.desired import Desired, FleetState, ImageChoice
from gpuprep.oci.provision.identity import FLEET_TAG, MEMBER_TAG
from gpuprep.oci.provision.placement import Hints, Place, Survey
from gpuprep.oci.provision.plan import GONE, Action, plan, winner
from gpuprep.oci.records import Compartment, Instance

STATES = ("PROVISIONING", "RUNNING", "STARTING", "STOPPING", "STOPPED", "TERMINATING", "TERMINATED")
HERE = Compartment("ocid1.compartment.oc1..x")


def fleet(**data: Any) -> Desired:
    return settings.desired(
        settings.Source(
            {
                "fleet": "seed", "compartment": "gpu", "shape": "VM.GPU.A10.1", "count": 3,
                "image": {"os": "debian", "version": "12"}, "network": {"subnet": "hosts"},
                "ssh_public_keys": [KEY], **data,
            }
        )
    )  # fmt: skip


BASE = fleet()


@st.composite
def instances(draw: st.DrawFn) -> list[Instance]:
    count = draw(st.integers(0, 8))
    rows = []
    for number in range(count):
        tags = draw(
            st.sampled_from(
                [
                    {},
                    {FLEET_TAG: "other", MEMBER_TAG: "001"},
                    {FLEET_TAG: "seed"},
                    {FLEET_TAG: "seed", MEMBER_TAG: "1"},
                    {FLEET_TAG: "seed", MEMBER_TAG: "000"},
                    *({FLEET_TAG: "seed", MEMBER_TAG: f"{n:03d}"} for n in range(1, 6)),
                ]
            )
        )
        raw = {
            "id": f"ocid1.instance.oc1..{number}",
            "displayName": draw(st.sampled_from(["seed-001", "x"])),
            "shape": draw(st.sampled_from(["VM.GPU.A10.1", "VM.GPU.A10.2"])),
            "lifecycleState": draw(st.sampled_from(STATES)),
            "availabilityDomain": "AD-1",
            "timeCreated": draw(st.sampled_from(["2026-01-01", "2026-01-02"])),
            "freeformTags": tags,
        }
        rows.append(Instance.from_json(raw, "us-ashburn-1", HERE))
    return rows


@st.composite
def fleets(draw: st.DrawFn) -> Desired:
    count = draw(st.integers(0, 5))
    state = draw(st.sampled_from(list(FleetState)))
    members = tuple(draw(st.sets(st.integers(1, count)))) if count else ()
    prune = draw(st.booleans()) and not members
    return replace(BASE, count=count, state=state, members=members, prune=prune)


def living(rows: list[Instance]) -> dict[int, list[Instance]]:
    found: dict[int, list[Instance]] = {}
    for one in rows:
        tags = one.freeform_tags
        ours = tags.get(FLEET_TAG) == "seed" and len(tags.get(MEMBER_TAG, "")) == 3
        if ours and int(tags[MEMBER_TAG]) and one.state not in GONE:
            found.setdefault(int(tags[MEMBER_TAG]), []).append(one)
    return found


@given(fleets(), instances())
def test_nothing_is_touched_that_does_not_carry_our_tags(
    desired: Desired, rows: list[Instance]
) -> None:
    ours = {one.id for of_one in living(rows).values() for one in of_one}
    found = plan(desired, rows)
    for member in found.members:
        assert member.instance is None or member.instance.id in ours


@given(fleets(), instances())
def test_a_member_is_launched_exactly_when_it_has_no_living_instance(
    desired: Desired, rows: list[Instance]
) -> None:
    found = plan(desired, rows)
    there = living(rows)
    launched = {one.number for one in found.having(Action.LAUNCH)}
    if desired.state in {FleetState.ABSENT, FleetState.STOPPED}:
        assert launched == set()
    else:
        assert launched == {number for number in desired.numbers if number not in there}


@given(fleets(), instances())
def test_nothing_is_terminated_but_by_absent_and_prune(
    desired: Desired, rows: list[Instance]
) -> None:
    gone = {one.number for one in plan(desired, rows).having(Action.TERMINATE)}
    there = living(rows)
    chosen = set(desired.members)
    if desired.state is FleetState.ABSENT:
        assert gone == {number for number in there if not chosen or number in chosen}
    elif desired.prune and desired.state in {FleetState.PRESENT, FleetState.RUNNING}:
        assert gone == {number for number in there if number > desired.count}
    else:
        assert gone == set()


@given(fleets(), instances())
def test_several_holders_of_one_member_are_refused_not_guessed(
    desired: Desired, rows: list[Instance]
) -> None:
    found = plan(desired, rows)
    if desired.state in {FleetState.ABSENT, FleetState.STOPPED}:
        return
    twins = {number for number, those in living(rows).items() if len(those) > 1}
    assert {one.number for one in found.having(Action.REFUSE)} == twins & set(desired.numbers)


@given(fleets(), instances(), st.randoms())
def test_the_order_of_a_list_does_not_matter(
    desired: Desired, rows: list[Instance], random: Any
) -> None:
    mixed = list(rows)
    random.shuffle(mixed)
    assert {(one.name, one.action) for one in plan(desired, rows).members} == {
        (one.name, one.action) for one in plan(desired, mixed).members
    }


@given(st.lists(instances(), min_size=1, max_size=1), st.randoms())
def test_all_controllers_agree_who_stays(lists: list[list[Instance]], random: Any) -> None:
    (rows,) = lists
    for those in living(rows).values():
        mixed = list(those)
        random.shuffle(mixed)
        assert winner(those) == winner(mixed)


@given(instances())
def test_after_a_plan_is_carried_out_there_is_nothing_to_do(rows: list[Instance]) -> None:
    """Launched members have instances, started ones run: the second plan is empty."""
    desired = replace(BASE, state=FleetState.RUNNING)
    template = Instance.from_json({"id": "new"}, "us-ashburn-1", HERE)
    after = list(rows)
    for member in plan(desired, rows).members:
        if member.action is Action.LAUNCH:
            tags = identity.tags_of(desired, member.number)
            after.append(
                replace(template, id=f"new{member.number}", shape=desired.shape,
                        state="RUNNING", freeform_tags=tags)
            )  # fmt: skip
        elif member.action is Action.START:
            after = [
                replace(one, state="RUNNING") if one == member.instance else one for one in after
            ]
    quiet = {Action.KEEP, Action.REFUSE}
    assert {one.action for one in plan(desired, after).members} <= quiet


PLACES = [Place(f"AD-{n}", f"FAULT-DOMAIN-{m}") for n in (1, 2, 3) for m in (1, 2, 3)]
RESOLVED = Resolved("c", "i", "s")


def token(number: int, generation: int, place: Place, desired: Desired = BASE) -> str:
    body = bodies.launch_body(desired, number, generation, place, RESOLVED)
    return identity.launch_token(desired.fleet, number, generation, place, body)


@given(
    st.tuples(st.integers(1, 999), st.integers(0, 5), st.sampled_from(PLACES)),
    st.tuples(st.integers(1, 999), st.integers(0, 5), st.sampled_from(PLACES)),
)
def test_tokens_are_equal_exactly_for_equal_wishes(
    one: tuple[int, int, Place], other: tuple[int, int, Place]
) -> None:
    assert (token(*one) == token(*other)) == (one == other)
    assert len(token(*one)) == 64


def test_every_setting_of_a_launch_is_in_its_token() -> None:
    first = token(1, 0, PLACES[0])
    for change in (
        {"shape": "VM.GPU.A10.2"}, {"boot_volume_gb": 200}, {"boot_volume_vpus": 20},
        {"user_data": "eA=="}, {"fleet": "other"}, {"tags": {"a": "b"}},
    ):  # fmt: skip
        assert token(1, 0, PLACES[0], replace(BASE, **change)) != first


def test_a_comment_behind_a_key_is_no_difference() -> None:
    tags = identity.tags_of(BASE, 1)
    kind, blob, _ = KEY.split()
    renamed = replace(BASE, ssh_keys=(f"{kind} {blob} somebody",))
    assert identity.differing_settings(renamed, tags) == ()
    other = replace(BASE, ssh_keys=("ssh-rsa AAAA",))
    assert identity.differing_settings(other, tags) == ("ssh_public_keys",)
    assert identity.differing_settings(other, {}) == ()
    assert len(tags[identity.SETTINGS_TAG]) <= 256


def survey(**full: str) -> Survey:
    names = tuple(f"FAULT-DOMAIN-{n}" for n in (1, 2, 3))
    return Survey(names, Hints({}, {f"FAULT-DOMAIN-{key[1]}": one for key, one in full.items()}))


def test_members_are_dealt_out_and_what_looks_full_comes_last() -> None:
    seen: list[str] = []

    def look(domain: str) -> Survey | None:
        seen.append(domain)
        return {"AD-1": survey(d2="OUT_OF_HOST_CAPACITY"), "AD-3": survey()}.get(domain)

    def order(number: int) -> list[str]:
        return [str(one) for one in placement.order(["AD-1", "AD-2", "AD-3"], look, number)]

    assert order(1) == ["AD-1/FD-1", "AD-1/FD-3", "AD-3/FD-1", "AD-3/FD-2", "AD-3/FD-3",
                        "AD-1/FD-2"]  # fmt: skip
    assert order(3)[0] == "AD-1/FD-3"
    seen.clear()
    next(placement.order(["AD-1", "AD-2"], look, 1))
    assert seen == ["AD-1"]


@given(st.sets(st.sampled_from([f"d{n}" for n in (1, 2, 3)])), st.integers(1, 9))
def test_every_place_is_named_once(full: set[str], number: int) -> None:
    found = list(
        placement.order(
            ["AD-1", "AD-2", "AD-3"],
            lambda _: survey(**dict.fromkeys(full, "OUT_OF_HOST_CAPACITY")),
            number,
        )
    )
    assert len(found) == len(set(found)) == 9


def test_a_limit_that_is_used_up_counts_more_than_a_report() -> None:
    hints = Hints({"gpu-a10-count": 0}, {"FAULT-DOMAIN-1": "OUT_OF_HOST_CAPACITY"})
    assert (hints.worse("FAULT-DOMAIN-1"), hints.worse("FAULT-DOMAIN-2")) == (3, 2)
    assert Hints({"x": None}, {}).worse("FAULT-DOMAIN-1") == 0


def test_domains_are_named_in_full_or_by_their_ends() -> None:
    every = ["SdBx:US-ASHBURN-AD-2", "SdBx:US-ASHBURN-AD-1"]
    wanted = replace(BASE.placement, availability_domains=("AD-2", "SdBx:US-ASHBURN-AD-1", "AD-2"))
    assert placement.chosen_domains(every, wanted) == tuple(every)
    assert placement.chosen_domains(every, BASE.placement) == tuple(sorted(every))


def test_the_newest_fitting_image_is_taken() -> None:
    builds = ("2026.01.01", "2026.08.14", "aarch64-2026.09.01", "Gen2-GPU-2026.09.01")
    names = [f"Oracle-Linux-9.8-{one}-0" for one in builds]
    rows = [{"displayName": one, "timeCreated": one[-12:]} for one in names]
    choice = ImageChoice("oracle-linux", "9")
    assert images.newest(rows, "x86_64", choice)["displayName"] == names[1]
    assert images.newest(rows, "aarch64", choice)["displayName"] == names[2]
    with_driver = replace(choice, gpu_image=True)
    assert images.newest(rows, "x86_64", with_driver)["displayName"] == names[3]
    assert images.newest(rows, "aarch64", with_driver) is None


def test_systems_are_judged_by_how_far_the_roles_go() -> None:
    catalog, plain = load(), ImageChoice("debian", "12")
    assert images.check_system("debian-12", "x86_64", catalog, plain) is None
    assert images.system_of("Oracle Linux", "9.8") == "ol-9"
    assert images.system_of("Canonical Ubuntu", "24.04") == "ubuntu-24.04"
    for system, arch in (("debian-12", "aarch64"), ("Windows 2022", "x86_64")):
        for choice in (plain, replace(plain, unproven=True)):
            refused = images.check_system(system, arch, catalog, choice)
            assert refused is not None
            assert "debian-12" in refused.message
