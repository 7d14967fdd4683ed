"""What equal hosts say is read once and planned once; a host gets what it would get alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from planner_cases import bare, carried_out, observed, space

from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.components.driver import BLACKLIST
from gpuprep.observe import reading
from gpuprep.observe.observation import OfOneHost
from gpuprep.observe.reading import ObservationError, read, read_json
from gpuprep.on_host.observe import main
from gpuprep.planner import alike, observation_request, plan_host, settings_from
from gpuprep.planner.alike import AlikePlans

CATALOG = load()
OWN = OfOneHost().by_name
SETTINGS = {"oci_shape": "VM.GPU.A10.1"}
WISH = settings_from(SETTINGS)
READY = carried_out(bare(), plan_host(observed(bare()), WISH, CATALOG))


def host(name: str, seen: dict[str, Any] = READY, **changes: Any) -> str:
    """Return what a host prints: ``changes`` replace what it says."""
    own = {
        "hostname": name,
        "boot_id": f"boot of {name}",
        "machine": {"id": name},
        "timings": {"packages": len(name) / 10},
    }
    return str(main.told({**seen, **own, **changes}))


class Counted:
    """Resolves, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, *arguments: Any) -> Any:
        self.times += 1
        return resolve(*arguments)


def test_what_a_host_has_for_itself_is_not_in_the_text_that_it_shares() -> None:
    told = [json.loads(host(name)) for name in ("a", "bb")]
    assert told[0]["alike"] == told[1]["alike"]
    assert told[0] != told[1]
    assert set(told[0]) - {"schema", "alike", "seconds"} <= set(OWN)
    assert set(main.OWN) - {"seconds"} == set(OWN)
    reordered = dict(reversed(READY.items()))
    assert json.loads(host("a", reordered))["alike"] == told[0]["alike"]


def test_this_machine_says_the_same_twice() -> None:
    """Nothing that changes by itself, and no order of chance, is in the text."""
    script = observe.script(observation_request(CATALOG, WISH))
    texts = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-S", "-"],
            input=script,
            text=True,
            capture_output=True,
            check=True,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONHASHSEED": seed},
        )
        texts.add(json.loads(done.stdout)["alike"])
    (text,) = texts
    assert json.loads(text)["kernel"]


def test_an_answer_in_two_parts_reads_like_one_in_one() -> None:
    seen = {**READY, "hostname": "a", "boot_id": "b", "machine": {"id": "m"}, "jobs": {}}
    whole, parts = read(json.dumps(seen)), read(main.told(seen))
    assert whole == replace(parts, alike="")
    assert (whole.alike, bool(parts.alike)) == ("", True)
    assert read_json(main.told(seen)) == read_json(json.dumps(seen))


def test_what_is_the_same_is_read_once() -> None:
    reading._read_alike.cache_clear()
    first, second = read(host("a")), read(host("b"))
    assert reading._read_alike.cache_info().misses == 1
    assert first.packages is second.packages
    assert (first.hostname, second.hostname) == ("a", "b")
    assert first.identity != second.identity


def test_a_host_can_speak_for_nobody_else() -> None:
    """The text is the key of what is remembered: what it holds, and only that, is the value."""
    told = json.loads(host("a"))
    alike = {
        **json.loads(told["alike"]),
        "hostname": "other",
        "space": {},
        "initramfs_mb": {"/": 1},
        "alike": "x",
    }
    seen = read(json.dumps({**told, "alike": json.dumps(alike)}))
    assert (seen.hostname, set(seen.space)) == ("a", set(READY["space"]))
    assert seen.initramfs_mb == {}
    assert seen.alike == json.dumps(alike)
    # Beside the text, nothing counts that belongs in it.
    mixed = read(json.dumps({**told, "uid": 7, "packages": {}}))
    assert (mixed.uid, mixed.packages == {}) == (0, False)
    # In one part, there is no text, whatever the host calls one.
    assert observed({**READY, "alike": told["alike"]}).alike == ""


@pytest.mark.parametrize("alike", [7, [], "", "{", "[]", "7", '{"uid": "x"}', "[" * 100_000])
def test_a_text_that_cannot_be_right_is_the_hosts_own_error(alike: object) -> None:
    told = {**json.loads(host("a")), "alike": alike}
    with pytest.raises(ObservationError):
        read(json.dumps(told))
    assert read(host("a")).uid == 0


def test_a_very_long_text_is_read_and_not_kept() -> None:
    reading._read_alike.cache_clear()
    commands = {f"{number:06}": True for number in range(40_000)}
    seen = read(host("a", READY, commands=commands))
    assert len(seen.commands) == 40_000
    assert reading._read_alike.cache_info().currsize == 0


@pytest.mark.parametrize("seen", [bare(), READY, bare(uid=1000), bare(pci=[])], ids=range(4))
def test_hosts_that_are_alike_are_planned_once_and_as_if_alone(seen: dict[str, Any]) -> None:
    resolver, plans = Counted(), AlikePlans(CATALOG)
    hosts = [read(host(name, seen, probe={"of": name})) for name in ("a", "b", "c")]
    made = [plans.plan(one, WISH, resolver) for one in hosts]
    alone = plan_host(hosts[0], WISH, CATALOG)
    assert [plan.to_dict() for plan in made] == [alone.to_dict()] * 3
    asks_for_room = bool(alone.steps)
    assert resolver.times == (3 if asks_for_room else 1)


def test_other_settings_and_other_hosts_have_other_plans() -> None:
    resolver, plans = Counted(), AlikePlans(CATALOG)
    other = settings_from({**SETTINGS, "gpuprep_components": ["driver"]})
    ready, different = read(host("a")), read(host("b", READY, system_gcc=13))
    for seen, wish in ((ready, WISH), (ready, other), (different, WISH), (ready, WISH)):
        assert plans.plan(seen, wish, resolver) == plan_host(seen, wish, CATALOG)
    assert resolver.times == 3


def test_a_plan_is_made_without_what_is_one_hosts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(alike, "plan_host", lambda seen, *_: given.append(seen))
    told = {"jobs": {"demo": {}}, "probe": {"of": "a"}, "hostname": "a", "boot_id": "b"}
    AlikePlans(CATALOG).plan(read(host("a", READY, **told)), WISH, resolve)
    own = given[0].by_name
    for name in alike.ROOM:
        del own[name]  # watched
    assert own == {name: OWN[name] for name in own}


def test_a_full_disk_is_its_hosts_own() -> None:
    plans = AlikePlans(CATALOG)
    rooms = (space(), space(1), space())
    hosts = [read(host("a", bare(), space=room)) for room in rooms]
    codes = [plans.plan(seen, WISH, resolve).code for seen in hosts]
    assert codes == [None, "E_DISK", None]


def test_so_is_the_size_of_its_initial_ram_disk() -> None:
    plans, disk = AlikePlans(CATALOG), "/boot/initrd.img"
    changes = {"commands": {"update-initramfs": True}, "initramfs": {disk: [BLACKLIST]}}
    sizes: tuple[dict[str, int], ...] = ({}, {disk: 1000}, {disk: 1})
    hosts = [
        read(host("a", READY, **changes, space=space(100), initramfs_mb=size)) for size in sizes
    ]
    codes = [plans.plan(seen, WISH, resolve).code for seen in hosts]
    assert codes == [None, "E_DISK", None]
